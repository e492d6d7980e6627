//! The proto2 messages of AOSP's `update_metadata.proto`, with the fields that Millet reads or writes.
//!
//! Written by hand: protoc is not needed to build, and what is skipped (signatures, update groups) is seen at a glance.

use prost::Message;

// The fields that repeat: a reader takes them one by one, so that it never holds all of a manifest twice.
pub(crate) const PARTITIONS: u64 = 13;
pub(crate) const OPERATIONS: u64 = 8;
pub(crate) const SOURCE_EXTENTS: u64 = 4;
pub(crate) const DESTINATION_EXTENTS: u64 = 6;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeltaArchiveManifest {
    #[prost(uint32, optional, tag = "3", default = "4096")]
    pub(crate) block_size: Option<u32>,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) signatures_offset: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub(crate) signatures_size: Option<u64>,
    #[prost(uint32, optional, tag = "12", default = "0")]
    pub(crate) minor_version: Option<u32>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) partitions: Vec<PartitionUpdate>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionUpdate {
    #[prost(string, required, tag = "1")]
    pub(crate) partition_name: String,
    #[prost(message, optional, tag = "6")]
    pub(crate) old_partition_info: Option<PartitionInfo>,
    #[prost(message, optional, tag = "7")]
    pub(crate) new_partition_info: Option<PartitionInfo>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) operations: Vec<InstallOperation>,
    #[prost(message, optional, tag = "10")]
    pub(crate) hash_tree_data_extent: Option<Extent>,
    #[prost(message, optional, tag = "11")]
    pub(crate) hash_tree_extent: Option<Extent>,
    #[prost(string, optional, tag = "12")]
    pub(crate) hash_tree_algorithm: Option<String>,
    #[prost(bytes = "vec", optional, tag = "13")]
    pub(crate) hash_tree_salt: Option<Vec<u8>>,
    #[prost(message, optional, tag = "14")]
    pub(crate) fec_data_extent: Option<Extent>,
    #[prost(message, optional, tag = "15")]
    pub(crate) fec_extent: Option<Extent>,
    #[prost(uint32, optional, tag = "16")]
    pub(crate) fec_roots: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionInfo {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) hash: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstallOperation {
    // An enumeration on the wire; kept as its number so that an unknown one can be named when it is refused.
    #[prost(int32, required, tag = "1")]
    pub(crate) r#type: i32,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) data_offset: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) data_length: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) src_extents: Vec<Extent>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) dst_extents: Vec<Extent>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub(crate) data_sha256_hash: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(crate) src_sha256_hash: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Extent {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) start_block: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) num_blocks: Option<u64>,
}
