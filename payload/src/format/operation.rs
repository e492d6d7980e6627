use millet_protocol::Sha256Digest;

/// Size and hash of a whole partition image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Bytes, a multiple of the block size.
    pub size: u64,
    /// SHA-256 of those bytes.
    pub sha256: Sha256Digest,
}

/// A run of blocks of [`millet_protocol::BLOCK_SIZE`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// The first block.
    pub start: u64,
    /// How many, at least one.
    pub blocks: u64,
}

impl Extent {
    /// The block after the last one. A parsed extent lies inside its partition, so this does not overflow.
    pub fn end(&self) -> u64 {
        self.start + self.blocks
    }
}

/// A piece of the payload's data that belongs to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Bytes from the first blob.
    pub offset: u64,
    /// Bytes, at most [`crate::format::LONGEST_BLOB`].
    pub length: u64,
    /// SHA-256 of those bytes, checked before a decoder sees them.
    pub sha256: Sha256Digest,
}

/// What an operation reads from the old partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The blocks, in the order in which they are read; they may repeat.
    pub extents: Vec<Extent>,
    /// SHA-256 of those blocks together.
    pub sha256: Sha256Digest,
}

/// How a replacement is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coder {
    /// REPLACE: as it is.
    Plain,
    /// REPLACE_BZ: bzip2.
    Bzip2,
    /// REPLACE_XZ: an xz stream.
    Xz,
    /// REPLACE_ZSTD: Zstandard frames (RFC 8878).
    Zstd,
}

/// The operation type that a patch travels under. Its own magic says how its streams are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// SOURCE_BSDIFF.
    Bsdiff,
    /// BROTLI_BSDIFF.
    Brotli,
    /// PUFFDIFF: a bsdiff patch of bytes in which deflate has been puffed.
    Puffin,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes its blob.
    Replace {
        /// Compression of the blob.
        coder: Coder,
        /// The data.
        blob: Blob,
    },
    /// Copies blocks of the old partition.
    Copy {
        /// As many blocks as the destination has.
        source: Source,
    },
    /// Writes zeros: ZERO, and DISCARD too.
    Zero,
    /// Patches blocks of the old partition.
    Patch {
        /// The type it travels under.
        kind: PatchKind,
        /// The old bytes.
        source: Source,
        /// A bsdiff patch, in a container if `kind` has one.
        blob: Blob,
    },
}

/// One step of making a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What it does.
    pub action: Action,
    /// The blocks it makes, in order. No two operations of a partition share one.
    pub destination: Vec<Extent>,
}

impl Operation {
    /// AOSP's name of the operation's type.
    pub fn type_name(&self) -> &'static str {
        match &self.action {
            Action::Replace {
                coder: Coder::Plain, ..
            } => "REPLACE",
            Action::Replace {
                coder: Coder::Bzip2, ..
            } => "REPLACE_BZ",
            Action::Replace { coder: Coder::Xz, .. } => "REPLACE_XZ",
            Action::Replace {
                coder: Coder::Zstd, ..
            } => "REPLACE_ZSTD",
            Action::Copy { .. } => "SOURCE_COPY",
            Action::Zero => "ZERO",
            Action::Patch {
                kind: PatchKind::Bsdiff,
                ..
            } => "SOURCE_BSDIFF",
            Action::Patch {
                kind: PatchKind::Brotli,
                ..
            } => "BROTLI_BSDIFF",
            Action::Patch {
                kind: PatchKind::Puffin,
                ..
            } => "PUFFDIFF",
        }
    }

    /// The operation's data, if it has any.
    pub fn blob(&self) -> Option<&Blob> {
        match &self.action {
            Action::Replace { blob, .. } | Action::Patch { blob, .. } => Some(blob),
            Action::Copy { .. } | Action::Zero => None,
        }
    }

    /// What the operation reads, if it reads.
    pub fn source(&self) -> Option<&Source> {
        match &self.action {
            Action::Copy { source } | Action::Patch { source, .. } => Some(source),
            Action::Replace { .. } | Action::Zero => None,
        }
    }

    /// Bytes it writes.
    pub fn destination_size(&self) -> u64 {
        size_of(&self.destination)
    }

    /// The number of its type in `update_metadata.proto`.
    #[cfg(feature = "generate")]
    pub(crate) fn type_number(&self) -> i32 {
        match &self.action {
            Action::Replace {
                coder: Coder::Plain, ..
            } => 0,
            Action::Replace {
                coder: Coder::Bzip2, ..
            } => 1,
            Action::Copy { .. } => 4,
            Action::Patch {
                kind: PatchKind::Bsdiff,
                ..
            } => 5,
            Action::Zero => 6,
            Action::Replace { coder: Coder::Xz, .. } => 8,
            Action::Patch {
                kind: PatchKind::Puffin,
                ..
            } => 9,
            Action::Patch {
                kind: PatchKind::Brotli,
                ..
            } => 10,
            Action::Replace {
                coder: Coder::Zstd, ..
            } => 14,
        }
    }
}

/// Bytes of extents that lie inside a partition, together.
pub(crate) fn size_of(extents: &[Extent]) -> u64 {
    extents
        .iter()
        .map(|extent| extent.blocks * millet_protocol::BLOCK_SIZE)
        .sum()
}
