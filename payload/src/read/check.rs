//! From the messages as they came to values that the rest of the crate may trust.

use std::collections::BTreeSet;

use millet_protocol::{BLOCK_SIZE, PartitionName, Sha256Digest};
use prost::Message;

use super::verity::verity;
use super::{HeadError, OperationFault, Partition, PartitionFault};
use crate::format::manifest::{self, DeltaArchiveManifest, InstallOperation, PartitionInfo, PartitionUpdate};
use crate::format::{
    Action, Blob, Coder, Extent, Info, LARGEST_PARTITION, LONGEST_BLOB, Operation, PatchKind, Source, Verity,
};

/// What a manifest says, checked.
pub(super) struct Checked {
    pub(super) delta: bool,
    pub(super) partitions: Vec<Partition>,
    pub(super) blobs_length: u64,
}

pub(super) fn manifest(manifest: DeltaArchiveManifest) -> Result<Checked, HeadError> {
    if u64::from(manifest.block_size()) != BLOCK_SIZE {
        return Err(HeadError::BlockSize(manifest.block_size()));
    }
    // AOSP payload_constants.h: 0 is full, 1 was in-place, 2 to 9 are A/B deltas.
    let delta = match manifest.minor_version() {
        0 => false,
        2..=9 => true,
        other => return Err(HeadError::MinorVersion(other)),
    };
    if manifest.partitions.is_empty() {
        return Err(HeadError::NoPartitions);
    }
    let (signature, has_signature) = (manifest.signatures_offset(), manifest.signatures_size() > 0);
    let mut blobs_length = 0;
    let mut names = BTreeSet::new();
    let mut partitions = Vec::with_capacity(manifest.partitions.len());
    for update in manifest.partitions {
        let shown: String = update.partition_name.chars().take(80).collect();
        let refuse = |fault| HeadError::Partition {
            name: shown.clone(),
            fault,
        };
        let name = PartitionName::try_from(update.partition_name.clone())
            .map_err(|error| refuse(PartitionFault::Name(error)))?;
        if !names.insert(name.clone()) {
            return Err(refuse(PartitionFault::Twice));
        }
        partitions.push(partition(name, update, delta, &mut blobs_length)?);
    }
    if has_signature && signature != blobs_length {
        return Err(HeadError::Signature {
            offset: signature,
            blobs_length,
        });
    }
    Ok(Checked {
        delta,
        partitions,
        blobs_length,
    })
}

fn partition(
    name: PartitionName,
    mut update: PartitionUpdate,
    delta: bool,
    blobs_length: &mut u64,
) -> Result<Partition, HeadError> {
    let refuse = |fault| HeadError::Partition {
        name: name.to_string(),
        fault,
    };
    let head_bytes = update.encoded_len() as u64;
    let new = info("new", update.new_partition_info.take())
        .and_then(|info| info.ok_or(PartitionFault::NoInfo("new")))
        .map_err(refuse)?;
    let old = info("old", update.old_partition_info.take()).map_err(refuse)?;
    let bounds = Bounds {
        delta,
        old_blocks: old.map(|old| old.size / BLOCK_SIZE),
        new_blocks: new.size / BLOCK_SIZE,
    };
    let verity = verity(&update, bounds.new_blocks).map_err(refuse)?;
    let mut operations = Vec::with_capacity(update.operations.len());
    for (index, message) in update.operations.into_iter().enumerate() {
        let operation = bounds
            .operation(message, blobs_length)
            .map_err(|fault| HeadError::Operation {
                partition: name.to_string(),
                index,
                fault,
            })?;
        operations.push(operation);
    }
    every_block_once(&operations, &verity, bounds.new_blocks).map_err(refuse)?;
    Ok(Partition {
        name,
        old,
        new,
        operations,
        verity,
        head_bytes,
    })
}

fn info(which: &'static str, info: Option<PartitionInfo>) -> Result<Option<Info>, PartitionFault> {
    let Some(info) = info else { return Ok(None) };
    let (Some(size), Some(sha256)) = (info.size, info.hash.and_then(digest)) else {
        return Err(PartitionFault::NoInfo(which));
    };
    if size == 0 || !size.is_multiple_of(BLOCK_SIZE) || size > LARGEST_PARTITION {
        return Err(PartitionFault::Size { which, size });
    }
    Ok(Some(Info { size, sha256 }))
}

// The target slot's old content is unknown, so a block that nothing writes would be garbage.
fn every_block_once(operations: &[Operation], verity: &Verity, blocks: u64) -> Result<(), PartitionFault> {
    let mut extents: Vec<Extent> = operations
        .iter()
        .flat_map(|operation| &operation.destination)
        .copied()
        .chain(verity.extents())
        .collect();
    extents.sort_unstable();
    let mut next = 0;
    for extent in extents {
        if extent.start < next {
            return Err(PartitionFault::WrittenTwice(extent.start));
        }
        if extent.start > next {
            return Err(PartitionFault::NotWritten(next));
        }
        next = extent.end();
    }
    if next < blocks {
        return Err(PartitionFault::NotWritten(next));
    }
    Ok(())
}

