//! The Android A/B payload, major version 2, as AOSP's `update_metadata.proto` and `payload_consumer` define it.

pub(crate) mod bsdiff;
pub(crate) mod header;
pub(crate) mod manifest;
mod operation;
pub(crate) mod verity;
pub(crate) mod wire;

pub use bsdiff::PatchBytes;
pub use header::{HEADER_SIZE, metadata_size};
pub(crate) use operation::size_of;
pub use operation::{Action, Blob, Coder, Extent, Info, Operation, PatchKind, Source};
pub use verity::{Fec, HashAlgorithm, HashTree, LONGEST_SALT, Verity};

/// The longest head (header and manifest) that is read or written, in bytes. A manifest takes about 100 bytes per
/// operation; what it takes once parsed is bounded by [`MOST_PARSED`].
pub const LONGEST_HEAD: u64 = 8 << 20;

/// Bytes of memory that a head may take while it is parsed, besides its own; counted before anything is allocated. With
/// the head itself that is eight times [`LONGEST_HEAD`]. A head of 8 MiB of replacements takes half of it, one of nothing
/// but extents a little more.
pub const MOST_PARSED: u64 = 7 * LONGEST_HEAD;

/// The longest blob of one operation, in bytes: a device holds it in memory to hash it before a decoder sees it.
pub const LONGEST_BLOB: u64 = 8 << 20;

/// The largest partition, in bytes: sums over a head's extents then stay inside a u64.
pub const LARGEST_PARTITION: u64 = 1 << 40;

/// The longest metadata signature that a reader skips, in bytes.
pub const LONGEST_SIGNATURE: u64 = 1 << 20;

/// The largest LZMA2 dictionary and its decoder that a device allocates, in KiB.
pub const XZ_MEMORY_KIB: u32 = 9 << 10;

/// The largest window of a Zstandard frame that a device allocates, in bytes: what `zstd -19` asks for. Its decoder
/// takes half as much again while the window grows.
pub const ZSTD_WINDOW: u64 = 8 << 20;

/// Base-2 logarithm of the brotli window of every patch stream that is written. 20 would make patches 0.1 to 0.3 % shorter
/// and take a device half a megabyte more for each stream.
pub const BROTLI_WINDOW_BITS: u32 = 19;
