use std::io;

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::Fault;
use super::patch::{NewBytes, OldBytes};
use crate::format::{Extent, size_of};
use crate::storage::{COPY_BUFFER, ReadAt, Target, step};

/// Extents of the old partition, read as one run of bytes.
pub(super) struct ExtentReader<'a> {
    source: &'a dyn ReadAt,
    /// Where each extent begins in the run, and where in the partition.
    extents: Vec<(u64, u64)>,
    size: u64,
    /// The bytes last read and where they begin in the run: a patch takes a few bytes at a time.
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> ExtentReader<'a> {
    pub(super) fn new(source: Option<&'a dyn ReadAt>, extents: &[Extent]) -> Result<Self, Fault> {
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
            extents: starts,
            size,
            window: Vec::new(),
            window_start: 0,
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
        let inside = position
            .checked_sub(self.window_start)
            .and_then(|offset| usize::try_from(offset).ok())
            .filter(|offset| *offset < self.window.len());
        let offset = match inside {
            Some(offset) => offset,
            None => {
                let mut window = std::mem::take(&mut self.window);
                window.resize(COPY_BUFFER, 0);
                let read = self.read_some(position, &mut window)?;
                window.truncate(read);
                self.window = window;
                self.window_start = position;
                0
            }
        };
        let available = &self.window[offset..];
        Ok(&available[..available.len().min(longest)])
    }
}

/// Extents of the new partition, written as one run of bytes.
pub(super) struct ExtentWriter<'a> {
    target: &'a mut dyn Target,
    extents: &'a [Extent],
    /// Bytes of the first extent that are written.
    done: u64,
    left: u64,
    buffer: Vec<u8>,
}

impl<'a> ExtentWriter<'a> {
    pub(super) fn new(target: &'a mut dyn Target, extents: &'a [Extent]) -> Self {
        Self {
            target,
            extents,
            done: 0,
            left: size_of(extents),
            buffer: Vec::with_capacity(COPY_BUFFER),
        }
    }

    /// Writes what is buffered. Everything must have been handed over.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let mut data = self.buffer.as_slice();
        while let ([extent, rest @ ..], false) = (self.extents, data.is_empty()) {
            let room = extent.blocks * BLOCK_SIZE - self.done;
            let (now, later) = data.split_at(step(room, data.len()));
            let offset = extent.start * BLOCK_SIZE + self.done;
            self.target.write_all_at(now, offset).map_err(Fault::Storage)?;
            self.done += now.len() as u64;
            data = later;
            if self.done == extent.blocks * BLOCK_SIZE {
                self.extents = rest;
                self.done = 0;
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

impl NewBytes for ExtentWriter<'_> {
    fn left(&self) -> u64 {
        self.left
    }

    /// More than fits is the caller's mistake and ends as a storage error.
    fn write(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        if data.len() as u64 > self.left {
            return Err(Fault::Storage(io::ErrorKind::WriteZero.into()));
        }
        self.left -= data.len() as u64;
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(COPY_BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            data = later;
            if self.buffer.len() == COPY_BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }
}
