use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use millet_machine::bootloader_control::{BootloaderControl, LENGTH, OFFSET};
use millet_protocol::Slot;
use rustix::fs::{Advice, OFlags};

use super::BootControl;
use crate::config::BootConfig;
use crate::error::Error;

/// The unit that a disk writes whole or not at all. The block begins at a multiple of it and lies inside one.
const SECTOR: usize = 512;

/// Android's `bootloader_control` block in the `misc` partition, or in a file that stands for it.
#[derive(Debug)]
pub struct Misc {
    path: PathBuf,
    cmdline: PathBuf,
}

impl Misc {
    /// Refuses Virtual A/B devices; touches nothing.
    pub fn open(config: &BootConfig) -> Result<Self, Error> {
        for path in &config.properties {
            // AOSP update_engine, `dynamic_partition_control_android.cc`: this property makes a device Virtual A/B.
            let properties = std::fs::read_to_string(path).unwrap_or_default();
            if properties
                .lines()
                .any(|line| line.trim() == "ro.virtual_ab.enabled=true")
            {
                return Err(Error::VirtualAb {
                    evidence: format!("ro.virtual_ab.enabled=true in {}", path.display()),
                });
            }
        }
        let misc = Self {
            path: config.misc.clone(),
            cmdline: config.cmdline.clone(),
        };
        match misc.read()? {
            Some(block) if block.merge_status() != 0 => Err(Error::VirtualAb {
                evidence: format!("merge status {} in {}", block.merge_status(), misc.path.display()),
            }),
            _ => Ok(misc),
        }
    }

    /// The block; none when it is damaged, and then the bootloader may have chosen any slot.
    fn read(&self) -> Result<Option<BootloaderControl>, Error> {
        let file = File::open(&self.path).map_err(Error::file("open", &self.path))?;
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, OFFSET)
            .map_err(Error::file("read", &self.path))?;
        Ok(BootloaderControl::parse(&bytes).ok())
    }

    /// One change, written as one sector and read back from the disk. A damaged block is made anew first: the running
    /// slot may boot and the other may not.
    fn change(&mut self, change: impl FnOnce(&mut BootloaderControl)) -> Result<(), Error> {
        let mut block = match self.read()? {
            Some(block) => block,
            None => self.made_anew()?,
        };
        change(&mut block);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags(OFlags::SYNC))
            .open(&self.path)
            .map_err(Error::file("open", &self.path))?;
        let mut sector = [0; SECTOR];
        file.read_exact_at(&mut sector, OFFSET)
            .map_err(Error::file("read", &self.path))?;
        sector[..LENGTH].copy_from_slice(&block.encode());
        file.write_all_at(&sector, OFFSET)
            .map_err(Error::file("write", &self.path))?;
        file.sync_all().map_err(Error::file("flush", &self.path))?;
        // Advice, not an order: where the system ignores it, the read below sees the cache.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        let mut kept = [0; SECTOR];
        file.read_exact_at(&mut kept, OFFSET)
            .map_err(Error::file("read back", &self.path))?;
        if kept == sector {
            Ok(())
        } else {
            Err(Error::NotKept {
                path: self.path.clone(),
            })
        }
    }

    fn made_anew(&self) -> Result<BootloaderControl, Error> {
        let running = self.current()?;
        let mut block = BootloaderControl::new(running);
        // Bootable, but nobody knows any more whether it was good.
        block.set_active(running);
        Ok(block)
    }
}

