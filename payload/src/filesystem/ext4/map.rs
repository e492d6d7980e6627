//! Which blocks an inode's content is in: extent trees, and the block maps of ext2 and ext3.

use super::{Ext4, HAS_EXTENTS, Inode};
use crate::filesystem::Fault;
use crate::filesystem::bytes::{u16_at, u32_at};

/// Blocks of the filesystem that follow each other in the content and in the image.
pub(super) struct Run {
    /// The first one's place in the content; inside the inode's size.
    pub(super) logical: u64,
    /// Its place in the filesystem. The end of the run does not overflow.
    pub(super) physical: u64,
    /// How many, at least one. The last one may end behind the inode's size.
    pub(super) blocks: u64,
}

// Extent trees.
const MAGIC: u16 = 0xF30A;
const NODE_ENTRY: usize = 12;
/// EXT4_MAX_EXTENT_DEPTH of the kernel.
const DEEPEST: u16 = 5;
/// A longer extent is one of this many blocks less that were reserved and never written.
const LONGEST_WRITTEN: u64 = 32768;

/// Pointers in the inode of a block map: twelve to data, then one each to one, two and three levels of pointers.
const POINTERS: usize = 15;
const DIRECT_POINTERS: usize = 12;

/// The most runs of one inode: 384 MiB of memory.
const MOST_RUNS: usize = 1 << 24;

impl Ext4<'_> {
    /// The written blocks of an inode up to its size, in the order of the content.
    pub(super) fn map(&self, inode: &Inode) -> Result<Vec<Run>, Fault> {
        let mut map = Map {
            image: self,
            end: inode.size().div_ceil(self.block_size),
            next: 0,
            runs: Vec::new(),
        };
        if inode.flags() & HAS_EXTENTS != 0 {
            map.extents(inode.block(), None)?;
        } else {
            map.pointers(inode.block())?;
        }
        Ok(map.runs)
    }
}

struct Map<'a> {
    image: &'a Ext4<'a>,
    /// Blocks that the inode's size reaches. What lies behind (reserved blocks, a Merkle tree) is not content.
    end: u64,
    /// The content's block after those that are mapped.
    next: u64,
    runs: Vec<Run>,
}

impl Map<'_> {
    /// Reads a node of the extent tree; `depth` is what its parent says, the root has none.
    fn extents(&mut self, node: &[u8], depth: Option<u16>) -> Result<(), Fault> {
        let (entries, has) = (u16_at(node, 2), u16_at(node, 6));
        if u16_at(node, 0) != MAGIC || has > DEEPEST || depth.is_some_and(|depth| depth != has) {
            return Err(Fault::Malformed("its extent tree is broken"));
        }
        let entries = node.chunks_exact(NODE_ENTRY).skip(1).take(usize::from(entries));
        for entry in entries {
            let logical = u64::from(u32_at(entry, 0));
            if let Some(below) = has.checked_sub(1) {
                let block = u64::from(u16_at(entry, 8)) << 32 | u64::from(u32_at(entry, 4));
                if logical < self.next {
                    return Err(Fault::Malformed("its extent tree is not in order"));
                }
                let offset = self.image.byte(block)?;
                let child = self.image.bytes.read(offset, self.image.block_size)?;
                self.extents(&child, Some(below))?;
                continue;
            }
            let length = u64::from(u16_at(entry, 4));
            let physical = u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8));
            if logical < self.next {
                return Err(Fault::Malformed("its extents overlap or are not in order"));
            }
            if length > LONGEST_WRITTEN {
                self.next = logical + (length - LONGEST_WRITTEN);
            } else {
                self.run(logical, physical, length)?;
            }
        }
        Ok(())
    }

    fn pointers(&mut self, block: &[u8]) -> Result<(), Fault> {
        for (index, pointer) in block.chunks_exact(4).take(POINTERS).enumerate() {
            let levels = (index + 1).saturating_sub(DIRECT_POINTERS);
            self.pointer(u32_at(pointer, 0), levels)?;
        }
        Ok(())
    }

    fn pointer(&mut self, to: u32, levels: usize) -> Result<(), Fault> {
        if self.next >= self.end {
            return Ok(());
        }
        // At most 16384 pointers in a block: three levels of them are 2^42 blocks.
        let per_block = self.image.block_size / 4;
        match (to, levels) {
            (0, 0) => self.next += 1,
            (0, levels) => self.next += (0..levels).fold(1, |blocks, _| blocks * per_block),
            (to, 0) => self.run(self.next, u64::from(to), 1)?,
            (to, levels) => {
                let block = self
                    .image
                    .bytes
                    .read(self.image.byte(u64::from(to))?, self.image.block_size)?;
                for pointer in block.chunks_exact(4) {
                    self.pointer(u32_at(pointer, 0), levels - 1)?;
                }
            }
        }
        Ok(())
    }

    /// Numbers of 32 bits for the content and 48 for the image, so their sums do not overflow.
    fn run(&mut self, logical: u64, physical: u64, length: u64) -> Result<(), Fault> {
        self.next = logical + length;
        let blocks = length.min(self.end.saturating_sub(logical));
        if blocks == 0 {
            return Ok(());
        }
        let count = self.runs.len();
        match self.runs.last_mut() {
            Some(last)
                if last.logical + last.blocks == logical && last.physical + last.blocks == physical =>
            {
                last.blocks += blocks;
            }
            _ if count == MOST_RUNS => {
                return Err(Fault::TooMuch {
                    what: "extents of one file",
                    most: MOST_RUNS as u64,
                });
            }
            _ => self.runs.push(Run {
                logical,
                physical,
                blocks,
            }),
        }
        Ok(())
    }
}
