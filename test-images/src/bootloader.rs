//! The test bootloader: what stands between a reboot and the agent's next start.
//!
//! It follows U-Boot's `boot/android_ab.c` (`ab_select_slot`), which implements AOSP's reference for
//! `bootloader_control`:
//! - A block whose CRC-32 is wrong is made anew: **both** slots get priority 15, 7 tries, not successful. So a damaged
//!   block may boot a half-written slot; that is why it is written as one sector and the loss is in the fault model.
//! - A block with a good CRC-32 that is of another kind or version stops the boot.
//! - Of the slots that are not corrupted and are successful or have tries left, the highest priority boots; of equals
//!   the successful one, then the one with more tries, then `a`.
//! - A slot that is not successful loses a try, and the block is durable before the kernel starts.
//!
//! Where it differs: a successful slot boots without tries left (U-Boot's comment says so, its code asks for one try;
//! libboot_control leaves one, so both agree on what they wrote), and priority 0 is unbootable, as libboot_control
//! writes it. It has no watchdog: a kernel that does not start is a `boot` partition of zeros, and the next round
//! follows at once. A **successful** slot without a kernel is a brick, since no tries fall that could end it.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use millet_machine::bootloader_control::{
    BootloaderControl, BootloaderControlError, HIGHEST_PRIORITY, SlotInfo, TRIES,
};
use millet_protocol::{PartitionName, Slot};

use crate::device::{self, DeviceError, at};

/// The partition that the kernel is in.
const KERNEL: &str = "boot";

