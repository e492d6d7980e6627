//! squashfs 4.0, as Linux's fs/squashfs/squashfs_fs.h defines it.

mod metadata;

use super::Fault;
use super::bytes::{Blocks, Bytes, u16_at, u32_at, u64_at};
use super::tree::{Entries, Node, Tree};
use metadata::{Compressor, Metadata};

/// Whether an image that begins with these bytes is a squashfs.
pub(super) fn is_superblock(bytes: &[u8]) -> bool {
    const MAGIC: &[u8; 4] = b"hsqs";
    bytes.starts_with(MAGIC)
}

/// A squashfs image whose superblock makes sense.
pub(super) struct Squashfs<'a> {
    bytes: &'a Bytes<'a>,
    metadata: Metadata<'a>,
    /// Bytes of content in a data block, 4 KiB to 1 MiB.
    block_size: u64,
    root: u64,
    inodes: u64,
    directories: u64,
    fragments: u64,
    fragment_count: u32,
}

// Types of inodes. A directory names a file by its basic type.
const DIRECTORY: u16 = 1;
const FILE: u16 = 2;
const LONG_DIRECTORY: u16 = 8;
const LONG_FILE: u16 = 9;

/// Bytes of an inode before what depends on its type.
const INODE_HEADER: usize = 16;

/// In the place of a fragment's number: the file has none.
const NO_FRAGMENT: u32 = u32::MAX;

/// In the length of a data block: it is not compressed.
const UNCOMPRESSED: u32 = 1 << 24;

impl<'a> Squashfs<'a> {
    pub(super) fn open(bytes: &'a Bytes<'a>) -> Result<Self, Fault> {
        let superblock: [u8; 96] = bytes.array(0)?;
        if (u16_at(&superblock, 28), u16_at(&superblock, 30)) != (4, 0) {
            return Err(Fault::Unsupported("another version than 4.0"));
        }
        let block_size = u32_at(&superblock, 12);
        if !block_size.is_power_of_two() || !(4096..=1 << 20).contains(&block_size) {
            return Err(Fault::Malformed("its data blocks have an impossible size"));
        }
        let compressor = match u16_at(&superblock, 20) {
            1 => Compressor::Zlib,
            2 => return Err(Fault::Unsupported("LZMA")),
            3 => return Err(Fault::Unsupported("LZO")),
            4 => Compressor::Xz,
            5 => return Err(Fault::Unsupported("LZ4")),
            6 => return Err(Fault::Unsupported("Zstandard")),
            _ => return Err(Fault::Malformed("its compressor is unknown")),
        };
        Ok(Self {
            bytes,
            metadata: Metadata::new(bytes, compressor),
            block_size: u64::from(block_size),
            root: u64_at(&superblock, 32),
            inodes: u64_at(&superblock, 64),
            directories: u64_at(&superblock, 72),
            fragments: u64_at(&superblock, 80),
            fragment_count: u32_at(&superblock, 16),
        })
    }

    /// The names in a listing of `length` bytes: a header for each run of inodes in one block of metadata, then
    /// entries.
    fn directory(&self, block: u32, offset: u16, length: u32) -> Result<Entries, Fault> {
        let mut entries = Entries::default();
        // The length counts three bytes for "." and "..", which are not there.
        let mut left = length.saturating_sub(3);
        if left == 0 {
            return Ok(entries);
        }
        let mut take = |bytes: u32| {
            left = left
                .checked_sub(bytes)
                .ok_or(Fault::Malformed("the directory's names are cut off"))?;
            Ok(left)
        };
        let mut listing = self.metadata.at(self.directories, u64::from(block), offset)?;
        loop {
            take(12)?;
            let header: [u8; 12] = listing.array()?;
            let (count, start) = (u32_at(&header, 0), u64::from(u32_at(&header, 4)));
            // The count is one less than the entries.
            for _ in 0..=count {
                take(8)?;
                let entry: [u8; 8] = listing.array()?;
                let name_length = u32::from(u16_at(&entry, 6)) + 1;
                let left = take(name_length)?;
                let name = listing.read(name_length as usize)?;
                if matches!(u16_at(&entry, 4), DIRECTORY | FILE) {
                    entries.push(&name, start << 16 | u64::from(u16_at(&entry, 0)))?;
                }
                if left == 0 {
                    return Ok(entries);
                }
            }
        }
    }

