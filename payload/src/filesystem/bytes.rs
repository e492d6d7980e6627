use std::cell::Cell;
use std::io;

use millet_protocol::BLOCK_SIZE;

use super::Fault;
use crate::format::Extent;
use crate::storage::ReadAt;

/// The bytes of an image, as a reader of its metadata needs them.
pub(super) struct Bytes<'a> {
    image: &'a dyn ReadAt,
    size: u64,
    /// Bytes that may still be read.
    left: Cell<u64>,
    most: u64,
}

/// Metadata that is read in any case, and at most, in bytes. An honest image's metadata is read once, so between
/// these twice the image's size is enough; a tree of 16 million inodes fits below the highest.
const LEAST_BUDGET: u64 = 64 << 20;
const MOST_BUDGET: u64 = 4 << 30;

impl<'a> Bytes<'a> {
    pub(super) fn new(image: &'a dyn ReadAt) -> io::Result<Self> {
        let size = image.size()?;
        let most = size.saturating_mul(2).clamp(LEAST_BUDGET, MOST_BUDGET);
        Ok(Self {
            image,
            size,
            left: Cell::new(most),
            most,
        })
    }

    /// The image's first bytes, or `false` if it is shorter.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<bool> {
        if self.size < buffer.len() as u64 {
            return Ok(false);
        }
        self.image.read_exact_at(buffer, 0)?;
        Ok(true)
    }

    /// Bytes of the image, with what pads it to whole blocks.
    pub(super) fn size(&self) -> u64 {
        self.size.saturating_add(BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE
    }

    /// Reads metadata. The length is checked before it is allocated.
    pub(super) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; self.admit(offset, length)?];
        self.image.read_exact_at(&mut bytes, offset).map_err(Fault::Io)?;
        Ok(bytes)
    }

    /// Reads metadata of a fixed size.
    pub(super) fn array<const SIZE: usize>(&self, offset: u64) -> Result<[u8; SIZE], Fault> {
        let mut bytes = [0; SIZE];
        self.admit(offset, SIZE as u64)?;
        self.image.read_exact_at(&mut bytes, offset).map_err(Fault::Io)?;
        Ok(bytes)
    }

    fn admit(&self, offset: u64, length: u64) -> Result<usize, Fault> {
        let outside = Fault::Outside {
            offset,
            length,
            size: self.size,
        };
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(outside);
        }
        self.spend(length)?;
        usize::try_from(length).map_err(|_| outside)
    }

    /// Counts bytes of metadata that come from elsewhere than the image, such as a decoder.
    pub(super) fn spend(&self, length: u64) -> Result<(), Fault> {
        let left = self.left.get().checked_sub(length).ok_or(Fault::TooMuch {
            what: "bytes of metadata",
            most: self.most,
        })?;
        self.left.set(left);
        Ok(())
    }
}

/// The most extents of one file: 256 MiB of memory, and far more than any allocator leaves.
const MOST_EXTENTS: usize = 1 << 24;

/// Where content lies, collected in its order as runs of bytes and kept as 4 KiB blocks.
pub(super) struct Blocks<'a> {
    image: &'a Bytes<'a>,
    extents: Vec<Extent>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(image: &'a Bytes<'a>) -> Self {
        Self {
            image,
            extents: Vec::new(),
        }
    }

    /// Adds the blocks that hold `length` bytes at `offset`.
    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        let size = self.image.size();
        let end = offset.checked_add(length).filter(|end| *end <= size);
        let end = end.ok_or(Fault::Outside { offset, length, size })?;
        if length == 0 {
            return Ok(());
        }
        let (start, end) = (offset / BLOCK_SIZE, end.div_ceil(BLOCK_SIZE));
        let count = self.extents.len();
        match self.extents.last_mut() {
            // It goes on where the last one ends, or within its last block.
            Some(last) if start == last.end() || start + 1 == last.end() => last.blocks = end - last.start,
            _ if count == MOST_EXTENTS => {
                return Err(Fault::TooMuch {
                    what: "extents of one file",
                    most: MOST_EXTENTS as u64,
                });
            }
            _ => self.extents.push(Extent {
                start,
                blocks: end - start,
            }),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<Extent> {
        self.extents
    }
}

/// A little-endian number inside a structure that was read whole; zero behind its end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    field(bytes, at).map_or(0, u16::from_le_bytes)
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    field(bytes, at).map_or(0, u32::from_le_bytes)
}

/// As [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    field(bytes, at).map_or(0, u64::from_le_bytes)
}

fn field<const SIZE: usize>(bytes: &[u8], at: usize) -> Option<[u8; SIZE]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_join_where_they_touch() {
        let image = vec![0; 10 * BLOCK_SIZE as usize - 100];
        let image = Bytes::new(&image).unwrap();
        let mut blocks = Blocks::new(&image);
        for (offset, length) in [
            (1024, 1024),
            (2048, 4096),
            (8192, 1),
            (36_864, 4096),
            (4096, 0),
            (0, 1),
        ] {
            blocks.push(offset, length).unwrap();
        }
        let found: Vec<_> = blocks
            .finish()
            .iter()
            .map(|extent| (extent.start, extent.blocks))
            .collect();
        assert_eq!(found, [(0, 3), (9, 1), (0, 1)]);
        for (offset, length) in [(36_864, 4097), (u64::MAX, 1), (u64::MAX, u64::MAX), (40_961, 0)] {
            let outside = Blocks::new(&image).push(offset, length);
            assert!(matches!(outside, Err(Fault::Outside { .. })), "{offset} {length}");
        }
    }

    #[test]
    fn reading_ends_when_the_budget_does() {
        let image = vec![7; 1000];
        let bytes = Bytes::new(&image).unwrap();
        assert_eq!(bytes.array::<2>(998).unwrap(), [7; 2]);
        assert_eq!(bytes.read(0, 998).unwrap(), [7; 998]);
        assert!(matches!(bytes.read(1, 1000), Err(Fault::Outside { .. })));
        assert!(matches!(bytes.read(u64::MAX, 2), Err(Fault::Outside { .. })));
        let whole = (0..100_000).take_while(|_| bytes.read(0, 1000).is_ok()).count();
        assert_eq!(whole as u64, LEAST_BUDGET / 1000 - 1);
        assert!(matches!(bytes.read(0, 1000), Err(Fault::TooMuch { .. })));
    }
}
