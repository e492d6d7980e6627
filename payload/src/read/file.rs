use std::io;

use super::{Head, HeadError};
use crate::format::{HEADER_SIZE, metadata_size};
use crate::storage::ReadAt;

/// Why a file is not taken for a payload.
#[derive(Debug, thiserror::Error)]
pub enum ReadHeadError {
    /// The system could not read it.
    #[error("the payload could not be read")]
    Read(#[source] io::Error),
    /// It ends early.
    #[error("the payload is cut off: it should have {needs} bytes and has {has}")]
    CutOff {
        /// Bytes there.
        has: u64,
        /// Bytes that its head speaks of.
        needs: u64,
    },
    /// Its head is refused.
    #[error(transparent)]
    Head(#[from] HeadError),
}

impl Head {
    /// Reads the head of a whole payload, and returns its bytes with it. That the file ends before the last blob is an
    /// error.
    pub fn read(payload: &dyn ReadAt) -> Result<(Self, Vec<u8>), ReadHeadError> {
        let has = payload.size().map_err(ReadHeadError::Read)?;
        let enough = |needs| match needs <= has {
            true => Ok(()),
            false => Err(ReadHeadError::CutOff { has, needs }),
        };
        let mut prefix = [0; HEADER_SIZE];
        enough(HEADER_SIZE as u64)?;
        payload
            .read_exact_at(&mut prefix, 0)
            .map_err(ReadHeadError::Read)?;
        let size = metadata_size(&prefix)?;
        enough(size)?;
        // metadata_size refused what is longer than LONGEST_HEAD.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        payload
            .read_exact_at(&mut bytes, 0)
            .map_err(ReadHeadError::Read)?;
        let head = Self::parse(&bytes)?;
        enough(head.blobs_offset().saturating_add(head.blobs_length()))?;
        Ok((head, bytes))
    }
}
