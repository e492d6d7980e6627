use std::io;

use millet_protocol::PartitionName;

use super::{DynamicError, FieldError, SignError};
use crate::read::ReadHeadError;

/// Why no package is made of a payload.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// What phones are to be told cannot be written into the metadata.
    #[error("{what} {value:?} is empty, or has characters that an OTA package's metadata cannot hold")]
    Text {
        /// Which part of the description.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// A phone must know which build a delta fits.
    #[error("the payload is a delta, and the package would not say of which build")]
    NoSourceBuild,
    /// The payload could not be read.
    #[error("the payload cannot be read")]
    Read(#[source] io::Error),
    /// It is not one, or is broken.
    #[error("it is not a payload that Millet reads")]
    Head(#[from] ReadHeadError),
    /// Its manifest decodes and is no sequence of fields all the same.
    #[error("the payload's manifest cannot be changed")]
    Manifest(#[from] FieldError),
    /// How partitions share `super` does not fit the payload.
    #[error("dynamic_partitions_info.txt does not fit the payload")]
    Dynamic(#[source] DynamicError),
    /// The manifest has grown beyond what devices read.
    #[error("the payload's manifest would be longer than devices read")]
    LongManifest,
    /// A blob is not what the manifest says: what is broken shall not be signed.
    #[error(
        "the data of operation {index} of partition {partition} has another SHA-256 than the payload's manifest says"
    )]
    OtherBlob {
        /// The partition.
        partition: PartitionName,
        /// Counted from 0 within the partition.
        index: usize,
    },
    /// The key did not sign.
    #[error("the payload could not be signed")]
    Sign(#[source] SignError),
    /// The key signed with more bytes than it said.
    #[error("the key's signature has {has} bytes, and was to have {longest} at most")]
    LongSignature {
        /// Bytes of the signature.
        has: usize,
        /// Bytes that the key said.
        longest: usize,
    },
    /// The package could not be written.
    #[error("the package cannot be written")]
    Write(#[source] io::Error),
}
