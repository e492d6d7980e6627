use std::path::PathBuf;
use std::process::ExitCode;

use millet_test_images::debian::Age;
use millet_test_images::output::{print, say};
use millet_test_images::wheels;

/// Make a real pair of app partitions from PyPI's aarch64 wheels: OUT/older/app.img and OUT/newer/app.img.
///
/// Needs python3 with pip, and e2fsprogs and erofs-utils; no root.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder that receives both image folders
    #[arg(long)]
    out: PathBuf,
    /// Where wheels stay between runs
    #[arg(long, default_value = "target/wheels-cache")]
    cache: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    wheels::make(&arguments.out, &arguments.cache, &mut |line| say(line))?;
    for age in Age::BOTH {
        print(format_args!(
            "{}",
            arguments.out.join(age.name()).join("app.img").display()
        ))?;
    }
    say(format_args!(
        "next: millet payload delta --from {0}/older --to {0}/newer --out apps.payload",
        arguments.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
