//! Images to Android A/B payloads (`CrAU`, major version 2) and back.
//!
//! An image travels through [`write_full`] or [`write_delta`] into a payload; a device reads the payload's head with
//! [`Head::parse`] and makes its partitions with [`apply`]. `format` says what the bytes mean, `generate` decides
//! which operations make an image smallest, `read` checks, `apply` executes: a new strategy touches only `generate`,
//! a new operation one module of `format`, `read` and `apply` each.
//!
//! A device needs what reads and applies; what makes payloads, with its encoders, is the feature `generate`.

mod apply;
#[cfg(feature = "generate")]
pub mod filesystem;
mod format;
#[cfg(feature = "generate")]
mod generate;
#[cfg(feature = "generate")]
pub mod input;
#[cfg(feature = "generate")]
mod package;
mod puff;
mod read;
mod storage;
#[cfg(feature = "generate")]
mod verify;
#[cfg(feature = "generate")]
mod write;

pub use apply::{
    ApplyError, CHECKPOINT_BYTES, Checkpoint, DecodeError, Observer, apply, check_sources, clear_footer,
};
pub use format::{
    Action, BROTLI_WINDOW_BITS, Blob, Coder, Extent, Fec, HEADER_SIZE as PREFIX, HashAlgorithm, HashTree,
    Info, LARGEST_PARTITION, LONGEST_BLOB, LONGEST_HEAD, LONGEST_SALT, LONGEST_SIGNATURE, MOST_PARSED,
    Operation, PatchBytes, PatchKind, Source, Verity, XZ_MEMORY_KIB, ZSTD_WINDOW, metadata_size,
};
#[cfg(feature = "generate")]
pub use generate::{
    GenerateError, OnlyOperation, Options, Progress, Stage, Warning, write_delta, write_full,
};
#[cfg(feature = "generate")]
pub use package::{
    Description, DynamicError, DynamicPartitions, FieldError, PackageError, PackageSummary, PayloadKey,
    PayloadProperties, PhoneBuild, SignError, SignatureKind, write_package,
};
pub use puff::{DeflateError, LONGEST_PUFF, LayoutError, PuffError};
pub use read::{Head, HeadError, OperationFault, Partition, PartitionFault, ReadHeadError, VerityFault};
pub use storage::{Image, ReadAt, Slots, Target, hash};
#[cfg(feature = "generate")]
pub use verify::{Made, VerifyError, make_images, verify};
#[cfg(feature = "generate")]
pub use write::Summary;
