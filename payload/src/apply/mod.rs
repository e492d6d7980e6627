//! Makes a slot's partitions from a payload, streaming, with memory that does not grow with the images.

mod copy;
mod error;
mod extents;
mod patch;
mod puffed;
mod replace;
mod verity;
mod zstd;

use std::io::{self, Read};

use millet_protocol::BLOCK_SIZE;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::format::{Action, Blob, Operation};
use crate::read::{Head, Partition};
use crate::storage::{ReadAt, Slots, Target, hash};

use extents::{ExtentReader, ExtentWriter};

pub use error::{ApplyError, DecodeError};
#[cfg(test)]
pub(crate) use patch::in_memory::puffpatched;

/// Where to go on after an interruption: everything before it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The next operation, counted from 0 over all partitions.
    pub operation: u64,
    /// Bytes from the first blob to that operation's.
    pub blob_offset: u64,
}

/// Follows [`apply`].
pub trait Observer {
    /// After each operation: bytes of blobs used so far, counted from the first blob.
    fn written(&mut self, blob_bytes_done: u64);
    /// After the targets were synced, about every 16 MiB written and at the end. An error stops.
    fn checkpoint(&mut self, at: Checkpoint) -> io::Result<()>;
    /// Asked before each operation; `true` takes a checkpoint and ends with [`ApplyError::Stopped`].
    fn stop(&self) -> bool;
}

/// Bytes written between two checkpoints: what an interruption may cost.
pub const CHECKPOINT_BYTES: u64 = 16 << 20;

/// Writes every partition of the payload from the checkpoint `from` on (the default one is the start).
///
/// `blobs` yields the payload's bytes from `from.blob_offset` after [`Head::blobs_offset`]; no more are read than
/// the operations need. Each blob has its SHA-256 before a decoder sees it, and each patch's source before it is
/// patched. Repeating operations after a checkpoint is harmless: none reads what another wrote. When the network or
/// the observer ends it early, what was written is synced and checkpointed first.
///
/// That the result is right is for the caller to see, by reading the partitions back.
pub fn apply(
    head: &Head,
    from: Checkpoint,
    blobs: &mut dyn Read,
    slots: &dyn Slots,
    observer: &mut dyn Observer,
) -> Result<(), ApplyError> {
    Driver {
        at: Checkpoint::default(),
        unsynced: 0,
        blobs,
        observer,
        blob: Vec::new(),
    }
    .run(head, from, slots)
}

/// Reads every old partition that the payload needs and compares it with what the payload was made from.
///
/// For a device to call before it downloads anything: a root that was mounted read-write once no longer fits.
/// `progress` hears bytes done and bytes in all.
pub fn check_sources(
    head: &Head,
    slots: &dyn Slots,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ApplyError> {
    let needed = || head.partitions().filter(|partition| reads(partition));
    let total = needed()
        .filter_map(|partition| partition.old)
        .map(|old| old.size)
        .sum();
    let mut done = 0;
    for partition in needed() {
        let Some(old) = partition.old else { continue };
        let source = open_source(partition, slots)?;
        let sha256 = hash(&*source, old.size, &mut |bytes| progress(done + bytes, total))
            .map_err(ApplyError::source_of(&partition.name))?;
        if sha256 != old.sha256 {
            return Err(ApplyError::OtherSource {
                partition: partition.name.clone(),
            });
        }
        done += old.size;
    }
    Ok(())
}

/// Zeroes the last block of a partition that is larger than its image: an old verified-boot footer would live there.
///
/// [`apply`] does this for what it writes; a device does it for partitions that a payload leaves out.
pub fn clear_footer(target: &mut dyn Target, image_size: u64) -> io::Result<()> {
    let size = target.size()?;
    let last = (size - size % BLOCK_SIZE).saturating_sub(BLOCK_SIZE);
    if last < image_size {
        return Ok(());
    }
    target.write_all_at(&[0; BLOCK_SIZE as usize], last)
}

struct Driver<'a> {
    at: Checkpoint,
    unsynced: u64,
    blobs: &'a mut dyn Read,
    observer: &'a mut dyn Observer,
    blob: Vec<u8>,
}

