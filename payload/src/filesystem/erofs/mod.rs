//! EROFS, as Linux's fs/erofs/erofs_fs.h defines it.

mod compressed;
mod flat;
mod indexes;

use std::cell::OnceCell;

use super::bytes::{Blocks, Bytes, u16_at, u32_at, u64_at};
use super::tree::{Entries, Node, Tree};
use super::{Fault, SUPERBLOCK};
use compressed::Cluster;

/// Whether these bytes, from [`SUPERBLOCK`] on, begin a superblock of EROFS.
pub(super) fn is_superblock(bytes: &[u8]) -> bool {
    const MAGIC: u32 = 0xE0F5_E1E2;
    u32_at(bytes, 0) == MAGIC
}

/// An EROFS image whose superblock makes sense.
pub(super) struct Erofs<'a> {
    bytes: &'a Bytes<'a>,
    /// Base-2 logarithm of a block's bytes, 9 to 16.
    block_bits: u32,
    /// Where inodes are counted from, in bytes.
    metadata: u64,
    root: u64,
    /// The inode whose content is the ends of other files.
    packed: Option<u64>,
    /// What the packed inode is made of, once a file needed it.
    packed_clusters: OnceCell<Vec<Cluster>>,
}

// Superblock, feature_incompat.
const HAS_FRAGMENTS: u32 = 0x20;

/// Features that change nothing that is read here, or are read: zero padding, big physical clusters, chunks, a table
/// of devices, inline compressed ends, fragments and deduplication, prefixes of attributes.
const READ_FEATURES: u32 = 0x7F;

const OTHER_FEATURES: [(u32, &str); 2] = [
    (0x80, "48-bit addresses"),
    (0x100, "a separate inode of metadata"),
];

/// Bytes by which inodes are numbered.
const SLOT: u64 = 32;

// Inode, i_format and i_mode.
const FLAT: u16 = 0;
const COMPRESSED_FULL: u16 = 1;
const FLAT_INLINE: u16 = 2;
const COMPRESSED_COMPACT: u16 = 3;
const CHUNKS: u16 = 4;
const TYPE_MASK: u16 = 0xF000;
const DIRECTORY: u16 = 0x4000;
const REGULAR: u16 = 0x8000;

impl<'a> Erofs<'a> {
    pub(super) fn open(bytes: &'a Bytes<'a>) -> Result<Self, Fault> {
        let superblock: [u8; 128] = bytes.array(SUPERBLOCK)?;
        let incompatible = u32_at(&superblock, 80);
        for (feature, name) in OTHER_FEATURES {
            if incompatible & feature != 0 {
                return Err(Fault::Unsupported(name));
            }
        }
        if incompatible & !READ_FEATURES != 0 {
            return Err(Fault::Unsupported("a feature that is newer"));
        }
        let block_bits = u32::from(superblock[12]);
        if !(9..=16).contains(&block_bits) {
            return Err(Fault::Malformed(
                "its blocks are smaller than 512 bytes or larger than 64 KiB",
            ));
        }
        if superblock[89] != 0 {
            return Err(Fault::Unsupported("directory blocks of another size"));
        }
        let packed = u64_at(&superblock, 96);
        Ok(Self {
            bytes,
            block_bits,
            metadata: u64::from(u32_at(&superblock, 40)) << block_bits,
            root: u64::from(u16_at(&superblock, 14)),
            packed: (incompatible & HAS_FRAGMENTS != 0 && packed != 0).then_some(packed),
            packed_clusters: OnceCell::new(),
        })
    }

    fn inode(&self, number: u64) -> Result<Inode, Fault> {
        let offset = number
            .checked_mul(SLOT)
            .and_then(|offset| offset.checked_add(self.metadata))
            .unwrap_or(u64::MAX);
        let compact: [u8; 32] = self.bytes.array(offset)?;
        let format = u16_at(&compact, 0);
        let extended = format & 1 != 0;
        let size = match extended {
            true => u64_at(&compact, 8),
            false => u64::from(u32_at(&compact, 8)),
        };
        // A header of 12 bytes, in which the first attribute's 4 are counted.
        let attributes = match u64::from(u16_at(&compact, 2)) {
            0 => 0,
            count => 12 + 4 * (count - 1),
        };
        Ok(Inode {
            layout: format >> 1 & 7,
            mode: u16_at(&compact, 4),
            size,
            location: u32_at(&compact, 16),
            // The inode lies inside the image, so this does not overflow.
            end: offset + if extended { 64 } else { 32 } + attributes,
        })
    }

    fn block_size(&self) -> u64 {
        1 << self.block_bits
    }

    fn file(&self, inode: &Inode) -> Result<Node, Fault> {
        let mut blocks = Blocks::new(self.bytes);
        match inode.layout {
            FLAT | FLAT_INLINE => {
                for (offset, length) in self.flat(inode) {
                    blocks.push(offset, length)?;
                }
            }
            CHUNKS => self.chunks(inode, &mut blocks)?,
            COMPRESSED_FULL | COMPRESSED_COMPACT => self.compressed(inode, &mut blocks)?,
            _ => return Err(Fault::Unsupported("a layout of files that is newer")),
        }
        Ok(Node::File {
            size: inode.size,
            extents: blocks.finish(),
        })
    }

    fn directory(&self, inode: &Inode) -> Result<Entries, Fault> {
        if !matches!(inode.layout, FLAT | FLAT_INLINE) {
            return Err(Fault::Unsupported("compressed directories"));
        }
        let mut entries = Entries::default();
        for (mut offset, length) in self.flat(inode) {
            let mut left = length;
            while left > 0 {
                let block = self.bytes.read(offset, left.min(self.block_size()))?;
                append_names(&block, &mut entries)?;
                offset += block.len() as u64;
                left -= block.len() as u64;
            }
        }
        Ok(entries)
    }
}

impl Tree for Erofs<'_> {
    fn root(&self) -> u64 {
        self.root
    }

    fn node(&self, number: u64) -> Result<Node, Fault> {
        let inode = self.inode(number)?;
        match inode.mode & TYPE_MASK {
            DIRECTORY => Ok(Node::Directory(self.directory(&inode)?)),
            REGULAR => self.file(&inode),
            _ => Ok(Node::Other),
        }
    }
}

struct Inode {
    layout: u16,
    mode: u16,
    /// Bytes of the content. Nothing has been allocated for it.
    size: u64,
    /// i_u: what it means depends on the layout.
    location: u32,
    /// The byte after the inode and its attributes, at most 256 KiB behind the image's end.
    end: u64,
}

/// Inode, where the name begins, file type: 12 bytes. The names follow all of them, each up to the next one.
fn append_names(block: &[u8], entries: &mut Entries) -> Result<(), Fault> {
    const HEADER: usize = 12;
    let broken = || Fault::Malformed("the names of the directory are broken");
    let start_at = |index: usize| usize::from(u16_at(block, index * HEADER + 8));
    let names = start_at(0);
    if names < HEADER || !names.is_multiple_of(HEADER) || names > block.len() {
        return Err(broken());
    }
    let count = names / HEADER;
    for index in 0..count {
        let end = if index + 1 < count {
            start_at(index + 1)
        } else {
            block.len()
        };
        let name = block.get(start_at(index)..end).ok_or_else(broken)?;
        // The last name ends with the block or with a zero.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        entries.push(name, u64_at(block, index * HEADER))?;
    }
    Ok(())
}
