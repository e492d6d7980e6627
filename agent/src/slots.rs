//! The partitions of both slots, as files or block devices.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use millet_payload::{ReadAt, Slots, Target};
use millet_protocol::{PartitionName, Slot};
use rustix::fs::Advice;

/// Where partitions are.
pub trait Storage: Send + Sync {
    /// Opens a partition for reading.
    fn read(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn ReadAt>>;
    /// Opens a partition for writing. It must be there.
    fn write(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn Target>>;
    /// Opens a partition for reading what is on the medium, past the page cache.
    fn read_back(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn ReadAt>>;
}

/// A folder that holds `<partition>_a` and `<partition>_b`.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at a path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn partition(&self, partition: &PartitionName, slot: Slot) -> PathBuf {
        // A partition's name has no slash and no dot by its form.
        self.path.join(format!("{partition}{}", slot.suffix()))
    }
}

impl Storage for Folder {
    fn read(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(File::open(self.partition(partition, slot))?))
    }

    fn write(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn Target>> {
        // Read too: what a payload leaves to the device is made from what was written.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.partition(partition, slot))?;
        Ok(Box::new(file))
    }

    fn read_back(&self, partition: &PartitionName, slot: Slot) -> io::Result<Box<dyn ReadAt>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.partition(partition, slot))?;
        // Only clean pages can be dropped (posix_fadvise(2)), so flush first.
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(Box::new(file))
    }
}

/// The running slot to read and the other to write.
pub struct Pair {
    storage: Arc<dyn Storage>,
    running: Slot,
}

impl Pair {
    /// Everything that is written goes to the slot that does not run.
    pub fn new(storage: Arc<dyn Storage>, running: Slot) -> Self {
        Self { storage, running }
    }
}

impl Slots for Pair {
    fn source(&self, name: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        self.storage.read(name, self.running)
    }

    fn target(&self, name: &PartitionName, _size: u64) -> io::Result<Box<dyn Target + '_>> {
        self.storage.write(name, self.running.other())
    }
}
