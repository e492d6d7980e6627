use crate::format::MOST_PARSED;
use crate::format::wire::FieldError;

/// Why a payload's head is refused. Nothing has been written then.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Not a payload at all.
    #[error("the file does not begin with CrAU: it is not an A/B payload")]
    Magic,
    /// Another major version.
    #[error("payload major version {0} is not 2")]
    Version(u64),
    /// A length beyond what a device allocates.
    #[error("the payload's {what} of {size} bytes is longer than Millet reads")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its bytes.
        size: u64,
    },
    /// The caller handed over more or less than the head.
    #[error("the payload's head is {says} bytes, not {has}")]
    Length {
        /// Bytes handed over.
        has: u64,
        /// Bytes that the header speaks of.
        says: u64,
    },
    /// The manifest is no protobuf message at all.
    #[error("the payload's manifest cannot be decoded")]
    Fields(#[source] FieldError),
    /// The manifest has more in it than a device holds.
    #[error(
        "the payload's {partitions} partitions, {operations} operations and {extents} extents or more would take \
         over {MOST_PARSED} bytes of memory: make it with fewer, larger operations"
    )]
    Memory {
        /// Partitions met until then.
        partitions: u64,
        /// Their operations.
        operations: u64,
        /// The extents of those.
        extents: u64,
    },
    /// The manifest is not the protobuf message it should be.
    #[error("the payload's manifest cannot be decoded")]
    Manifest(#[source] prost::DecodeError),
    /// Images are blocks of 4096 bytes.
    #[error("the payload's block size is {0}, not 4096")]
    BlockSize(u32),
    /// A newer or an in-place payload.
    #[error("payload minor version {0} is neither 0 (full) nor 2 to 9 (delta)")]
    MinorVersion(u32),
    /// Nothing to write.
    #[error("the payload names no partition")]
    NoPartitions,
    /// Something about one partition.
    #[error("partition {name:?} of the payload is refused")]
    Partition {
        /// Its name, at most 80 characters.
        name: String,
        /// What is wrong.
        #[source]
        fault: PartitionFault,
    },
    /// Something about one operation.
    #[error("operation {index} of the payload's partition {partition:?} is refused")]
    Operation {
        /// The partition.
        partition: String,
        /// Counted from 0 within the partition.
        index: usize,
        /// What is wrong.
        #[source]
        fault: OperationFault,
    },
    /// The payload signature overlaps the blobs or leaves a gap.
    #[error("the payload's signature is said to begin at {offset}, its blobs end at {blobs_length}")]
    Signature {
        /// Bytes from the first blob.
        offset: u64,
        /// Bytes of all blobs.
        blobs_length: u64,
    },
}

/// Why a partition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionFault {
    /// A name that could reach another partition.
    #[error(transparent)]
    Name(#[from] millet_protocol::NameError),
    /// Listed before.
    #[error("it is listed twice")]
    Twice,
    /// No size or hash of the new image.
    #[error("the {0} image has no size or no SHA-256")]
    NoInfo(&'static str),
    /// Not whole blocks, or beyond [`crate::LARGEST_PARTITION`].
    #[error("the {which} image's {size} bytes are not a multiple of 4096 above zero and up to 1 TiB")]
    Size {
        /// `old` or `new`.
        which: &'static str,
        /// Its bytes.
        size: u64,
    },
    /// Two operations write one block, or an operation writes where the device does.
    #[error("block {0} is written twice")]
    WrittenTwice(u64),
    /// A block that no operation writes, nor the device by itself.
    #[error("block {0} is written by no operation")]
    NotWritten(u64),
    /// Patches that together would keep a device hashing.
    #[error(
        "its patches read {blocks} blocks of the old partition or more: {most} are the most that Millet reads"
    )]
    ReadsTooMuch {
        /// Blocks read by the patches up to the one that is too many.
        blocks: u64,
        /// Blocks that may be read.
        most: u64,
    },
    /// Verity data that the device cannot compute as it is asked to.
    #[error("the verity data that it leaves to the device is refused")]
    Verity(#[from] VerityFault),
    /// The signed manifest does not have it.
    #[error("the signed manifest does not list it")]
    NotInManifest,
    /// The signed manifest has another size or hash.
    #[error("its size or SHA-256 is not that of the signed manifest")]
    OtherThanManifest,
}

