//! Payloads from the messages of `update_metadata.proto`, for what our own writer never writes.

use prost::Message;
use sha2::{Digest, Sha256};

use super::BLOCK;

#[derive(Clone, PartialEq, Message)]
pub struct Manifest {
    #[prost(uint32, optional, tag = "12")]
    pub minor_version: Option<u32>,
    #[prost(message, repeated, tag = "13")]
    pub partitions: Vec<Partition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Partition {
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "6")]
    pub old: Option<Info>,
    #[prost(message, optional, tag = "7")]
    pub new: Option<Info>,
    #[prost(message, repeated, tag = "8")]
    pub operations: Vec<Operation>,
    #[prost(message, optional, tag = "10")]
    pub hash_tree_data: Option<Extent>,
    #[prost(message, optional, tag = "11")]
    pub hash_tree: Option<Extent>,
    #[prost(string, optional, tag = "12")]
    pub hash_tree_algorithm: Option<String>,
    #[prost(bytes = "vec", optional, tag = "13")]
    pub hash_tree_salt: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    pub fec_data: Option<Extent>,
    #[prost(message, optional, tag = "15")]
    pub fec: Option<Extent>,
    #[prost(uint32, optional, tag = "16")]
    pub fec_roots: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Info {
    #[prost(uint64, optional, tag = "1")]
    pub size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub hash: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Operation {
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    #[prost(uint64, optional, tag = "2")]
    pub data_offset: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub data_length: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    pub source: Vec<Extent>,
    #[prost(message, repeated, tag = "6")]
    pub destination: Vec<Extent>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub data_hash: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub source_hash: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Extent {
    #[prost(uint64, optional, tag = "1")]
    pub start: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub blocks: Option<u64>,
}

pub const REPLACE: i32 = 0;
pub const REPLACE_BZ: i32 = 1;
pub const SOURCE_COPY: i32 = 4;
pub const SOURCE_BSDIFF: i32 = 5;
pub const REPLACE_XZ: i32 = 8;
pub const REPLACE_ZSTD: i32 = 14;

pub fn extent(start: u64, blocks: u64) -> Extent {
    Extent {
        start: Some(start),
        blocks: Some(blocks),
    }
}

/// A full payload of one partition `system`, of so many blocks and without operations.
pub fn system(blocks: u64) -> Partition {
    Partition {
        name: "system".into(),
        new: Some(Info {
            size: Some(blocks * BLOCK as u64),
            hash: Some(vec![0; 32]),
        }),
        ..Partition::default()
    }
}

/// An operation whose blob begins `data_offset` bytes after the first blob.
pub fn replacement(kind: i32, data_offset: usize, blob: &[u8], destination: Extent) -> Operation {
    Operation {
        kind,
        data_offset: Some(data_offset as u64),
        data_length: Some(blob.len() as u64),
        destination: vec![destination],
        data_hash: Some(Sha256::digest(blob).to_vec()),
        ..Operation::default()
    }
}

/// A full payload with these partitions.
pub fn payload(partitions: Vec<Partition>, blobs: &[u8]) -> Vec<u8> {
    assemble(
        &Manifest {
            minor_version: Some(0),
            partitions,
        },
        blobs,
    )
}

/// A payload with this manifest.
pub fn assemble(manifest: &Manifest, blobs: &[u8]) -> Vec<u8> {
    let manifest = manifest.encode_to_vec();
    let mut payload = b"CrAU\0\0\0\0\0\0\0\x02".to_vec();
    payload.extend((manifest.len() as u64).to_be_bytes());
    payload.extend([0; 4]);
    payload.extend(manifest);
    payload.extend(blobs);
    payload
}
