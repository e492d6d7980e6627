//! A device as a folder: two slots of every partition, `misc`, and the kernel's command line.
//!
//! | file | is |
//! | --- | --- |
//! | `<partition>_a`, `<partition>_b` | the slots, of fixed size |
//! | `misc` | 1 MiB; boot control at offset 2048 |
//! | `cmdline` | what the bootloader told the kernel; names the running slot |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use millet_machine::bootloader_control::{BootloaderControl, LENGTH, OFFSET};
use millet_protocol::{PartitionName, Slot};

use crate::image_folder::{ImageFolderError, images};

/// Bytes of `misc`: what most devices give it.
const MISC_SIZE: u64 = 1 << 20;
/// The unit that storage writes whole or not at all.
const SECTOR: usize = 512;
/// What images are padded to.
const BLOCK: u64 = 4096;

/// The device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The images cannot be used.
    #[error("use the images in {}", folder.display())]
    Images {
        /// Their folder.
        folder: PathBuf,
        /// Why not.
        source: ImageFolderError,
    },
    /// Another device lives there.
    #[error("{} is a device already", .0.display())]
    Exists(PathBuf),
    /// A file of the device cannot be used.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A slot is smaller than its image.
    #[error("the image of {partition} has {image} bytes and its slot {slot}")]
    TooLarge {
        /// The partition.
        partition: PartitionName,
        /// Bytes of the image.
        image: u64,
        /// Bytes of the slot.
        slot: u64,
    },
    /// The command line does not say which slot runs.
    #[error("{} names no slot", .0.display())]
    NoSlot(PathBuf),
}

/// Makes a device with empty slots, each as large as its image rounded up to whole blocks, plus `headroom` bytes. No
/// slot is bootable until one is flashed.
pub fn create(directory: &Path, image_folder: &Path, headroom: u64) -> Result<(), DeviceError> {
    let images = images(image_folder).map_err(using(image_folder))?;
    let misc = directory.join("misc");
    if misc.exists() {
        return Err(DeviceError::Exists(directory.to_owned()));
    }
    fs::create_dir_all(directory).map_err(at("create", directory))?;
    for image in &images {
        let size = image.size.saturating_add(headroom).next_multiple_of(BLOCK);
        for slot in [Slot::A, Slot::B] {
            empty_file(&slot_path(directory, &image.partition, slot), size)?;
        }
    }
    tell_kernel(directory, Slot::A)?;
    empty_file(&misc, MISC_SIZE)?;
    let mut control = BootloaderControl::new(Slot::A);
    control.mark_unbootable(Slot::A);
    write_control(directory, &control)
}

/// Writes images into a slot, zeros behind them, and makes that slot the good one that boots next, as a cable and a
/// flashing tool would.
pub fn flash(directory: &Path, slot: Slot, image_folder: &Path) -> Result<(), DeviceError> {
    for image in images(image_folder).map_err(using(image_folder))? {
        let path = slot_path(directory, &image.partition, slot);
        let mut target = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(at("open", &path))?;
        let size = target.metadata().map_err(at("read", &path))?.len();
        let mut source = File::open(&image.path).map_err(at("open", &image.path))?;
        if image.size > size {
            return Err(DeviceError::TooLarge {
                partition: image.partition,
                image: image.size,
                slot: size,
            });
        }
        let written = io::copy(&mut source, &mut target).map_err(at("write", &path))?;
        io::copy(&mut io::repeat(0).take(size.saturating_sub(written)), &mut target)
            .map_err(at("write", &path))?;
        target.sync_all().map_err(at("flush", &path))?;
    }
    let mut control = match BootloaderControl::parse(&read_control(directory)?) {
        Ok(control) => control,
        Err(_) => BootloaderControl::new(slot),
    };
    control.restore(slot);
    control.mark_good(slot);
    write_control(directory, &control)
}

/// The slot that runs, from the kernel's command line.
pub fn running(directory: &Path) -> Result<Slot, DeviceError> {
    let path = directory.join("cmdline");
    let text = fs::read_to_string(&path).map_err(at("read", &path))?;
    let suffix = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("androidboot.slot_suffix="));
    suffix
        .and_then(Slot::from_suffix)
        .ok_or(DeviceError::NoSlot(path))
}

/// The file of a partition's slot.
pub fn slot_path(directory: &Path, partition: &PartitionName, slot: Slot) -> PathBuf {
    directory.join(format!("{partition}{}", slot.suffix()))
}

/// The bytes where boot control stands, valid or not.
pub fn read_control(directory: &Path) -> Result<[u8; LENGTH], DeviceError> {
    let path = directory.join("misc");
    let mut bytes = [0; LENGTH];
    let file = File::open(&path).map_err(at("open", &path))?;
    file.read_exact_at(&mut bytes, OFFSET)
        .map_err(at("read boot control from", &path))?;
    Ok(bytes)
}

