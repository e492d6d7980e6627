use super::{LONGEST_DEFLATE, LONGEST_HEADER, LONGEST_PUFF};

/// Why a PUFFDIFF blob is refused.
#[derive(Debug, thiserror::Error)]
pub enum PuffError {
    /// No magic, or a header longer than the blob.
    #[error("its data is no PUF1 container")]
    Container,
    /// More extents than a device holds in memory.
    #[error("its header of {0} bytes is longer than {LONGEST_HEADER}")]
    LongHeader(u32),
    /// The protobuf does not parse.
    #[error("its header is no puffin PatchHeader")]
    Header(#[source] prost::DecodeError),
    /// Not version 1.
    #[error("its header has the unknown version {0}")]
    Version(i32),
    /// A patch that is not bsdiff's.
    #[error("its patch is of puffin's type ZUCCHINI, which Millet does not apply")]
    Zucchini,
    /// A patch of a type outside the public format.
    #[error("its patch is of the unknown type {0}")]
    Type(i32),
    /// The extents do not fit their stream.
    #[error("the extents of its {which} do not fit")]
    Layout {
        /// `source` or `destination`.
        which: &'static str,
        /// What is wrong.
        #[source]
        error: LayoutError,
    },
    /// An extent of the old bytes is no deflate, or has another puff.
    #[error("a deflate extent of its source cannot be puffed")]
    Puff(#[source] DeflateError),
    /// A patch that jumps among the extents of its source without end.
    #[error("it goes back and forth among the deflate extents of its source too often")]
    TooOften,
    /// A puff that was patched is none, or makes other bits than the extent has room for.
    #[error("a deflate extent of its destination cannot be made")]
    Huff(#[source] DeflateError),
}

/// Why a list of deflate extents is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// As many puffs as deflates, or the header is wrong.
    #[error("there are {deflates} deflates and {puffs} puffs")]
    Count {
        /// Deflate extents.
        deflates: usize,
        /// Puff extents.
        puffs: usize,
    },
    /// Not sorted, overlapping, empty or beyond the end.
    #[error("deflate extent {0} is empty, before the end of the last one or beyond the stream")]
    Deflate(usize),
    /// More than a device holds in memory.
    #[error("deflate extent {0} is longer than {LONGEST_DEFLATE} bytes or its puff than {LONGEST_PUFF}")]
    TooLong(usize),
    /// A puff that is not where the bytes before it end.
    #[error("puff extent {0} is empty or not where it must be")]
    Puff(usize),
    /// The puffed stream has another length than its pieces.
    #[error("the puffed stream is said to have {says} bytes, its pieces have {has}")]
    Length {
        /// What the header says.
        says: u64,
        /// The sum.
        has: u64,
    },
}

/// Why deflate bits and a puff cannot be made from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeflateError {
    /// It stops inside a block.
    #[error("it ends inside a block")]
    EndsEarly,
    /// The blocks end at another bit, or the puff at another byte, than the extent.
    #[error("its blocks have another length than its extent")]
    Length,
    /// More than [`LONGEST_PUFF`], or more than the header says.
    #[error("its puff is longer than it may be")]
    TooLong,
    /// BTYPE 3.
    #[error("a block is of the reserved type")]
    BlockType,
    /// A stored block whose two lengths disagree, or a puff of one that is not one run of literals.
    #[error("a stored block is malformed")]
    Stored,
    /// Code lengths that no Huffman code has, or that are more or fewer than announced.
    #[error("a block's code lengths are impossible")]
    CodeLengths,
    /// Bits that are no code, or a symbol that has no code.
    #[error("a block has a symbol without a code")]
    NoCode,
    /// A match shorter than 3, longer than 258 or from farther than 32768.
    #[error("a match has an impossible length or distance")]
    Match,
    /// A block's metadata has another length than its code lengths.
    #[error("a block's metadata is malformed")]
    Metadata,
    /// Raw bits between two extents that do not fit their place in a byte.
    #[error("bits between two extents do not fit between them")]
    Gap,
}
