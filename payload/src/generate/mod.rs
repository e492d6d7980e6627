//! Makes payloads from images.

mod alike;
mod archives;
mod copies;
mod diff;
mod encode;
mod encoder;
mod error;
mod ordered;
mod pair;
mod payload;
mod plan;
mod puff;
mod scan;
mod similar;
mod suffixes;

use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;

use millet_protocol::PartitionName;

use crate::filesystem::FilesystemError;
use crate::format::Operation;

pub use error::GenerateError;
pub use payload::{write_delta, write_full};

/// How a payload is made. The same images and options give the same bytes, whatever `threads` says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Operations that are encoded at the same time.
    pub threads: usize,
    /// Bytes of memory to stay below, at least 256 MiB for each thread. Large old images are remembered more coarsely,
    /// and large archives patched as bytes, where it would not do.
    pub memory: u64,
    /// Preset of the xz encoder, 0 to 9.
    pub xz_level: u32,
    /// Send changed blocks by operations of one type only, for tests of those who apply them. What no such operation
    /// can make is replaced.
    pub only: Option<OnlyOperation>,
    /// A directory on a disk with room for the payload, for unnamed files that vanish with the process.
    pub scratch: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
            memory: 2 << 30,
            xz_level: 6,
            only: None,
            scratch: std::env::temp_dir(),
        }
    }
}

impl Options {
    /// Windows of old images to remember: eight bytes each in a sixteenth of the memory, or in a quarter if images are
    /// full of them.
    fn samples(&self) -> u64 {
        self.memory / 16 / 8
    }

    /// The largest file that is patched by its deflate. Both versions are in memory, and a puffed piece of them.
    fn largest_archive(&self) -> u64 {
        (self.memory / 4).min(archives::LARGEST_FILE)
    }

    /// How many files of up to `largest` bytes are patched by their deflate at the same time. Memory takes threads away
    /// here, not files: which ones are patched must not depend on threads.
    fn archives_at_once(&self, largest: u64) -> usize {
        let fit = self.memory / 4 / largest.max(1);
        usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .clamp(1, self.threads.max(1))
    }
}

/// An operation type that [`Options::only`] forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnlyOperation {
    /// REPLACE.
    Replace,
    /// REPLACE_BZ.
    ReplaceBz,
    /// REPLACE_XZ.
    ReplaceXz,
    /// SOURCE_BSDIFF.
    SourceBsdiff,
    /// BROTLI_BSDIFF.
    BrotliBsdiff,
    /// PUFFDIFF for archives, BROTLI_BSDIFF for everything else.
    Puffdiff,
}

impl OnlyOperation {
    fn replaces(self) -> bool {
        matches!(self, Self::Replace | Self::ReplaceBz | Self::ReplaceXz)
    }
}

/// Follows the making of a payload.
pub trait Progress: Send + Sync {
    /// `done` of `total` units of a stage's work are done; bytes, weighted by what they cost. Stages come one after
    /// another, each over all partitions, and a stage without work is left out. Several threads may call at once, and
    /// late.
    fn advance(&self, stage: Stage, done: u64, total: u64);

    /// Something that makes the payload larger than it might be.
    fn warn(&self, _warning: &Warning) {}
}

/// For those who do not want to know.
impl Progress for () {
    fn advance(&self, _: Stage, _: u64, _: u64) {}
}

/// What made a payload larger than it might be.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// The files in an image are not known, so it is matched as a whole.
    #[error("the files of {partition} are unknown, so its blocks are matched without them")]
    Filesystem {
        /// The partition.
        partition: PartitionName,
        /// What is wrong with its filesystem.
        #[source]
        error: FilesystemError,
    },
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Images are read and hashed.
    Read,
    /// Files that hold deflate are patched by its tokens.
    Archives,
    /// Operations are diffed and compressed.
    Encode,
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Read => "reading",
            Self::Archives => "archives",
            Self::Encode => "encoding",
        })
    }
}

/// An operation and its blob, whose offset the writer will know.
#[derive(Debug, Clone)]
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

    fn costs(all: &[Self]) -> usize {
        all.iter().map(Self::cost).sum()
    }
}
