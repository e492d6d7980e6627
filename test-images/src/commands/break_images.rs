use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use millet_test_images::output::say;
use millet_test_images::selftest;

/// Copy images into a build that boots and then fails its health check.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder with healthy images
    images: PathBuf,
    /// The folder that receives the broken ones
    #[arg(long)]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { images, out } = arguments;
    selftest::break_images(images, out)
        .with_context(|| format!("break the images in {}", images.display()))?;
    say(format_args!(
        "next: millet payload build --images {} --out broken.payload",
        out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
