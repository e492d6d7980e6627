//! ext2, ext3 and ext4, as the kernel's documentation "ext4 Data Structures and Algorithms" defines them.

mod directory;
mod map;

use super::bytes::{Blocks, Bytes, u16_at, u32_at};
use super::tree::{Entries, Node, Tree};
use super::{Fault, SUPERBLOCK};
use directory::Names;

/// Whether these bytes, from [`SUPERBLOCK`] on, look like a superblock of ext4. The magic is short, so two more
/// fields must make sense.
pub(super) fn is_superblock(bytes: &[u8]) -> bool {
    const MAGIC: u16 = 0xEF53;
    u16_at(bytes, 0x38) == MAGIC && u32_at(bytes, 0x18) <= LARGEST_BLOCK_LOG && u32_at(bytes, 0x4C) <= 1
}

/// An ext4 image whose superblock makes sense.
pub(super) struct Ext4<'a> {
    bytes: &'a Bytes<'a>,
    /// Bytes of a block, 1 KiB to 64 KiB.
    block_size: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    /// Where the group descriptors begin, in bytes.
    descriptors: u64,
    descriptor_size: u64,
    names: Names,
}

/// s_log_block_size of 64 KiB blocks.
const LARGEST_BLOCK_LOG: u32 = 6;

// Superblock, s_feature_incompat.
const HAS_FILE_TYPE: u32 = 0x2;
const IS_64BIT: u32 = 0x80;

/// Features that change nothing that is read here: file types, extents, 64bit, MMP, flexible groups, attributes in
/// inodes, a checksum seed, large directories, inline data, encryption, case folding.
const READ_FEATURES: u32 =
    HAS_FILE_TYPE | 0x40 | IS_64BIT | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000;

const OTHER_FEATURES: [(u32, &str); 5] = [
    (0x1, "compression"),
    (
        0x4,
        "a journal that was not replayed (it was copied while mounted: e2fsck replays it)",
    ),
    (0x8, "an external journal"),
    (0x10, "meta block groups"),
    (0x1000, "data in directory entries"),
];

/// EXT4_ROOT_INO.
const ROOT: u64 = 2;

// Inode, i_mode and i_flags.
const TYPE_MASK: u16 = 0xF000;
const DIRECTORY: u16 = 0x4000;
const REGULAR: u16 = 0x8000;
const HAS_EXTENTS: u32 = 0x8_0000;
const HAS_INLINE_DATA: u32 = 0x1000_0000;

impl<'a> Ext4<'a> {
    pub(super) fn open(bytes: &'a Bytes<'a>) -> Result<Self, Fault> {
        let superblock: [u8; 1024] = bytes.array(SUPERBLOCK)?;
        let incompatible = u32_at(&superblock, 0x60);
        check_features(incompatible)?;
        let block_log = u32_at(&superblock, 0x18);
        if block_log > LARGEST_BLOCK_LOG {
            return Err(Fault::Malformed("its blocks are larger than 64 KiB"));
        }
        let block_size = 1024 << block_log;
        // Revision 0 has no fields for these two.
        let (inode_size, descriptor_size) = match u32_at(&superblock, 0x4C) {
            0 => (128, 32),
            _ if incompatible & IS_64BIT == 0 => (u16_at(&superblock, 0x58), 32),
            _ => (u16_at(&superblock, 0x58), u16_at(&superblock, 0xFE)),
        };
        if !inode_size.is_power_of_two() || inode_size < 128 || u64::from(inode_size) > block_size {
            return Err(Fault::Malformed("its inodes have an impossible size"));
        }
        if !(32..=1024).contains(&descriptor_size) {
            return Err(Fault::Malformed("its group descriptors have an impossible size"));
        }
        let inodes_per_group = u32_at(&superblock, 0x28);
        if inodes_per_group == 0 {
            return Err(Fault::Malformed("its groups have no inodes"));
        }
        let first_block = u64::from(u32_at(&superblock, 0x14));
        Ok(Self {
            bytes,
            block_size,
            inodes: u32_at(&superblock, 0),
            inodes_per_group,
            inode_size: u64::from(inode_size),
            descriptors: (first_block + 1) * block_size,
            descriptor_size: u64::from(descriptor_size),
            names: Names {
                have_type: incompatible & HAS_FILE_TYPE != 0,
            },
        })
    }

