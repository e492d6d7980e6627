//! From the messages as they came to values that the rest of the crate may trust.

use std::collections::BTreeSet;

use millet_protocol::{BLOCK_SIZE, PartitionName, Sha256Digest};
use prost::Message as _;

use super::verity::verity;
use super::{HeadError, OperationFault, Partition, PartitionFault};
use crate::format::manifest::{
    self, DESTINATION_EXTENTS, DeltaArchiveManifest, InstallOperation, OPERATIONS, PARTITIONS, PartitionInfo,
    PartitionUpdate, SOURCE_EXTENTS,
};
use crate::format::{
    Action, Blob, Coder, Extent, Info, LARGEST_PARTITION, LONGEST_BLOB, Operation, PatchKind, Source, Verity,
    wire,
};

/// What a manifest says, checked.
pub(super) struct Checked {
    pub(super) delta: bool,
    pub(super) partitions: Vec<Partition>,
    pub(super) blobs_length: u64,
}

/// Checks the manifest's bytes, of which [`super::memory::check`] has seen that they may be parsed.
///
/// Partitions, operations and extents are decoded one by one: together, and beside what is made of them, they would take
/// several times as much.
pub(super) fn manifest(bytes: &[u8]) -> Result<Checked, HeadError> {
    let manifest: DeltaArchiveManifest = decode(bytes, &[PARTITIONS])?;
    if u64::from(manifest.block_size()) != BLOCK_SIZE {
        return Err(HeadError::BlockSize(manifest.block_size()));
    }
    // AOSP payload_constants.h: 0 is full, 1 was in-place, 2 to 9 are A/B deltas.
    let delta = match manifest.minor_version() {
        0 => false,
        2..=9 => true,
        other => return Err(HeadError::MinorVersion(other)),
    };
    let (signature, has_signature) = (manifest.signatures_offset(), manifest.signatures_size() > 0);
    let mut blobs_length = 0;
    let mut names = BTreeSet::new();
    let mut partitions = Vec::with_capacity(wire::messages(bytes, PARTITIONS).count());
    for bytes in wire::messages(bytes, PARTITIONS) {
        let bytes = bytes.map_err(HeadError::Fields)?;
        let update: PartitionUpdate = decode(bytes, &[OPERATIONS])?;
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
        partitions.push(partition(name, (update, bytes), delta, &mut blobs_length)?);
    }
    if partitions.is_empty() {
        return Err(HeadError::NoPartitions);
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
    (mut update, bytes): (PartitionUpdate, &[u8]),
    delta: bool,
    blobs_length: &mut u64,
) -> Result<Partition, HeadError> {
    let refuse = |fault| HeadError::Partition {
        name: name.to_string(),
        fault,
    };
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
    let most_read = bounds.most_read();
    let mut read = 0;
    let mut operations = Vec::with_capacity(wire::messages(bytes, OPERATIONS).count());
    for (index, bytes) in wire::messages(bytes, OPERATIONS).enumerate() {
        let bytes = bytes.map_err(HeadError::Fields)?;
        let operation = bounds
            .operation(&Message::of(bytes)?, blobs_length)
            .map_err(|fault| HeadError::Operation {
                partition: name.to_string(),
                index,
                fault,
            })?;
        if let Action::Patch { source, .. } = &operation.action {
            // A source has at most 2^28 blocks, and a head a few million operations.
            read += blocks(&source.extents);
        }
        if read > most_read {
            return Err(refuse(PartitionFault::ReadsTooMuch {
                blocks: read,
                most: most_read,
            }));
        }
        operations.push(operation);
    }
    every_block_once(&operations, &verity, bounds.new_blocks).map_err(refuse)?;
    Ok(Partition {
        name,
        old,
        new,
        operations,
        verity,
        head_bytes: bytes.len() as u64,
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
    let destinations = || operations.iter().map(|operation| &operation.destination);
    let mut extents =
        Vec::with_capacity(destinations().map(Vec::len).sum::<usize>() + verity.extents().count());
    extents.extend(destinations().flatten());
    extents.extend(verity.extents());
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

/// An operation's message without its extents, and all of its bytes.
struct Message<'a> {
    fields: InstallOperation,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, HeadError> {
        let fields = decode(bytes, &[SOURCE_EXTENTS, DESTINATION_EXTENTS])?;
        Ok(Self { fields, bytes })
    }
}

fn decode<M: prost::Message + Default>(bytes: &[u8], without: &[u64]) -> Result<M, HeadError> {
    let rest = wire::without(bytes, without).map_err(HeadError::Fields)?;
    M::decode(rest.as_slice()).map_err(HeadError::Manifest)
}

/// How many times as many blocks as old and new partition have all patches may read: a device hashes each before a
/// decoder sees it. Ours read up to five times the new blocks. AOSP's read the old version of each new file once, but one
/// old file may serve for several new ones with a name like its own.
const MOST_READ: u64 = 16;

/// Blocks that patches may read in any case, 64 MiB: in a small partition each may well read all of it.
const LEAST_READ: u64 = (64 << 20) / BLOCK_SIZE;

/// What a partition's operations must stay inside.
struct Bounds {
    delta: bool,
    old_blocks: Option<u64>,
    new_blocks: u64,
}

impl Bounds {
    fn most_read(&self) -> u64 {
        // Neither has more blocks than LARGEST_PARTITION.
        let both = self.old_blocks.unwrap_or(0) + self.new_blocks;
        (both * MOST_READ).max(LEAST_READ)
    }

    fn operation(&self, message: &Message, blobs_length: &mut u64) -> Result<Operation, OperationFault> {
        let destination = extents("destination", message.bytes, DESTINATION_EXTENTS, self.new_blocks)?;
        if destination.is_empty() {
            return Err(OperationFault::NoDestination);
        }
        let action = match message.fields.r#type {
            0 => replacement((Coder::Plain, message), &destination, blobs_length)?,
            1 => replacement((Coder::Bzip2, message), &destination, blobs_length)?,
            8 => replacement((Coder::Xz, message), &destination, blobs_length)?,
            14 => replacement((Coder::Zstd, message), &destination, blobs_length)?,
            4 => {
                let source = self.source(message)?;
                let (from, to) = (blocks(&source.extents), blocks(&destination));
                if from != to {
                    return Err(OperationFault::CopyLength { from, to });
                }
                Action::Copy { source }
            }
            // DISCARD leaves open what the blocks hold; AOSP writes zeros where it cannot discard, and so may we always.
            6 | 7 => Action::Zero,
            5 => self.patch(PatchKind::Bsdiff, message, blobs_length)?,
            9 => self.patch(PatchKind::Puffin, message, blobs_length)?,
            10 => self.patch(PatchKind::Brotli, message, blobs_length)?,
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
        message: &Message,
        blobs_length: &mut u64,
    ) -> Result<Action, OperationFault> {
        let source = self.source(message)?;
        // A copy may name a block for each one it makes; a patch gains nothing from a block named twice.
        let (blocks, most) = (blocks(&source.extents), self.old_blocks.unwrap_or(0));
        if blocks > most {
            return Err(OperationFault::LongSource { blocks, most });
        }
        let blob = blob(message, blobs_length)?;
        Ok(Action::Patch { kind, source, blob })
    }

    fn source(&self, message: &Message) -> Result<Source, OperationFault> {
        if !self.delta {
            return Err(OperationFault::ReadsInFull);
        }
        let extents = extents(
            "source",
            message.bytes,
            SOURCE_EXTENTS,
            self.old_blocks.unwrap_or(0),
        )?;
        if extents.is_empty() {
            return Err(OperationFault::NoSource);
        }
        let sha256 = message.fields.src_sha256_hash.clone().and_then(digest);
        Ok(Source {
            extents,
            sha256: sha256.ok_or(OperationFault::NoHash("source"))?,
        })
    }
}

fn replacement(
    (coder, message): (Coder, &Message),
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

fn blob(Message { fields, .. }: &Message, blobs_length: &mut u64) -> Result<Blob, OperationFault> {
    let (offset, length) = (fields.data_offset(), fields.data_length());
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
    let sha256 = fields.data_sha256_hash.clone().and_then(digest);
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
    message: &[u8],
    number: u64,
    blocks: u64,
) -> Result<Vec<Extent>, OperationFault> {
    let mut extents = Vec::with_capacity(wire::messages(message, number).count());
    for bytes in wire::messages(message, number) {
        let message = bytes.ok().and_then(|bytes| manifest::Extent::decode(bytes).ok());
        let message = message.ok_or(OperationFault::Extent(which))?;
        let (start, count) = (message.start_block(), message.num_blocks());
        let end = start
            .checked_add(count)
            .filter(|_| count > 0)
            .ok_or(OperationFault::Extent(which))?;
        if end > blocks {
            return Err(OperationFault::OutOfRange { which, end, blocks });
        }
        extents.push(Extent { start, blocks: count });
    }
    Ok(extents)
}

/// Blocks of checked extents. Sources may repeat: at most LONGEST_HEAD / 2 extents of LARGEST_PARTITION are 2^62 bytes.
fn blocks(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.blocks).sum()
}

fn digest(bytes: Vec<u8>) -> Option<Sha256Digest> {
    bytes.try_into().ok().map(Sha256Digest)
}