    /// Adds the blocks of a file, whose lengths follow its inode.
    fn file(&self, file: &File, lengths: &mut metadata::Cursor, blocks: &mut Blocks) -> Result<(), Fault> {
        let has_fragment = file.fragment != NO_FRAGMENT;
        let count = match has_fragment {
            true => file.size / self.block_size,
            false => file.size.div_ceil(self.block_size),
        };
        let mut at = file.start;
        // A lie about the size ends where the metadata does.
        for _ in 0..count {
            let length = u64::from(u32::from_le_bytes(lengths.array()?) & !UNCOMPRESSED);
            blocks.push(at, length)?;
            // The push has found both inside the image.
            at += length;
        }
        if has_fragment && !file.size.is_multiple_of(self.block_size) {
            self.fragment(file, blocks)?;
        }
        Ok(())
    }

    /// Adds the block that holds the end of a file together with those of others.
    fn fragment(&self, file: &File, blocks: &mut Blocks) -> Result<(), Fault> {
        const ENTRY: u32 = 16;
        const ENTRIES_IN_BLOCK: u32 = 8192 / ENTRY;
        if file.fragment >= self.fragment_count {
            return Err(Fault::Malformed("there is no fragment of that number"));
        }
        let pointer = self
            .fragments
            .saturating_add(u64::from(file.fragment / ENTRIES_IN_BLOCK) * 8);
        let table = u64::from_le_bytes(self.bytes.array(pointer)?);
        let offset = (file.fragment % ENTRIES_IN_BLOCK * ENTRY) as u16;
        let entry: [u8; ENTRY as usize] = self.metadata.at(table, 0, offset)?.array()?;
        let (start, length) = (u64_at(&entry, 0), u32_at(&entry, 8));
        if length & UNCOMPRESSED == 0 {
            return blocks.push(start, u64::from(length));
        }
        let start = start.saturating_add(u64::from(file.fragment_offset));
        blocks.push(start, file.size % self.block_size)
    }
}

impl Tree for Squashfs<'_> {
    fn root(&self) -> u64 {
        self.root
    }

    /// An inode's number is here the place of its metadata block and its place therein.
    fn node(&self, number: u64) -> Result<Node, Fault> {
        let mut inode = self.metadata.at(self.inodes, number >> 16, number as u16)?;
        let header: [u8; INODE_HEADER] = inode.array()?;
        let file = match u16_at(&header, 0) {
            DIRECTORY => {
                let raw: [u8; 16] = inode.array()?;
                let (block, length, offset) = (u32_at(&raw, 0), u16_at(&raw, 8), u16_at(&raw, 10));
                return Ok(Node::Directory(self.directory(
                    block,
                    offset,
                    u32::from(length),
                )?));
            }
            LONG_DIRECTORY => {
                let raw: [u8; 24] = inode.array()?;
                let (length, block, offset) = (u32_at(&raw, 4), u32_at(&raw, 8), u16_at(&raw, 18));
                return Ok(Node::Directory(self.directory(block, offset, length)?));
            }
            FILE => {
                let raw: [u8; 16] = inode.array()?;
                File {
                    start: u64::from(u32_at(&raw, 0)),
                    fragment: u32_at(&raw, 4),
                    fragment_offset: u32_at(&raw, 8),
                    size: u64::from(u32_at(&raw, 12)),
                }
            }
            LONG_FILE => {
                let raw: [u8; 40] = inode.array()?;
                File {
                    start: u64_at(&raw, 0),
                    size: u64_at(&raw, 8),
                    fragment: u32_at(&raw, 28),
                    fragment_offset: u32_at(&raw, 32),
                }
            }
            _ => return Ok(Node::Other),
        };
        let mut blocks = Blocks::new(self.bytes);
        self.file(&file, &mut inode, &mut blocks)?;
        Ok(Node::File {
            size: file.size,
            extents: blocks.finish(),
        })
    }
}

/// What an inode says of a file.
struct File {
    /// The byte at which its first data block begins.
    start: u64,
    size: u64,
    fragment: u32,
    /// Where in the fragment's content its end begins.
    fragment_offset: u32,
}