    /// Reads an inode, numbered from 1.
    fn inode(&self, number: u64) -> Result<Inode, Fault> {
        let index = number
            .checked_sub(1)
            .filter(|index| *index < u64::from(self.inodes))
            .ok_or(Fault::Malformed("there is no inode of that number"))?;
        let (group, slot) = (
            index / u64::from(self.inodes_per_group),
            index % u64::from(self.inodes_per_group),
        );
        // At most 2^32 groups of 1024 bytes behind a block number of 32 bits.
        let descriptor = self.bytes.read(
            self.descriptors + group * self.descriptor_size,
            self.descriptor_size,
        )?;
        let high = if self.descriptor_size >= 64 {
            u32_at(&descriptor, 0x28)
        } else {
            0
        };
        let table = self.byte(u64::from(high) << 32 | u64::from(u32_at(&descriptor, 0x8)))?;
        let offset = table.checked_add(slot * self.inode_size);
        let raw = self.bytes.read(offset.unwrap_or(u64::MAX), self.inode_size)?;
        Ok(Inode { raw })
    }

    /// The byte at which a block begins.
    fn byte(&self, block: u64) -> Result<u64, Fault> {
        block.checked_mul(self.block_size).ok_or(Fault::Outside {
            offset: u64::MAX,
            length: self.block_size,
            size: self.bytes.size(),
        })
    }
}

impl Tree for Ext4<'_> {
    fn root(&self) -> u64 {
        ROOT
    }

    fn node(&self, number: u64) -> Result<Node, Fault> {
        let inode = self.inode(number)?;
        match (inode.mode() & TYPE_MASK, inode.flags() & HAS_INLINE_DATA != 0) {
            (DIRECTORY, true) => Ok(Node::Directory(self.names.inline(&inode)?)),
            (DIRECTORY, false) => {
                let mut entries = Entries::default();
                for run in self.map(&inode)? {
                    for block in run.physical..run.physical + run.blocks {
                        let bytes = self.bytes.read(self.byte(block)?, self.block_size)?;
                        self.names.append(&bytes, &mut entries)?;
                    }
                }
                Ok(Node::Directory(entries))
            }
            (REGULAR, inline) => {
                let mut blocks = Blocks::new(self.bytes);
                let size = inode.size();
                // Inline content lies in the inode itself, and changes with it.
                let runs = if inline { Vec::new() } else { self.map(&inode)? };
                for run in runs {
                    // The map ends with the size, so neither overflows.
                    let length = (run.blocks * self.block_size).min(size - run.logical * self.block_size);
                    blocks.push(self.byte(run.physical)?, length)?;
                }
                Ok(Node::File {
                    size,
                    extents: blocks.finish(),
                })
            }
            _ => Ok(Node::Other),
        }
    }
}

/// An inode's bytes, at least 128.
struct Inode {
    raw: Vec<u8>,
}

impl Inode {
    fn mode(&self) -> u16 {
        u16_at(&self.raw, 0)
    }

    fn flags(&self) -> u32 {
        u32_at(&self.raw, 0x20)
    }

    fn size(&self) -> u64 {
        let low = u64::from(u32_at(&self.raw, 0x4));
        // In a directory of ext2 the upper half is something else.
        match self.mode() & TYPE_MASK {
            REGULAR => u64::from(u32_at(&self.raw, 0x6C)) << 32 | low,
            _ => low,
        }
    }

    /// The root of the map to its blocks, or its inline data: 60 bytes.
    fn block(&self) -> &[u8] {
        self.raw.get(0x28..0x64).unwrap_or_default()
    }
}

fn check_features(incompatible: u32) -> Result<(), Fault> {
    for (feature, name) in OTHER_FEATURES {
        if incompatible & feature != 0 {
            return Err(Fault::Unsupported(name));
        }
    }
    match incompatible & !READ_FEATURES {
        0 => Ok(()),
        _ => Err(Fault::Unsupported("a feature that is newer")),
    }
}
