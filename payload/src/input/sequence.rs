use std::io::{self, Read};

use crate::storage::{ReadAt, step};

/// A part of random-access bytes, read in its order.
pub struct Sequence<'a> {
    bytes: &'a dyn ReadAt,
    at: u64,
    left: u64,
}

impl<'a> Sequence<'a> {
    /// `length` bytes from `start` on; their end does not overflow.
    pub fn new(bytes: &'a dyn ReadAt, start: u64, length: u64) -> Self {
        Self {
            bytes,
            at: start,
            left: length,
        }
    }
}

impl Read for Sequence<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = step(self.left, buffer.len());
        self.bytes.read_exact_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
