use std::io;

use millet_protocol::{NameError, PartitionName};

use super::{InputKind, SparseError, ZipError};
use crate::read::ReadHeadError;
use crate::verify::VerifyError;

/// Why an input gives no images. `origin` is a path, or a path and what inside it.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is not there, or not readable.
    #[error("cannot open {origin}")]
    Open {
        /// What.
        origin: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It was opened and then could not be read.
    #[error("cannot read {origin}")]
    Read {
        /// What.
        origin: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// None of the forms that are read.
    #[error("{0} is neither a folder of <partition>.img, nor an OTA zip, nor a zip of images, nor a payload")]
    Unknown(String),
    /// Nothing in it.
    #[error("{origin} holds no image: a {kind} should hold files such as system.img")]
    NoImages {
        /// What.
        origin: String,
        /// What it was recognised as.
        kind: InputKind,
    },
    /// An image under a name that no update may have.
    #[error("{origin} does not name a partition that can be updated")]
    Name {
        /// Which image.
        origin: String,
        /// The rule.
        #[source]
        error: NameError,
    },
    /// Two images for one partition.
    #[error("there are two images of partition {partition}: one is {origin}")]
    Twice {
        /// The partition.
        partition: PartitionName,
        /// One of them.
        origin: String,
    },
    /// An image without a byte.
    #[error("{0} is empty")]
    Empty(String),
    /// An image that no partition holds.
    #[error("{origin} has {size} bytes, and an image has 1 TiB at most")]
    TooLarge {
        /// Which image.
        origin: String,
        /// Its bytes, unpacked.
        size: u64,
    },
    /// A sparse image that is broken.
    #[error("cannot read the Android sparse image {origin}")]
    Sparse {
        /// Which image.
        origin: String,
        /// What is wrong.
        #[source]
        error: SparseError,
    },
    /// A zip archive that is broken or contradicts itself.
    #[error("cannot read the zip archive {origin}")]
    Zip {
        /// Which archive.
        origin: String,
        /// What is wrong.
        #[source]
        error: ZipError,
    },
    /// A zip archive that is no OTA package.
    #[error("{0} holds no payload.bin: it is not an OTA zip")]
    NoPayload(String),
    /// A payload that is broken or of another kind.
    #[error("{origin} is not a payload that Millet reads")]
    Head {
        /// Which payload.
        origin: String,
        /// What is wrong.
        #[source]
        error: ReadHeadError,
    },
    /// A payload that is not enough.
    #[error(
        "{0} is a delta payload: it makes images only of those it was made from; take the full payload, or the images"
    )]
    Delta(String),
    /// A full payload that does not make what it promises.
    #[error("cannot make the images of {origin}")]
    Make {
        /// Which payload.
        origin: String,
        /// What is wrong.
        #[source]
        error: VerifyError,
    },
}

impl InputError {
    pub(super) fn open(origin: &str) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Open {
            origin: origin.to_owned(),
            error,
        }
    }

    pub(super) fn read(origin: &str) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Read {
            origin: origin.to_owned(),
            error,
        }
    }
}
