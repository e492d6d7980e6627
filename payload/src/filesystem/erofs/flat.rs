//! Content that is not compressed: in one run, with its end beside the inode, or in chunks.

use super::{Erofs, FLAT_INLINE, Inode};
use crate::filesystem::Fault;
use crate::filesystem::bytes::{Blocks, u16_at, u32_at};

// Inode, i_u of a file in chunks.
const CHUNK_BITS: u32 = 0x1F;
const HAS_INDEXES: u32 = 0x20;
const KNOWN_CHUNK_FORMAT: u32 = 0x3F;

/// A chunk that has no content.
const HOLE: u32 = u32::MAX;

impl Erofs<'_> {
    /// The runs of bytes that hold the content of a file or directory in a flat layout. Nothing of them is checked.
    pub(super) fn flat(&self, inode: &Inode) -> Vec<(u64, u64)> {
        let start = u64::from(inode.location) << self.block_bits;
        if inode.layout != FLAT_INLINE {
            return vec![(start, inode.size)];
        }
        // The last block, whole or not, lies behind the inode.
        let in_blocks = inode.size.saturating_sub(1) >> self.block_bits << self.block_bits;
        let mut runs = vec![(start, in_blocks), (inode.end, inode.size - in_blocks)];
        runs.retain(|(_, length)| *length > 0);
        runs
    }

    /// Content in chunks that may lie anywhere, also in another device, which is left out.
    pub(super) fn chunks(&self, inode: &Inode, blocks: &mut Blocks) -> Result<(), Fault> {
        if inode.location & !KNOWN_CHUNK_FORMAT != 0 {
            return Err(Fault::Unsupported("a format of chunks that is newer"));
        }
        // At most 16 + 31.
        let chunk_bits = self.block_bits + (inode.location & CHUNK_BITS);
        let chunk_size = 1_u64 << chunk_bits;
        let indexed = inode.location & HAS_INDEXES != 0;
        let entry_size = if indexed { 8 } else { 4 };
        let start = inode.end.next_multiple_of(entry_size);
        let count = inode.size.div_ceil(chunk_size);
        // Their number is checked by reading them: they lie inside the image.
        let entries = self.bytes.read(start, count.saturating_mul(entry_size))?;
        let mut left = inode.size;
        for entry in entries.chunks_exact(entry_size as usize) {
            let length = left.min(chunk_size);
            left -= length;
            let (device, block) = if indexed {
                (u16_at(entry, 2), u32_at(entry, 4))
            } else {
                (0, u32_at(entry, 0))
            };
            if device == 0 && block != HOLE {
                blocks.push(u64::from(block) << self.block_bits, length)?;
            }
        }
        Ok(())
    }
}
