use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use millet_protocol::Slot;
use millet_test_images::device;
use millet_test_images::output::say;

/// Make a device, or flash one of its slots.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a device with empty slots of the images' sizes
    Create {
        /// The device's folder
        device: PathBuf,
        /// A folder with <partition>.img
        #[arg(long)]
        images: PathBuf,
        /// Bytes by which each slot is larger than its image
        #[arg(long, default_value_t = 0)]
        headroom: u64,
    },
    /// Write images into a slot and mark it good
    Flash {
        /// The device's folder
        device: PathBuf,
        /// The slot
        #[arg(long)]
        slot: SlotName,
        /// A folder with <partition>.img
        #[arg(long)]
        images: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SlotName {
    A,
    B,
}

pub fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create {
            device,
            images,
            headroom,
        } => {
            let failed = || format!("create the device {}", device.display());
            device::create(device, images, *headroom).with_context(failed)?;
            let (device, images) = (device.display(), images.display());
            say(format_args!(
                "next: millet-test-images device flash {device} --slot a --images {images}"
            ));
        }
        Command::Flash { device, slot, images } => {
            let slot = match slot {
                SlotName::A => Slot::A,
                SlotName::B => Slot::B,
            };
            device::flash(device, slot, images)
                .with_context(|| format!("flash slot {slot} of {}", device.display()))?;
            say(format_args!("next: millet-test-images boot {}", device.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}
