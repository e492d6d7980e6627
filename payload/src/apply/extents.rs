use std::io;

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::patch::OldBytes;
use super::{Fault, Halt};
use crate::format::Extent;
use crate::storage::{COPY_BUFFER, ReadAt, step};

/// Bytes read at a place that a patch has jumped to.
const SHORT_WINDOW: usize = 8 * 1024;

/// Extents of the old partition, read as one run of bytes.
pub(super) struct ExtentReader<'a> {
    source: &'a dyn ReadAt,
    halt: &'a Halt,
    /// Where each extent begins in the run, and where in the partition.
    extents: Vec<(u64, u64)>,
    size: u64,
    /// The bytes last read: a patch takes a few at a time.
    buffer: Vec<u8>,
    /// Where in the run those begin, and how many they are.
    window: (u64, usize),
}

impl<'a> ExtentReader<'a> {
    pub(super) fn new(
        source: Option<&'a dyn ReadAt>,
        extents: &[Extent],
        halt: &'a Halt,
    ) -> Result<Self, Fault> {
        // A partition with reading operations has been opened with its source.
        let source = source.ok_or_else(|| Fault::Source(io::ErrorKind::NotFound.into()))?;
        let mut size = 0;
        let mut starts = Vec::with_capacity(extents.len());
        for extent in extents {
            starts.push((size, extent.start * BLOCK_SIZE));
            size += extent.blocks * BLOCK_SIZE;
        }
        Ok(Self {
            source,
            halt,
            extents: starts,
            size,
            buffer: Vec::new(),
            window: (0, 0),
        })
    }

    /// Hands all bytes over in pieces, in order, and returns their SHA-256.
    pub(super) fn stream(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<Sha256Digest, Fault> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; COPY_BUFFER];
        let mut done = 0;
        while done < self.size {
            self.halt.check()?;
            let read = self.read_some(done, &mut buffer)?;
            hasher.update(&buffer[..read]);
            each(&buffer[..read])?;
            done += read as u64;
        }
        Ok(Sha256Digest(hasher.finalize().into()))
    }

    fn read_some(&self, position: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let index = self
            .extents
            .partition_point(|(start, _)| *start <= position)
            .saturating_sub(1);
        let end = self.extents.get(index + 1).map_or(self.size, |(start, _)| *start);
        let Some((start, from)) = self.extents.get(index).filter(|_| position < end) else {
            return Err(Fault::Source(io::ErrorKind::UnexpectedEof.into()));
        };
        let length = step(end - position, buffer.len());
        self.source
            .read_exact_at(&mut buffer[..length], from + (position - start))
            .map_err(Fault::Source)?;
        Ok(length)
    }
}

impl OldBytes for ExtentReader<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn at(&mut self, position: u64, longest: usize) -> Result<&[u8], Fault> {
        self.halt.check()?;
        let (start, mut length) = self.window;
        let inside = position
            .checked_sub(start)
            .and_then(|offset| usize::try_from(offset).ok())
            .filter(|offset| *offset < length);
        let offset = match inside {
            Some(offset) => offset,
            None => {
                // A patch that jumps would throw most of a long window away; one that goes on will take all of it.
                let goes_on = position == start + length as u64;
                let want = if goes_on {
                    COPY_BUFFER
                } else {
                    longest.clamp(SHORT_WINDOW, COPY_BUFFER)
                };
                let mut buffer = std::mem::take(&mut self.buffer);
                buffer.resize(COPY_BUFFER, 0);
                let read = self.read_some(position, &mut buffer[..want]);
                self.buffer = buffer;
                length = read?;
                self.window = (position, length);
                0
            }
        };
        let available = &self.buffer[offset..length];
        Ok(&available[..available.len().min(longest)])
    }
}
