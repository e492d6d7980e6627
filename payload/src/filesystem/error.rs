use std::{fmt, io};

use super::Kind;

/// Why an image's files are not known.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {subject} of the {kind} filesystem")]
pub struct FilesystemError {
    /// What the image was recognised as.
    pub kind: Kind,
    /// Which part of it.
    pub subject: Subject,
    /// What is wrong with that part.
    #[source]
    pub fault: Fault,
}

/// A part of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// What says how the rest lies.
    Superblock,
    /// A file or directory.
    Inode {
        /// The number under which the filesystem knows it.
        number: u64,
        /// Its path, at most 80 characters of it; empty for the root.
        path: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => out.write_str("the superblock"),
            Self::Inode { number, path } => write!(out, "inode {number} (/{path})"),
        }
    }
}

/// What is wrong with a part of a filesystem.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The system's doing.
    #[error("the image could not be read")]
    Io(#[source] io::Error),
    /// Something is said to lie where there is no image.
    #[error("{length} bytes at {offset} are outside the image of {size} bytes")]
    Outside {
        /// Where, in bytes.
        offset: u64,
        /// Its bytes.
        length: u64,
        /// Bytes of the image.
        size: u64,
    },
    /// A feature that Millet does not read.
    #[error("it uses {0}, which Millet does not read")]
    Unsupported(&'static str),
    /// Not what the format allows.
    #[error("{0}")]
    Malformed(&'static str),
    /// More than an honest image of that size has.
    #[error("there are more than {most} {what}")]
    TooMuch {
        /// What is counted.
        what: &'static str,
        /// How many are read.
        most: u64,
    },
}