/// The device does not boot.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// `misc` or a slot cannot be used.
    #[error("read or write the device")]
    Device(#[from] DeviceError),
    /// Boot control is whole and of a kind that this bootloader does not know.
    #[error("boot control is not for this bootloader")]
    Control(#[from] BootloaderControlError),
    /// Every slot is given up.
    #[error("no slot is bootable")]
    NoSlot,
    /// The slot is marked good, so no tries fall and the device starts it for ever.
    #[error("slot {0} is marked good and has no kernel")]
    NoKernel(Slot),
}

/// Boots the device: chooses a slot, counts the try, and writes the kernel's command line.
pub fn boot(directory: &Path) -> Result<Slot, BootError> {
    // Every round without a kernel takes a try away, so this ends.
    loop {
        let mut control = load(directory)?;
        let slot = select(&control).ok_or(BootError::NoSlot)?;
        control.count_try(slot);
        control.set_suffix(slot);
        device::write_control(directory, &control)?;
        if has_kernel(directory, slot)? {
            device::tell_kernel(directory, slot)?;
            return Ok(slot);
        }
        if control.slot(slot).successful {
            return Err(BootError::NoKernel(slot));
        }
    }
}

fn load(directory: &Path) -> Result<BootloaderControl, BootError> {
    let bytes = device::read_control(directory)?;
    let (start, crc) = bytes.split_at(bytes.len() - 4);
    // U-Boot looks at the CRC-32 first: a torn block is made anew, whatever its magic number says.
    if crc32fast::hash(start).to_le_bytes() != crc {
        return Ok(fresh());
    }
    Ok(BootloaderControl::parse(&bytes)?)
}

/// `ab_control_default`.
fn fresh() -> BootloaderControl {
    let mut control = BootloaderControl::new(Slot::A);
    let untried = SlotInfo {
        priority: HIGHEST_PRIORITY,
        tries: TRIES,
        successful: false,
        verity_corrupted: false,
    };
    control.set_slot(Slot::A, untried);
    control.set_slot(Slot::B, untried);
    control
}

/// `ab_select_slot` with the order of `ab_compare_slots`.
fn select(control: &BootloaderControl) -> Option<Slot> {
    let bootable = [Slot::A, Slot::B]
        .into_iter()
        .filter(|slot| control.slot(*slot).bootable());
    // Of equals min_by_key takes the first.
    bootable.min_by_key(|slot| {
        let info = control.slot(*slot);
        Reverse((info.priority, info.successful, info.tries))
    })
}

/// Whether anything at all stands where the kernel should.
fn has_kernel(directory: &Path, slot: Slot) -> Result<bool, DeviceError> {
    let Ok(partition) = KERNEL.parse::<PartitionName>() else {
        return Ok(false);
    };
    let path = device::slot_path(directory, &partition, slot);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(at("open", &path))?,
    };
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(at("read", &path))?;
        if read == 0 {
            return Ok(false);
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use tempfile::TempDir;

    use super::*;

    /// A device whose slot a is good; slot b is empty.
    fn device() -> TempDir {
        let images = tempfile::tempdir().unwrap();
        fs::write(images.path().join("boot.img"), vec![1; 4096]).unwrap();
        let device = tempfile::tempdir().unwrap();
        device::create(device.path(), images.path(), 0).unwrap();
        device::flash(device.path(), Slot::A, images.path()).unwrap();
        device
    }

    fn control(device: &TempDir) -> BootloaderControl {
        BootloaderControl::parse(&device::read_control(device.path()).unwrap()).unwrap()
    }

    fn change(device: &TempDir, change: impl FnOnce(&mut BootloaderControl)) {
        let mut control = control(device);
        change(&mut control);
        device::write_control(device.path(), &control).unwrap();
    }

    fn write_kernel(device: &TempDir, slot: Slot) {
        fs::write(
            device.path().join(format!("boot{}", slot.suffix())),
            vec![2; 4096],
        )
        .unwrap();
    }

    #[test]
    fn a_good_slot_boots_for_ever() {
        let device = device();
        for _ in 0..20 {
            assert_eq!(boot(device.path()).unwrap(), Slot::A);
        }
        assert_eq!(device::running(device.path()).unwrap(), Slot::A);
    }

    #[test]
    fn a_trial_has_its_tries_and_then_the_old_slot_boots() {
        let device = device();
        write_kernel(&device, Slot::B);
        change(&device, |control| control.set_active(Slot::B));
        for left in (0..TRIES).rev() {
            assert_eq!(boot(device.path()).unwrap(), Slot::B);
            assert_eq!(control(&device).slot(Slot::B).tries, left);
            assert_eq!(device::running(device.path()).unwrap(), Slot::B);
        }
        assert_eq!(boot(device.path()).unwrap(), Slot::A);
        assert_eq!(device::running(device.path()).unwrap(), Slot::A);
    }

    #[test]
    fn a_confirmed_trial_stays() {
        let device = device();
        write_kernel(&device, Slot::B);
        change(&device, |control| control.set_active(Slot::B));
        assert_eq!(boot(device.path()).unwrap(), Slot::B);
        change(&device, |control| control.mark_good(Slot::B));
        for _ in 0..20 {
            assert_eq!(boot(device.path()).unwrap(), Slot::B);
        }
    }

    #[test]
    fn a_trial_without_a_kernel_uses_up_its_tries() {
        let device = device();
        change(&device, |control| control.set_active(Slot::B));
        assert_eq!(boot(device.path()).unwrap(), Slot::A);
        assert_eq!(control(&device).slot(Slot::B).tries, 0);
    }

    #[test]
    fn a_good_slot_without_a_kernel_is_a_brick() {
        let device = device();
        fs::write(device.path().join("boot_a"), vec![0; 4096]).unwrap();
        assert!(matches!(boot(device.path()), Err(BootError::NoKernel(Slot::A))));
        fs::remove_file(device.path().join("boot_a")).unwrap();
        assert!(matches!(boot(device.path()), Err(BootError::NoKernel(Slot::A))));
    }

    #[test]
    fn an_unbootable_slot_is_never_tried() {
        let device = device();
        write_kernel(&device, Slot::B);
        change(&device, |control| control.mark_unbootable(Slot::A));
        assert!(matches!(boot(device.path()), Err(BootError::NoSlot)));
    }

    #[test]
    fn a_corrupted_slot_is_never_tried() {
        let device = device();
        change(&device, |control| {
            let info = SlotInfo {
                verity_corrupted: true,
                ..control.slot(Slot::A)
            };
            control.set_slot(Slot::A, info);
        });
        assert!(matches!(boot(device.path()), Err(BootError::NoSlot)));
    }

    #[test]
    fn a_damaged_block_is_made_anew_and_both_slots_are_tried() {
        let device = device();
        write_kernel(&device, Slot::B);
        let misc = fs::OpenOptions::new()
            .write(true)
            .open(device.path().join("misc"))
            .unwrap();
        misc.write_all_at(&[0xff; 5], 2048 + 2).unwrap();
        // U-Boot's order among equals is round-robin, since the slot with more tries comes first.
        let booted: Vec<Slot> = (0..4).map(|_| boot(device.path()).unwrap()).collect();
        assert_eq!(booted, [Slot::A, Slot::B, Slot::A, Slot::B]);
        assert!(!control(&device).slot(Slot::A).successful);
        for _ in 0..10 {
            boot(device.path()).unwrap();
        }
        assert!(matches!(boot(device.path()), Err(BootError::NoSlot)));
    }

    #[test]
    fn a_whole_block_of_another_version_stops_the_boot() {
        let device = device();
        let mut bytes = control(&device).encode();
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        let misc = fs::OpenOptions::new()
            .write(true)
            .open(device.path().join("misc"))
            .unwrap();
        misc.write_all_at(&bytes, 2048).unwrap();
        assert!(matches!(
            boot(device.path()),
            Err(BootError::Control(BootloaderControlError::Version(9)))
        ));
    }
}
