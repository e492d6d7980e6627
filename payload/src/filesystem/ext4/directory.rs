//! The names in a directory. A hashed one reads as a linear one: its index hides in entries that are not in use.

use super::Inode;
use crate::filesystem::Fault;
use crate::filesystem::bytes::{u16_at, u32_at};
use crate::filesystem::tree::Entries;

/// How entries are to be read.
pub(super) struct Names {
    /// The upper byte of a name's length is its file type.
    pub(super) have_type: bool,
}

/// Inode, record length, name length and file type.
const HEADER: usize = 8;

/// Bytes of an inode before its i_block, and of the parent's number that begins an inline directory.
const PARENT: usize = 4;

// Attributes in an inode, behind i_extra_isize bytes after the first 128.
const OLD_INODE: usize = 128;
const ATTRIBUTES_MAGIC: u32 = 0xEA02_0000;
const ATTRIBUTE: usize = 16;
/// EXT4_XATTR_INDEX_SYSTEM: the name "system.data" is kept as this and "data".
const SYSTEM: u8 = 7;

impl Names {
    /// Adds the entries of one block of a directory.
    pub(super) fn append(&self, block: &[u8], entries: &mut Entries) -> Result<(), Fault> {
        let broken = || Fault::Malformed("an entry of the directory is broken");
        let mut rest = block;
        while !rest.is_empty() {
            // A record as long as a block of 64 KiB is written as one of 65535 or 0 bytes.
            let length = match u16_at(rest, 4) {
                0 | u16::MAX if block.len() == 1 << 16 => block.len(),
                length => usize::from(length),
            };
            if length < HEADER || !length.is_multiple_of(4) {
                return Err(broken());
            }
            let (record, after) = rest.split_at_checked(length).ok_or_else(broken)?;
            rest = after;
            let inode = u64::from(u32_at(record, 0));
            let name = match u16_at(record, 6) {
                length if self.have_type => length & 0xFF,
                length => length,
            };
            if inode != 0 {
                let name = record
                    .get(HEADER..HEADER + usize::from(name))
                    .ok_or_else(broken)?;
                entries.push(name, inode)?;
            }
        }
        Ok(())
    }

    /// The entries of a directory that lies in its inode: first where the block map would be, then in an attribute.
    pub(super) fn inline(&self, inode: &Inode) -> Result<Entries, Fault> {
        let mut entries = Entries::default();
        self.append(inode.block().get(PARENT..).unwrap_or_default(), &mut entries)?;
        if let Some(more) = inline_attribute(&inode.raw)? {
            self.append(more, &mut entries)?;
        }
        Ok(entries)
    }
}

/// The value of "system.data". Where a value begins is counted from the first attribute.
fn inline_attribute(inode: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let header = OLD_INODE + usize::from(u16_at(inode, OLD_INODE));
    if u32_at(inode, header) != ATTRIBUTES_MAGIC {
        return Ok(None);
    }
    let attributes = inode.get(header + 4..).unwrap_or_default();
    let mut rest = attributes;
    // Four zero bytes end the list.
    while u32_at(rest, 0) != 0 {
        let broken = || Fault::Malformed("its attributes are broken");
        let (entry, after) = rest.split_at_checked(ATTRIBUTE).ok_or_else(broken)?;
        let name_length = usize::from(entry[0]);
        if entry[1] == SYSTEM && after.get(..name_length) == Some(b"data".as_slice()) {
            let start = usize::from(u16_at(entry, 2));
            let length = usize::try_from(u32_at(entry, 8)).unwrap_or(usize::MAX);
            let value = start
                .checked_add(length)
                .and_then(|end| attributes.get(start..end));
            return Ok(Some(value.ok_or_else(broken)?));
        }
        rest = after.get(name_length.next_multiple_of(4)..).ok_or_else(broken)?;
    }
    Ok(None)
}