/// What a partition's operations must stay inside.
struct Bounds {
    delta: bool,
    old_blocks: Option<u64>,
    new_blocks: u64,
}

impl Bounds {
    fn operation(
        &self,
        message: InstallOperation,
        blobs_length: &mut u64,
    ) -> Result<Operation, OperationFault> {
        let destination = extents("destination", &message.dst_extents, self.new_blocks)?;
        if destination.is_empty() {
            return Err(OperationFault::NoDestination);
        }
        let replace = |coder| (coder, &message);
        let action = match message.r#type {
            0 => replacement(replace(Coder::Plain), &destination, blobs_length)?,
            1 => replacement(replace(Coder::Bzip2), &destination, blobs_length)?,
            8 => replacement(replace(Coder::Xz), &destination, blobs_length)?,
            14 => replacement(replace(Coder::Zstd), &destination, blobs_length)?,
            4 => {
                let source = self.source(&message)?;
                let (from, to) = (blocks(&source.extents), blocks(&destination));
                if from != to {
                    return Err(OperationFault::CopyLength { from, to });
                }
                Action::Copy { source }
            }
            // DISCARD leaves open what the blocks hold; AOSP writes zeros where it cannot discard, and so may we always.
            6 | 7 => Action::Zero,
            5 => self.patch(PatchKind::Bsdiff, &message, blobs_length)?,
            9 => self.patch(PatchKind::Puffin, &message, blobs_length)?,
            10 => self.patch(PatchKind::Brotli, &message, blobs_length)?,
            2 => return Err(OperationFault::Unsupported("MOVE")),
            3 => return Err(OperationFault::Unsupported("BSDIFF")),
            11 => return Err(OperationFault::Unsupported("ZUCCHINI")),
            12 => return Err(OperationFault::Unsupported("LZ4DIFF_BSDIFF")),
            13 => return Err(OperationFault::Unsupported("LZ4DIFF_PUFFDIFF")),
            other => return Err(OperationFault::Unknown(other)),
        };
        Ok(Operation { action, destination })
    }

    fn patch(
        &self,
        kind: PatchKind,
        message: &InstallOperation,
        blobs_length: &mut u64,
    ) -> Result<Action, OperationFault> {
        Ok(Action::Patch {
            kind,
            source: self.source(message)?,
            blob: blob(message, blobs_length)?,
        })
    }

    fn source(&self, message: &InstallOperation) -> Result<Source, OperationFault> {
        if !self.delta {
            return Err(OperationFault::ReadsInFull);
        }
        let extents = extents("source", &message.src_extents, self.old_blocks.unwrap_or(0))?;
        if extents.is_empty() {
            return Err(OperationFault::NoSource);
        }
        let sha256 = message.src_sha256_hash.clone().and_then(digest);
        Ok(Source {
            extents,
            sha256: sha256.ok_or(OperationFault::NoHash("source"))?,
        })
    }
}

fn replacement(
    (coder, message): (Coder, &InstallOperation),
    destination: &[Extent],
    blobs_length: &mut u64,
) -> Result<Action, OperationFault> {
    let blob = blob(message, blobs_length)?;
    let needs = blocks(destination) * BLOCK_SIZE;
    if coder == Coder::Plain && blob.length != needs {
        return Err(OperationFault::ReplaceLength {
            has: blob.length,
            needs,
        });
    }
    Ok(Action::Replace { coder, blob })
}

fn blob(message: &InstallOperation, blobs_length: &mut u64) -> Result<Blob, OperationFault> {
    let (offset, length) = (message.data_offset(), message.data_length());
    if length == 0 {
        return Err(OperationFault::NoBlob);
    }
    if length > LONGEST_BLOB {
        return Err(OperationFault::LongBlob(length));
    }
    if offset != *blobs_length {
        return Err(OperationFault::BlobOffset {
            has: offset,
            expected: *blobs_length,
        });
    }
    let sha256 = message.data_sha256_hash.clone().and_then(digest);
    let sha256 = sha256.ok_or(OperationFault::NoHash("data"))?;
    // At most LONGEST_BLOB for each of the operations that fit in LONGEST_HEAD: far from overflow.
    *blobs_length += length;
    Ok(Blob {
        offset,
        length,
        sha256,
    })
}

fn extents(
    which: &'static str,
    messages: &[manifest::Extent],
    blocks: u64,
) -> Result<Vec<Extent>, OperationFault> {
    let checked = messages.iter().map(|message| {
        let (start, count) = (message.start_block(), message.num_blocks());
        let end = start
            .checked_add(count)
            .filter(|_| count > 0)
            .ok_or(OperationFault::Extent(which))?;
        if end > blocks {
            return Err(OperationFault::OutOfRange { which, end, blocks });
        }
        Ok(Extent { start, blocks: count })
    });
    checked.collect()
}

/// Blocks of checked extents. Sources may repeat: at most LONGEST_HEAD / 2 extents of LARGEST_PARTITION are 2^62 bytes.
fn blocks(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.blocks).sum()
}

fn digest(bytes: Vec<u8>) -> Option<Sha256Digest> {
    bytes.try_into().ok().map(Sha256Digest)
}