/// Writes boot control as one aligned sector that is durable before this returns.
pub fn write_control(directory: &Path, control: &BootloaderControl) -> Result<(), DeviceError> {
    let path = directory.join("misc");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(at("open", &path))?;
    let mut sector = [0; SECTOR];
    file.read_exact_at(&mut sector, OFFSET)
        .map_err(at("read boot control from", &path))?;
    sector[..LENGTH].copy_from_slice(&control.encode());
    file.write_all_at(&sector, OFFSET)
        .map_err(at("write boot control to", &path))?;
    file.sync_data().map_err(at("flush", &path))
}

/// The bootloader's message to the kernel: which slot it chose.
pub(crate) fn tell_kernel(directory: &Path, slot: Slot) -> Result<(), DeviceError> {
    let path = directory.join("cmdline");
    let mut file = File::create(&path).map_err(at("create", &path))?;
    writeln!(
        file,
        "console=ttyAMA0 androidboot.slot_suffix={} ro",
        slot.suffix()
    )
    .map_err(at("write", &path))
}

fn empty_file(path: &Path, size: u64) -> Result<(), DeviceError> {
    let file = File::create(path).map_err(at("create", path))?;
    file.set_len(size).map_err(at("make room in", path))
}

fn using(folder: &Path) -> impl FnOnce(ImageFolderError) -> DeviceError {
    let folder = folder.to_owned();
    move |source| DeviceError::Images { folder, source }
}

/// Names what was tried and on which file.
pub(crate) fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeviceError {
    let path = path.to_owned();
    move |source| DeviceError::File {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(images: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in images {
            fs::write(folder.path().join(format!("{name}.img")), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_new_device_has_empty_slots_and_boots_none() {
        let images = folder_of(&[("boot", vec![1; 5000]), ("system", vec![2; 8192])]);
        let parent = tempfile::tempdir().unwrap();
        let device = parent.path().join("device");
        create(&device, images.path(), 4096).unwrap();
        let size = |name: &str| fs::metadata(device.join(name)).unwrap().len();
        assert_eq!(
            (size("boot_a"), size("boot_b"), size("system_a")),
            (12288, 12288, 12288)
        );
        assert_eq!(size("misc"), MISC_SIZE);
        let control = BootloaderControl::parse(&read_control(&device).unwrap()).unwrap();
        assert_eq!(control.choice(), None);
        assert!(matches!(
            create(&device, images.path(), 0),
            Err(DeviceError::Exists(_))
        ));
    }

    #[test]
    fn flashing_leaves_nothing_of_what_was_there() {
        let before = folder_of(&[("boot", vec![1; 8192])]);
        let after = folder_of(&[("boot", vec![2; 100])]);
        let device = tempfile::tempdir().unwrap();
        create(device.path(), before.path(), 0).unwrap();
        flash(device.path(), Slot::B, before.path()).unwrap();
        flash(device.path(), Slot::B, after.path()).unwrap();
        let bytes = fs::read(device.path().join("boot_b")).unwrap();
        assert_eq!(bytes.len(), 8192);
        assert!(bytes[..100].iter().all(|byte| *byte == 2) && bytes[100..].iter().all(|byte| *byte == 0));
        let control = BootloaderControl::parse(&read_control(device.path()).unwrap()).unwrap();
        assert_eq!(control.choice(), Some(Slot::B));
        assert!(control.slot(Slot::B).successful && !control.slot(Slot::A).bootable());
    }

    #[test]
    fn an_image_that_does_not_fit_is_refused_by_name() {
        let small = folder_of(&[("boot", vec![1; 100])]);
        let large = folder_of(&[("boot", vec![1; 5000])]);
        let device = tempfile::tempdir().unwrap();
        create(device.path(), small.path(), 0).unwrap();
        let error = flash(device.path(), Slot::A, large.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the image of boot has 5000 bytes and its slot 4096"
        );
    }

    #[test]
    fn the_rest_of_the_sector_stays() {
        let images = folder_of(&[("boot", vec![1; 100])]);
        let device = tempfile::tempdir().unwrap();
        create(device.path(), images.path(), 0).unwrap();
        let misc = OpenOptions::new()
            .write(true)
            .open(device.path().join("misc"))
            .unwrap();
        misc.write_all_at(b"mine", OFFSET + 32).unwrap();
        write_control(device.path(), &BootloaderControl::new(Slot::B)).unwrap();
        let bytes = fs::read(device.path().join("misc")).unwrap();
        assert_eq!(&bytes[2080..2084], b"mine");
        assert_eq!(bytes.len() as u64, MISC_SIZE);
    }
}
