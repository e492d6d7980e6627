//! Makes a slot's partitions from a payload, streaming, with memory that does not grow with the images.

mod copy;
mod decode;
mod drive;
mod error;
mod extents;
mod patch;
mod puffed;
mod replace;
mod verity;
mod write;
mod zstd;

use std::io::{self, Read};

use millet_protocol::BLOCK_SIZE;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::format::{Action, Operation};
use crate::read::{Head, Partition};
use crate::storage::{ReadAt, Slots, Target, hash};

use drive::{Driver, Event, Halt};
use extents::ExtentReader;

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
    /// After operations: bytes of blobs used so far, counted from the first blob.
    fn written(&mut self, blob_bytes_done: u64);
    /// After the targets were synced, about every 16 MiB written and at the end. An error stops.
    fn checkpoint(&mut self, at: Checkpoint) -> io::Result<()>;
    /// Asked before each operation is begun, while what it reads is hashed, and a few times a second while it is decoded
    /// or verity data is computed. `true` ends with [`ApplyError::Stopped`] after a checkpoint behind what is done by then:
    /// short operations that were begun are brought to their end, long ones are left. Once a partition's
    /// last operation is begun there is none until the partition is whole: what came after the last one is done again.
    fn stop(&self) -> bool;
}

/// Bytes written between two checkpoints: what an interruption may cost.
pub const CHECKPOINT_BYTES: u64 = 16 << 20;

/// Writes every partition of the payload from the checkpoint `from` on (the default one is the start).
///
/// `blobs` yields the payload's bytes from `from.blob_offset` after [`Head::blobs_offset`]; no more are read than
/// the operations need. Each blob has its SHA-256 before a decoder sees it, and each patch's source before it is
/// patched. Repeating operations after a checkpoint is harmless: none reads what another wrote. When the network or
/// the observer ends it early, what was written is synced and checkpointed first, as [`Observer::stop`] says.
///
/// Three threads share the work: this one reads blobs and hashes them and what patches read, one decodes, one writes and
/// syncs. `slots` and `observer` are called from this one only.
///
/// That the result is right is for the caller to see, by reading the partitions back.
pub fn apply(
    head: &Head,
    from: Checkpoint,
    blobs: &mut dyn Read,
    slots: &dyn Slots,
    observer: &mut dyn Observer,
) -> Result<(), ApplyError> {
    check_resumable(head, from)?;
    let mut driver = Driver::new(blobs, observer);
    for partition in head.partitions() {
        let after = driver.next.operation + partition.operations.len() as u64;
        if after <= from.operation {
            driver.next.operation = after;
            continue;
        }
        // Only one partition is open at a time, so it becomes durable before the next one is touched.
        driver.partition(&Open::new(partition, slots)?, from, slots)?;
    }
    Ok(())
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

/// A partition whose operations are being executed.
struct Open<'a> {
    partition: &'a Partition,
    source: Option<Box<dyn ReadAt + 'a>>,
}

impl<'a> Open<'a> {
    fn new(partition: &'a Partition, slots: &'a dyn Slots) -> Result<Self, ApplyError> {
        let source = reads(partition)
            .then(|| open_source(partition, slots))
            .transpose()?;
        Ok(Self { partition, source })
    }

    /// Compares the hashes of a blob and of what a patch reads: no decoder sees other bytes.
    fn check(
        &self,
        operation: &Operation,
        blob: &[u8],
        halt: &Halt,
        stops: &mut dyn FnMut() -> bool,
    ) -> Result<(), Fault> {
        if let Some(expected) = operation.blob()
            && expected.sha256.0 != <[u8; 32]>::from(Sha256::digest(blob))
        {
            return Err(Fault::Hash("data"));
        }
        if let Action::Patch { source, .. } = &operation.action {
            let reader = ExtentReader::new(self.source.as_deref(), &source.extents, halt)?;
            let go_on = |_: &[u8]| if stops() { Err(Fault::Stopped) } else { Ok(()) };
            if reader.stream(go_on)? != source.sha256 {
                return Err(Fault::Hash("source"));
            }
        }
        Ok(())
    }

    fn failed(&self, index: usize, fault: Fault) -> ApplyError {
        let kind = self
            .partition
            .operations
            .get(index)
            .map_or("?", Operation::type_name);
        ApplyError::of(&self.partition.name, index, kind, fault)
    }
}

/// What went wrong inside an operation, before the partition's name is put to it.
#[derive(Debug)]
enum Fault {
    Source(io::Error),
    Storage(io::Error),
    Hash(&'static str),
    Decode(DecodeError),
    /// Nothing: the observer wants to stop.
    Stopped,
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

fn open_target<'a>(partition: &Partition, slots: &'a dyn Slots) -> Result<Box<dyn Target + 'a>, ApplyError> {
    let (name, needs) = (&partition.name, partition.new.size);
    let target = slots.target(name, needs).map_err(ApplyError::storage_of(name))?;
    let has = target.size().map_err(ApplyError::storage_of(name))?;
    if has < needs {
        return Err(ApplyError::TooSmall {
            partition: name.clone(),
            has,
            needs,
        });
    }
    Ok(target)
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
