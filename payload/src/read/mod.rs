//! A payload's head: parsed, and checked before anything is written.

mod check;
mod error;
mod file;
mod memory;
mod verity;

use millet_protocol::{PartitionEntry, PartitionName};

use crate::format::header::Header;
use crate::format::{HEADER_SIZE, Info, LONGEST_HEAD, Operation, Verity};

pub use error::{HeadError, OperationFault, PartitionFault, VerityFault};
pub use file::ReadHeadError;

/// A payload's header and manifest, of which every number has been checked.
///
/// What holds for every `Head`: partition names are safe and unique; each partition's operations, with the
/// verity data that the device computes, make each of its blocks exactly once and read only blocks of the old partition,
/// together no more than a small multiple of both partitions; everything read or downloaded has a hash; blobs
/// lie in operation order without gaps; only operation types that [`crate::apply`] knows.
///
/// The fields for postinstall programs, security patch level and signatures are not read: trust comes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    metadata_size: u64,
    signature_size: u64,
    delta: bool,
    partitions: Vec<Partition>,
    blobs_length: u64,
}

/// How to make one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name without slot suffix.
    pub name: PartitionName,
    /// What the running slot must hold; always there if an operation reads it.
    pub old: Option<Info>,
    /// What the operations make, with the verity data.
    pub new: Info,
    /// The steps, in the order of their blobs.
    pub operations: Vec<Operation>,
    /// What the device computes from the blocks that the operations made.
    pub verity: Verity,
    head_bytes: u64,
}

impl Partition {
    /// Bytes of the head that describe this partition.
    pub fn head_bytes(&self) -> u64 {
        self.head_bytes
    }
}

impl Head {
    /// Parses the first [`crate::metadata_size`] bytes of a payload, whose hash the caller has checked. Takes at most
    /// [`crate::MOST_PARSED`] bytes of memory.
    pub fn parse(head: &[u8]) -> Result<Self, HeadError> {
        let has = head.len() as u64;
        let Some((prefix, manifest)) = head.split_first_chunk::<HEADER_SIZE>() else {
            return Err(HeadError::Length {
                has,
                says: HEADER_SIZE as u64,
            });
        };
        let header = Header::parse(prefix)?;
        let metadata_size = header.metadata_size();
        if has != metadata_size || metadata_size > LONGEST_HEAD {
            return Err(HeadError::Length {
                has,
                says: metadata_size,
            });
        }
        memory::check(manifest)?;
        let checked = check::manifest(manifest)?;
        Ok(Self {
            metadata_size,
            signature_size: header.signature_size,
            delta: checked.delta,
            partitions: checked.partitions,
            blobs_length: checked.blobs_length,
        })
    }

    /// Bytes of header and manifest.
    pub fn metadata_size(&self) -> u64 {
        self.metadata_size
    }

    /// The partitions, in the order in which they are made.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter()
    }

    /// Whether old partitions are needed.
    pub fn is_delta(&self) -> bool {
        self.delta
    }

    /// Bytes from the start of the payload to the first blob.
    pub fn blobs_offset(&self) -> u64 {
        self.metadata_size + self.signature_size
    }

    /// Bytes of all blobs together; a signature that nobody here reads may follow.
    pub fn blobs_length(&self) -> u64 {
        self.blobs_length
    }

    /// Operations of all partitions together.
    pub fn operations(&self) -> u64 {
        self.partitions
            .iter()
            .map(|partition| partition.operations.len() as u64)
            .sum()
    }

    /// The part of this head that makes one partition, and where its blobs begin: bytes from the first blob.
    pub fn partition_alone(&self, name: &PartitionName) -> Option<(Self, u64)> {
        let mut before = 0;
        let length = |partition: &Partition| -> u64 {
            let blobs = partition.operations.iter().filter_map(Operation::blob);
            blobs.map(|blob| blob.length).sum()
        };
        for partition in &self.partitions {
            let blobs_length = length(partition);
            if partition.name == *name {
                let alone = Self {
                    partitions: vec![partition.clone()],
                    blobs_length,
                    ..*self
                };
                return Some((alone, before));
            }
            before += blobs_length;
        }
        None
    }

    /// Checks that the payload makes nothing but what a signed manifest lists: its partitions are a subset, with
    /// equal size and SHA-256.
    pub fn check_against(&self, manifest: &[PartitionEntry]) -> Result<(), HeadError> {
        for partition in &self.partitions {
            let refuse = |fault| {
                Err(HeadError::Partition {
                    name: partition.name.to_string(),
                    fault,
                })
            };
            let Some(entry) = manifest.iter().find(|entry| entry.name == partition.name) else {
                return refuse(PartitionFault::NotInManifest);
            };
            if entry.size != partition.new.size || entry.sha256 != partition.new.sha256 {
                return refuse(PartitionFault::OtherThanManifest);
            }
        }
        Ok(())
    }
}
