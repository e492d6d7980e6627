//! Makes payloads from images.

mod copies;
mod delta;
mod diff;
mod encode;
mod error;
mod full;
mod ordered;
mod plan;
#[allow(dead_code, unused_imports, reason = "the plan does not pair files yet")]
mod puff;
mod scan;
mod similar;
mod suffixes;

use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;

use crate::format::Operation;

pub use delta::write_delta;
pub use error::GenerateError;
pub use full::write_full;

/// How a payload is made. The same images and options give the same bytes, whatever `threads` says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Operations that are encoded at the same time.
    pub threads: usize,
    /// Preset of the xz encoder, 0 to 9.
    pub xz_level: u32,
    /// A directory on a disk with room for the payload, for unnamed files that vanish with the process.
    pub scratch: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
            xz_level: 6,
            scratch: std::env::temp_dir(),
        }
    }
}

/// Follows the making of a payload.
pub trait Progress: Send + Sync {
    /// `done` of `total` bytes of image have passed a stage. Stages come one after another for each partition.
    fn advance(&self, stage: Stage, done: u64, total: u64);
}

/// For those who do not want to know.
impl Progress for () {
    fn advance(&self, _: Stage, _: u64, _: u64) {}
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Images are read and hashed.
    Read,
    /// New blocks are looked for in the old image.
    Match,
    /// Operations are diffed and compressed.
    Encode,
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Read => "reading",
            Self::Match => "matching",
            Self::Encode => "encoding",
        })
    }
}

/// An operation and its blob, whose offset the writer will know.
struct Encoded {
    operation: Operation,
    data: Vec<u8>,
}

impl Encoded {
    /// Bytes in the payload: the blob, and about what the manifest needs to say.
    fn cost(&self) -> usize {
        const IN_MANIFEST: usize = 60;
        self.data.len() + IN_MANIFEST
    }
}
