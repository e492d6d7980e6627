use std::io;

use millet_protocol::PartitionName;

use crate::puff::DeflateError;

/// Why a payload could not be made. What was written of it is useless.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// An image could not be read.
    #[error("the image of partition {partition} could not be read")]
    Read {
        /// The partition.
        partition: PartitionName,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Nothing to make, or more than a payload holds.
    #[error(
        "the image of partition {partition} is {size} bytes: it must have one at least and 1 TiB at most"
    )]
    Size {
        /// The partition.
        partition: PartitionName,
        /// Its bytes.
        size: u64,
    },
    /// A partition appears twice.
    #[error("there are two images of partition {0}")]
    Twice(PartitionName),
    /// No images at all.
    #[error("there is no image to make a payload of")]
    NoImages,
    /// The payload or its scratch file could not be written.
    #[error("the payload could not be written")]
    Write(#[source] io::Error),
    /// A coder refuses its settings.
    #[error("the {coder} encoder failed")]
    Encode {
        /// Which one.
        coder: &'static str,
        /// What it said.
        #[source]
        error: io::Error,
    },
    /// Deflate that was found could not be puffed a second time.
    #[error("a deflate block could not be puffed")]
    Puff(#[source] DeflateError),
    /// A thread died.
    #[error("an encoding thread ended early")]
    Thread,
}