/// Why the verity data that a partition leaves to the device is refused. `what` is `hash tree` or `FEC`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerityFault {
    /// Some of its fields are missing.
    #[error("the {0} has not both an extent of data and one of its own")]
    Incomplete(&'static str),
    /// An extent without blocks, or outside the partition.
    #[error("the {what} has an extent of {count} blocks from block {start} of a partition of {blocks}")]
    OutOfRange {
        /// Which.
        what: &'static str,
        /// The extent's first block.
        start: u64,
        /// How many it has.
        count: u64,
        /// Blocks of the partition.
        blocks: u64,
    },
    /// It lies in or before what it is made from.
    #[error("the {what} begins at block {start}, before its data ends at {end}")]
    Order {
        /// Which.
        what: &'static str,
        /// Its first block.
        start: u64,
        /// The block after the last one of its data.
        end: u64,
    },
    /// Its data needs another number of blocks.
    #[error("the {what} has {has} blocks, its data needs {needs}")]
    Size {
        /// Which.
        what: &'static str,
        /// Blocks that it has.
        has: u64,
        /// Blocks that it must have.
        needs: u64,
    },
    /// The hash tree would protect the FEC, which is made after it.
    #[error("the hash tree's data overlaps the FEC")]
    ParityInTree,
    /// A hash function that this version does not know.
    #[error("the hash tree's algorithm {0:?} is neither sha256 nor sha1")]
    Algorithm(String),
    /// More than [`crate::LONGEST_SALT`] bytes.
    #[error("the hash tree's salt of {0} bytes is longer than dm-verity takes")]
    LongSalt(usize),
    /// A number that the kernel does not take.
    #[error("the FEC's {0} roots are not 2 to 24")]
    Roots(u32),
}

/// Why an operation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationFault {
    /// A known type that this version does not apply.
    #[error("its type {0} is not supported by this version")]
    Unsupported(&'static str),
    /// A type outside the public format.
    #[error("its type {0} is unknown: the payload was made for another agent or a newer one")]
    Unknown(i32),
    /// A full payload reads nothing.
    #[error("it reads the old partition, but the payload is a full one")]
    ReadsInFull,
    /// It writes nothing.
    #[error("it has no destination")]
    NoDestination,
    /// It reads nothing.
    #[error("it has no source")]
    NoSource,
    /// An extent without blocks, or whose end overflows.
    #[error("its {0} extents are malformed")]
    Extent(&'static str),
    /// A patch that would keep a device hashing.
    #[error("its patch reads {blocks} blocks of an old partition that has {most}")]
    LongSource {
        /// Blocks that its source names.
        blocks: u64,
        /// Blocks of the old partition.
        most: u64,
    },
    /// An extent outside the partition.
    #[error("its {which} extents reach block {end} of a partition of {blocks} blocks")]
    OutOfRange {
        /// `source` or `destination`.
        which: &'static str,
        /// The block after the last one.
        end: u64,
        /// Blocks of the partition.
        blocks: u64,
    },
    /// A copy of another length.
    #[error("it copies {from} blocks to {to}")]
    CopyLength {
        /// Blocks read.
        from: u64,
        /// Blocks written.
        to: u64,
    },
    /// Plain data of another length.
    #[error("its {has} bytes of data do not fill its destination of {needs}")]
    ReplaceLength {
        /// Bytes of the blob.
        has: u64,
        /// Bytes of the destination.
        needs: u64,
    },
    /// No blob, or an empty one.
    #[error("it has no data")]
    NoBlob,
    /// A blob longer than [`crate::LONGEST_BLOB`].
    #[error("its {0} bytes of data are more than a device holds in memory")]
    LongBlob(u64),
    /// A gap, or an order that cannot be streamed.
    #[error("its data begins at {has}, the data before it ends at {expected}")]
    BlobOffset {
        /// Bytes from the first blob.
        has: u64,
        /// Where it should begin.
        expected: u64,
    },
    /// Nothing to check the data against.
    #[error("it has no SHA-256 of its {0}")]
    NoHash(&'static str),
}