impl Driver<'_> {
    fn run(mut self, head: &Head, from: Checkpoint, slots: &dyn Slots) -> Result<(), ApplyError> {
        check_resumable(head, from)?;
        for partition in head.partitions() {
            let last = self.at.operation + partition.operations.len() as u64;
            if last <= from.operation {
                self.at.operation = last;
                continue;
            }
            let mut open = Open::new(partition, slots)?;
            for (index, operation) in partition.operations.iter().enumerate() {
                if self.at.operation < from.operation {
                    self.at.operation += 1;
                    continue;
                }
                self.at.blob_offset = self.at.blob_offset.max(from.blob_offset);
                if self.observer.stop() {
                    self.checkpoint(&mut open)?;
                    return Err(ApplyError::Stopped);
                }
                self.operation(&mut open, index, operation)?;
            }
            verity::write(partition, &mut *open.target)?;
            clear_footer(&mut *open.target, partition.new.size)
                .map_err(ApplyError::storage_of(&partition.name))?;
            // Only one partition is open at a time, so it becomes durable before the next one is touched.
            self.checkpoint(&mut open)?;
        }
        Ok(())
    }

    fn operation(&mut self, open: &mut Open, index: usize, operation: &Operation) -> Result<(), ApplyError> {
        if let Some(blob) = operation.blob()
            && let Err(error) = self.fetch(blob)
        {
            self.checkpoint(open)?;
            return Err(ApplyError::Blobs(error));
        }
        open.execute(index, operation, &self.blob)?;
        self.at.operation += 1;
        self.at.blob_offset += operation.blob().map_or(0, |blob| blob.length);
        self.observer.written(self.at.blob_offset);
        self.unsynced += operation.destination_size();
        // The last operation's checkpoint waits for verity data and footer.
        let last = index + 1 == open.partition.operations.len();
        if self.unsynced >= CHECKPOINT_BYTES && !last {
            self.checkpoint(open)?;
        }
        Ok(())
    }

    fn fetch(&mut self, blob: &Blob) -> io::Result<()> {
        self.blob.clear();
        // The head was refused if this were more than LONGEST_BLOB; growing step by step would take twice as much.
        self.blob
            .reserve_exact(usize::try_from(blob.length).map_err(|_| io::ErrorKind::OutOfMemory)?);
        let read = (&mut *self.blobs).take(blob.length).read_to_end(&mut self.blob)?;
        if read as u64 != blob.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn checkpoint(&mut self, open: &mut Open) -> Result<(), ApplyError> {
        if self.unsynced > 0 {
            open.target
                .sync()
                .map_err(ApplyError::storage_of(&open.partition.name))?;
            self.unsynced = 0;
        }
        self.observer.checkpoint(self.at).map_err(ApplyError::Checkpoint)
    }
}

/// A partition whose operations are being executed.
struct Open<'a> {
    partition: &'a Partition,
    source: Option<Box<dyn ReadAt + 'a>>,
    target: Box<dyn Target + 'a>,
}

impl<'a> Open<'a> {
    fn new(partition: &'a Partition, slots: &'a dyn Slots) -> Result<Self, ApplyError> {
        let name = &partition.name;
        let source = reads(partition)
            .then(|| open_source(partition, slots))
            .transpose()?;
        let target = slots
            .target(name, partition.new.size)
            .map_err(ApplyError::storage_of(name))?;
        let has = target.size().map_err(ApplyError::storage_of(name))?;
        if has < partition.new.size {
            return Err(ApplyError::TooSmall {
                partition: name.clone(),
                has,
                needs: partition.new.size,
            });
        }
        Ok(Self {
            partition,
            source,
            target,
        })
    }

    fn execute(&mut self, index: usize, operation: &Operation, blob: &[u8]) -> Result<(), ApplyError> {
        let fail = |fault| ApplyError::of(&self.partition.name, index, operation.type_name(), fault);
        if let Some(expected) = operation.blob()
            && expected.sha256.0 != <[u8; 32]>::from(Sha256::digest(blob))
        {
            return Err(fail(Fault::Hash("data")));
        }
        let mut writer = ExtentWriter::new(&mut *self.target, &operation.destination);
        let source = self.source.as_deref();
        let result = match &operation.action {
            Action::Replace { coder, .. } => replace::replace(*coder, blob, &mut writer),
            Action::Zero => copy::zero(&mut writer),
            Action::Copy { source: from } => ExtentReader::new(source, &from.extents)
                .and_then(|reader| copy::copy(&reader, from, &mut writer)),
            Action::Patch {
                kind, source: from, ..
            } => ExtentReader::new(source, &from.extents)
                .and_then(|mut reader| patch::patch(&mut reader, from, *kind, blob, &mut writer)),
        };
        result.and_then(|()| writer.finish()).map_err(fail)
    }
}

/// What went wrong inside an operation, before the partition's name is put to it.
#[derive(Debug)]
enum Fault {
    Source(io::Error),
    Storage(io::Error),
    Hash(&'static str),
    Decode(DecodeError),
}

fn reads(partition: &Partition) -> bool {
    partition
        .operations
        .iter()
        .any(|operation| operation.source().is_some())
}

fn open_source<'a>(partition: &Partition, slots: &'a dyn Slots) -> Result<Box<dyn ReadAt + 'a>, ApplyError> {
    let source = slots
        .source(&partition.name)
        .map_err(ApplyError::source_of(&partition.name))?;
    let has = source.size().map_err(ApplyError::source_of(&partition.name))?;
    if partition.old.is_some_and(|old| has < old.size) {
        return Err(ApplyError::OtherSource {
            partition: partition.name.clone(),
        });
    }
    Ok(source)
}

fn check_resumable(head: &Head, from: Checkpoint) -> Result<(), ApplyError> {
    let skipped = head.partitions().flat_map(|partition| &partition.operations);
    let operations = usize::try_from(from.operation).unwrap_or(usize::MAX);
    let offset: u64 = skipped
        .take(operations)
        .filter_map(Operation::blob)
        .map(|blob| blob.length)
        .sum();
    if from.operation > head.operations() || from.blob_offset != offset {
        return Err(ApplyError::OtherCheckpoint {
            operation: from.operation,
            blob_offset: from.blob_offset,
        });
    }
    Ok(())
}
