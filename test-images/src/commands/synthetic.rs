use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use millet_test_images::output::{print, say};
use millet_test_images::synthetic::{self, Build, WRITER};

/// Make a week's images from a seed: the same bytes on every machine, without network or root.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The product: builds of one seed are weeks of one ROM
    #[arg(long)]
    seed: u64,
    /// The week, from 1
    #[arg(long)]
    week: u32,
    /// The folder that receives boot.img, system.img and vendor.img
    #[arg(long)]
    out: PathBuf,
    /// All images together, in MiB
    #[arg(long, default_value_t = 64)]
    size: u32,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        seed,
        week,
        out,
        size,
    } = arguments;
    let build = Build {
        seed: *seed,
        week: *week,
        mebibytes: *size,
    };
    let images = synthetic::write(build, out).with_context(|| format!("make week {week} of seed {seed}"))?;
    for (path, size) in images {
        print(format_args!("{}\t{size}", path.display()))?;
    }
    say(format_args!("system and vendor: {WRITER}"));
    say(format_args!(
        "next: millet payload build --images {0} --out {0}.payload",
        out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
