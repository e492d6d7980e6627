use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use millet_test_images::output::say;
use millet_test_images::selftest;

/// A device's health check: succeed when the running system's build.prop says ro.millet.selftest=pass.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The device's folder
    device: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let device = &arguments.device;
    selftest::check(device).with_context(|| format!("{} is not healthy", device.display()))?;
    say(format_args!("{} is healthy", device.display()));
    Ok(ExitCode::SUCCESS)
}
