//! Which files an image holds, and in which of its blocks: a delta pairs files by their paths.
//!
//! Nothing that is read here decides what a payload makes, so an image that lies only costs bytes. It must not cost
//! more than that: every number is foreign, every read lies inside the image, and the work ends after about as much
//! as an honest image of that size needs.

mod bytes;
mod erofs;
mod error;
mod ext4;
mod squashfs;
mod tree;

use std::fmt;

use crate::format::Extent;
use crate::storage::ReadAt;

use bytes::Bytes;
use erofs::Erofs;
use ext4::Ext4;
use squashfs::Squashfs;

pub use error::{Fault, FilesystemError, Subject};

/// What an image was recognised as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ext2, ext3 or ext4.
    Ext4,
    /// EROFS.
    Erofs,
    /// squashfs 4.
    Squashfs,
    /// None of those: a kernel, firmware, an encrypted image.
    Unknown,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Ext4 => "ext4",
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Unknown => "unknown",
        })
    }
}

/// A regular file that has content in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path from the root, without a leading slash; bytes that are not UTF-8 are replaced. Of several hard links
    /// it is the first one in the order of their bytes.
    pub path: String,
    /// Bytes of its content, uncompressed and with its holes.
    pub size: u64,
    /// The 4 KiB blocks that hold its content, in the order of the content. A block may also hold something else (the
    /// end of another file, metadata), and so be part of several files or several times of one. Holes have no blocks.
    /// Every extent lies inside the image, padded to whole blocks.
    pub extents: Vec<Extent>,
}

/// What is in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// What the image was recognised as.
    pub kind: Kind,
    /// Its regular files with content, ordered by path.
    pub files: Vec<File>,
}

/// Reads the tree. An image with no filesystem that is known has no files.
///
/// Fails when the filesystem cannot be read as a whole; the image is then one without known files to its caller.
pub fn files(image: &dyn ReadAt) -> Result<Files, FilesystemError> {
    let unreadable = |error| FilesystemError {
        kind: Kind::Unknown,
        subject: Subject::Superblock,
        fault: Fault::Io(error),
    };
    let bytes = Bytes::new(image).map_err(unreadable)?;
    let kind = recognise(&bytes).map_err(unreadable)?;
    let refused = |fault| FilesystemError {
        kind,
        subject: Subject::Superblock,
        fault,
    };
    let files = match kind {
        Kind::Ext4 => tree::walk(kind, &Ext4::open(&bytes).map_err(refused)?, &bytes)?,
        Kind::Erofs => tree::walk(kind, &Erofs::open(&bytes).map_err(refused)?, &bytes)?,
        Kind::Squashfs => tree::walk(kind, &Squashfs::open(&bytes).map_err(refused)?, &bytes)?,
        Kind::Unknown => Vec::new(),
    };
    Ok(Files { kind, files })
}

/// Where the superblocks of ext4 and EROFS begin, in bytes.
const SUPERBLOCK: u64 = 1024;

fn recognise(bytes: &Bytes) -> std::io::Result<Kind> {
    let mut head = [0; 2048];
    if !bytes.peek(&mut head)? {
        return Ok(Kind::Unknown);
    }
    let superblock = &head[SUPERBLOCK as usize..];
    Ok(if squashfs::is_superblock(&head) {
        Kind::Squashfs
    } else if erofs::is_superblock(superblock) {
        Kind::Erofs
    } else if ext4::is_superblock(superblock) {
        Kind::Ext4
    } else {
        Kind::Unknown
    })
}