impl BootControl for Misc {
    fn current(&self) -> Result<Slot, Error> {
        let cmdline = std::fs::read_to_string(&self.cmdline).map_err(Error::file("read", &self.cmdline))?;
        let suffix = cmdline
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("androidboot.slot_suffix="));
        match suffix.and_then(Slot::from_suffix) {
            Some(slot) => Ok(slot),
            // Bootloaders that do not say it there write it into the block.
            None => self
                .read()?
                .and_then(|block| block.suffix())
                .ok_or_else(|| Error::NoSlot {
                    cmdline: self.cmdline.clone(),
                }),
        }
    }

    fn is_good(&self, slot: Slot) -> Result<bool, Error> {
        Ok(self
            .read()?
            .is_some_and(|block| block.slot(slot).successful && block.slot(slot).bootable()))
    }

    fn is_bootable(&self, slot: Slot) -> Result<bool, Error> {
        Ok(self.read()?.is_none_or(|block| block.slot(slot).bootable()))
    }

    fn set_active(&mut self, slot: Slot) -> Result<(), Error> {
        self.change(|block| block.set_active(slot))
    }

    fn restore(&mut self, slot: Slot) -> Result<(), Error> {
        self.change(|block| block.restore(slot))
    }

    fn mark_good(&mut self, slot: Slot) -> Result<(), Error> {
        self.change(|block| block.mark_good(slot))
    }

    fn mark_unbootable(&mut self, slot: Slot) -> Result<(), Error> {
        self.change(|block| block.mark_unbootable(slot))
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_control::contract::{self, Device};

    struct Folder {
        folder: tempfile::TempDir,
    }

    impl Folder {
        fn config(&self) -> BootConfig {
            BootConfig {
                misc: self.folder.path().join("misc"),
                cmdline: self.folder.path().join("cmdline"),
                properties: vec![self.folder.path().join("build.prop")],
                reboot: vec!["true".to_owned()].try_into().unwrap(),
            }
        }

        fn block(&self) -> BootloaderControl {
            let bytes = std::fs::read(self.config().misc).unwrap();
            BootloaderControl::parse(bytes[2048..2080].try_into().unwrap()).unwrap()
        }

        fn put(&self, block: &[u8; LENGTH]) {
            let mut bytes = vec![0x5a; 1 << 16];
            bytes[2048..2080].copy_from_slice(block);
            std::fs::write(self.config().misc, bytes).unwrap();
        }
    }

    impl Device for Folder {
        fn new(running: Slot) -> Self {
            let device = Self {
                folder: tempfile::tempdir().unwrap(),
            };
            device.put(&BootloaderControl::new(running).encode());
            std::fs::write(
                device.config().cmdline,
                format!("quiet androidboot.slot_suffix={} ro\n", running.suffix()),
            )
            .unwrap();
            device
        }

        fn open(&self) -> Box<dyn BootControl> {
            Box::new(Misc::open(&self.config()).unwrap())
        }

        fn boot(&self) -> Option<Slot> {
            let mut block = self.block();
            let slot = block.choice()?;
            block.count_try(slot);
            block.set_suffix(slot);
            self.put(&block.encode());
            let cmdline = format!("androidboot.slot_suffix={}", slot.suffix());
            std::fs::write(self.config().cmdline, cmdline).unwrap();
            Some(slot)
        }
    }

    #[test]
    fn contract() {
        contract::suite::<Folder>();
    }

    #[test]
    fn nothing_else_in_misc_changes() {
        let device = Folder::new(Slot::A);
        let before = std::fs::read(device.config().misc).unwrap();
        device.open().set_active(Slot::B).unwrap();
        let after = std::fs::read(device.config().misc).unwrap();
        assert_eq!(before.len(), after.len());
        let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert!(changed.iter().all(|at| (2048..2080).contains(at)), "{changed:?}");
    }

    #[test]
    fn a_damaged_block_is_neither_good_nor_a_reason_to_stop() {
        let device = Folder::new(Slot::B);
        device.put(&[0; LENGTH]);
        let mut control = device.open();
        assert_eq!(control.current().unwrap(), Slot::B);
        assert!(!control.is_good(Slot::B).unwrap());
        assert!(control.is_bootable(Slot::A).unwrap(), "a bootloader may try it");
        control.mark_good(Slot::B).unwrap();
        assert!(control.is_good(Slot::B).unwrap());
        assert!(!control.is_bootable(Slot::A).unwrap());
    }

    #[test]
    fn without_a_command_line_the_block_says_what_runs() {
        let device = Folder::new(Slot::B);
        std::fs::write(device.config().cmdline, "quiet").unwrap();
        assert_eq!(device.open().current().unwrap(), Slot::B);
        device.put(&[0; LENGTH]);
        assert!(matches!(device.open().current(), Err(Error::NoSlot { .. })));
    }

    #[test]
    fn virtual_ab_is_refused_by_name() {
        let device = Folder::new(Slot::A);
        std::fs::write(
            device.config().properties[0].as_path(),
            "ro.x=1\nro.virtual_ab.enabled=true\n",
        )
        .unwrap();
        let error = Misc::open(&device.config()).unwrap_err();
        assert!(error.to_string().contains("Virtual A/B"), "{error}");
        let merging = Folder::new(Slot::A);
        let mut bytes = BootloaderControl::new(Slot::A).encode();
        bytes[9] |= 3 << 6;
        let block = BootloaderControl::parse(&reseal(bytes)).unwrap();
        merging.put(&block.encode());
        assert!(matches!(
            Misc::open(&merging.config()),
            Err(Error::VirtualAb { .. })
        ));
    }

    fn reseal(mut bytes: [u8; LENGTH]) -> [u8; LENGTH] {
        let crc = crc32(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    // Bit by bit, as IEEE 802.3 defines it: independent of the crate under test.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn a_missing_misc_is_named() {
        let device = Folder::new(Slot::A);
        std::fs::remove_file(device.config().misc).unwrap();
        let error = Misc::open(&device.config()).unwrap_err();
        assert!(error.to_string().ends_with("misc"), "{error}");
    }
}
