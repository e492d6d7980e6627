//! Puts operations and blobs together to a payload.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use millet_protocol::{BLOCK_SIZE, PartitionEntry, PartitionName, Sha256Digest};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::format::header::Header;
use crate::format::manifest::{self, DeltaArchiveManifest, InstallOperation, PartitionInfo, PartitionUpdate};
use crate::format::{Extent, Info, LONGEST_HEAD, Operation, Source};
use crate::storage::COPY_BUFFER;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the whole payload.
    pub size: u64,
    /// Bytes of header and manifest.
    pub metadata_size: u64,
    /// SHA-256 of those.
    pub metadata_sha256: Sha256Digest,
    /// What the payload makes: size and hash of each image, padded to whole blocks.
    pub partitions: Vec<PartitionEntry>,
    /// Zero bytes that were added to images that were not whole blocks.
    pub padded: BTreeMap<PartitionName, u64>,
    /// For each type of operation, how many there are and the bytes of their blobs.
    pub operations: BTreeMap<&'static str, (u64, u64)>,
}

/// AOSP's minor version of a full payload.
pub(crate) const MINOR_FULL: u32 = 0;

/// AOSP's minor version of an A/B delta with BROTLI_BSDIFF and source hashes.
pub(crate) const MINOR_DELTA: u32 = 6;

/// A payload in the making. Blobs wait in an unnamed file, because the manifest that names their hashes precedes them.
pub(crate) struct PayloadWriter {
    manifest: DeltaArchiveManifest,
    blobs: File,
    blobs_length: u64,
    partitions: Vec<PartitionEntry>,
    padded: BTreeMap<PartitionName, u64>,
    operations: BTreeMap<&'static str, (u64, u64)>,
}

impl PayloadWriter {
    /// `scratch` is a directory with room for the payload.
    pub(crate) fn new(minor_version: u32, scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            manifest: DeltaArchiveManifest {
                block_size: Some(BLOCK_SIZE as u32),
                minor_version: Some(minor_version),
                ..DeltaArchiveManifest::default()
            },
            blobs: tempfile::tempfile_in(scratch)?,
            blobs_length: 0,
            partitions: Vec::new(),
            padded: BTreeMap::new(),
            operations: BTreeMap::new(),
        })
    }

    /// Begins a partition; [`PayloadWriter::operation`] adds to the last one begun. `padding` is part of the new size.
    pub(crate) fn partition(&mut self, name: &PartitionName, old: Option<Info>, new: Info, padding: u64) {
        self.manifest.partitions.push(PartitionUpdate {
            partition_name: name.to_string(),
            old_partition_info: old.map(info),
            new_partition_info: Some(info(new)),
            ..PartitionUpdate::default()
        });
        self.partitions.push(PartitionEntry {
            name: name.clone(),
            size: new.size,
            sha256: new.sha256,
        });
        if padding > 0 {
            self.padded.insert(name.clone(), padding);
        }
    }

    /// Adds an operation with its blob; the blob's offset in `operation` is ignored: it comes where the last one ended.
    pub(crate) fn operation(&mut self, operation: &Operation, data: &[u8]) -> io::Result<()> {
        self.blobs.write_all(data)?;
        let (count, bytes) = self.operations.entry(operation.type_name()).or_default();
        *count += 1;
        *bytes += data.len() as u64;
        let message = message(operation, self.blobs_length);
        self.blobs_length += data.len() as u64;
        if let Some(partition) = self.manifest.partitions.last_mut() {
            partition.operations.push(message);
        }
        Ok(())
    }

    /// Bytes of head and blobs so far.
    pub(crate) fn finish(mut self, out: &mut dyn Write) -> io::Result<Summary> {
        let manifest = self.manifest.encode_to_vec();
        let header = Header::unsigned(manifest.len() as u64);
        let head = [header.as_slice(), &manifest].concat();
        if head.len() as u64 > LONGEST_HEAD {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the manifest is longer than devices read",
            ));
        }
        out.write_all(&head)?;
        self.blobs.rewind()?;
        let mut buffer = vec![0; COPY_BUFFER];
        loop {
            match self.blobs.read(&mut buffer)? {
                0 => break,
                read => out.write_all(&buffer[..read])?,
            }
        }
        out.flush()?;
        Ok(Summary {
            size: head.len() as u64 + self.blobs_length,
            metadata_size: head.len() as u64,
            metadata_sha256: Sha256Digest(Sha256::digest(&head).into()),
            partitions: self.partitions,
            padded: self.padded,
            operations: self.operations,
        })
    }
}

fn info(info: Info) -> PartitionInfo {
    PartitionInfo {
        size: Some(info.size),
        hash: Some(info.sha256.0.to_vec()),
    }
}

fn message(operation: &Operation, offset: u64) -> InstallOperation {
    let blob = operation.blob();
    let source = operation.source();
    InstallOperation {
        r#type: operation.type_number(),
        data_offset: blob.map(|_| offset),
        data_length: blob.map(|blob| blob.length),
        src_extents: source
            .map(|Source { extents, .. }| messages(extents))
            .unwrap_or_default(),
        dst_extents: messages(&operation.destination),
        data_sha256_hash: blob.map(|blob| blob.sha256.0.to_vec()),
        src_sha256_hash: source.map(|source| source.sha256.0.to_vec()),
    }
}

fn messages(extents: &[Extent]) -> Vec<manifest::Extent> {
    let message = |extent: &Extent| manifest::Extent {
        start_block: Some(extent.start),
        num_blocks: Some(extent.blocks),
    };
    extents.iter().map(message).collect()
}
