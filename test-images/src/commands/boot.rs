use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use millet_test_images::bootloader;
use millet_test_images::output::{print, say};

/// Boot a device: print the slot that the bootloader chose.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The device's folder
    device: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let device = &arguments.device;
    let slot = bootloader::boot(device).with_context(|| format!("boot {}", device.display()))?;
    print(slot)?;
    say(format_args!(
        "next: millet-test-images selftest {}",
        device.display()
    ));
    Ok(ExitCode::SUCCESS)
}
