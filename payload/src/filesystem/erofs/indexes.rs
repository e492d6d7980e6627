//! The indexes of a compressed file: one for each logical cluster, in 8, 4 or 2 bytes.

use super::compressed::{BIG_CLUSTERS, COMPACT_2_BYTES, Header};
use super::{COMPRESSED_FULL, Erofs, Inode};
use crate::filesystem::Fault;
use crate::filesystem::bytes::{u16_at, u32_at};

/// What an index says of its logical cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A physical cluster begins here.
    Head {
        /// Where in the logical cluster, in bytes.
        offset: u64,
        /// Its first block; at most a little more than 2^32.
        block: u64,
    },
    /// The one that began before goes on.
    Rest {
        /// Blocks of the physical cluster, if this index is the one that says so; below 2^11.
        blocks: Option<u64>,
    },
}

/// Indexes in the order of the content.
pub(super) struct Indexes {
    bytes: Vec<u8>,
    /// The byte of the image that follows them.
    end: u64,
    /// Indexes left.
    left: u64,
    cluster_bits: u32,
    big: bool,
    form: Form,
    /// Bytes of whole packs that were read.
    at: usize,
    /// What the pack being read says, and how much of it has been handed out.
    pack: Vec<Cut>,
    handed_out: usize,
}

enum Form {
    Full,
    /// Packs of two in 8 bytes, then of sixteen in 32, then of two again: how many bytes the first two kinds take.
    Compact {
        first: usize,
        second: usize,
    },
}

// Types of logical clusters: 0, 1 and 3 begin a physical one.
const REST: u32 = 2;

/// In the place of a distance: the rest of the bits is the number of blocks of the physical cluster.
const IS_BLOCK_COUNT: u32 = 1 << 11;

/// Bytes of a full index.
const FULL: u64 = 8;
const PACK_OF_2: usize = 8;
const PACK_OF_16: usize = 32;

impl Indexes {
    pub(super) fn read(image: &Erofs, inode: &Inode, header: &Header) -> Result<Self, Fault> {
        let count = inode.size.div_ceil(1 << header.cluster_bits);
        let start = header.at + 8;
        let (start, length, form) = if inode.layout == COMPRESSED_FULL {
            (start + 8, count.saturating_mul(FULL), Form::Full)
        } else {
            compact(start, count, header)?
        };
        // That there are so many is checked by reading them: they lie inside the image.
        let bytes = image.bytes.read(start, length)?;
        Ok(Self {
            end: start + bytes.len() as u64,
            bytes,
            left: count,
            cluster_bits: header.cluster_bits,
            big: header.advice & BIG_CLUSTERS != 0,
            form,
            at: 0,
            pack: Vec::with_capacity(16),
            handed_out: 0,
        })
    }

    /// The byte of the image that follows the indexes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn next(&mut self) -> Result<Option<Cut>, Fault> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        if self.handed_out == self.pack.len() {
            self.read_pack()?;
        }
        let cut = self.pack.get(self.handed_out).copied();
        self.handed_out += 1;
        match cut {
            Some(Cut::Head { offset, .. }) if offset >> self.cluster_bits != 0 => {
                Err(Fault::Malformed("a compressed cluster begins outside its place"))
            }
            Some(cut) => Ok(Some(cut)),
            None => Err(Fault::Malformed("its compressed clusters are cut off")),
        }
    }

    fn read_pack(&mut self) -> Result<(), Fault> {
        self.pack.clear();
        self.handed_out = 0;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = match self.form {
            Form::Full => FULL as usize,
            Form::Compact { first, second } if (first..first + second).contains(&self.at) => PACK_OF_16,
            Form::Compact { .. } => PACK_OF_2,
        };
        let pack = rest.get(..length).unwrap_or_default();
        self.at += pack.len();
        match self.form {
            Form::Full => self.pack.push(full(pack)),
            Form::Compact { .. } => unpack(pack, self.cluster_bits, self.big, &mut self.pack),
        }
        Ok(())
    }
}

/// Where compact indexes begin, how many bytes they have, and in what packs.
fn compact(start: u64, count: u64, header: &Header) -> Result<(u64, u64, Form), Fault> {
    // 16 bits for an index of a pack of two, 14 for one of a pack of sixteen; 2 of them are its type.
    let (narrow, wide) = (header.cluster_bits <= 12, header.cluster_bits <= 14);
    let two_bytes = header.advice & COMPACT_2_BYTES != 0;
    if !wide || two_bytes && !narrow {
        return Err(Fault::Malformed(
            "its logical clusters are too large for compact indexes",
        ));
    }
    // Packs of sixteen begin at multiples of their size.
    let before = (32 - start % 32) / 4 % 8;
    let before = before.min(count.next_multiple_of(2));
    let in_sixteens = match two_bytes {
        true => count.saturating_sub(before) / 16 * 16,
        false => 0,
    };
    let after = count
        .saturating_sub(before)
        .saturating_sub(in_sixteens)
        .next_multiple_of(2);
    let (first, second) = (before * 4, in_sixteens * 2);
    let length = after
        .saturating_mul(4)
        .saturating_add(first)
        .saturating_add(second);
    let form = Form::Compact {
        first: usize::try_from(first).unwrap_or(usize::MAX),
        second: usize::try_from(second).unwrap_or(0),
    };
    Ok((start, length, form))
}

/// z_erofs_lcluster_index: type, offset, then the block or two distances.
fn full(index: &[u8]) -> Cut {
    let distance = u32::from(u16_at(index, 4));
    if u32::from(u16_at(index, 0)) & 3 == REST {
        return rest(distance);
    }
    Cut::Head {
        offset: u64::from(u16_at(index, 2)),
        block: u64::from(u32_at(index, 4)),
    }
}

fn rest(distance: u32) -> Cut {
    Cut::Rest {
        blocks: (distance & IS_BLOCK_COUNT != 0).then_some(u64::from(distance & (IS_BLOCK_COUNT - 1))),
    }
}

/// A pack of compact indexes: equally many bits for each, then the block that the pack counts from.
fn unpack(pack: &[u8], cluster_bits: u32, big: bool, cuts: &mut Vec<Cut>) {
    let Some(bits_length) = pack.len().checked_sub(4) else {
        return;
    };
    let count = if pack.len() == PACK_OF_2 { 2 } else { 16 };
    let bits_each = bits_length * 8 / count;
    let low_bits = cluster_bits.max(12);
    let value = |index: usize| {
        let bit = bits_each * index;
        // A value has at most 16 bits and begins in a byte, so it lies in three; the block's bytes follow the last.
        let raw = u32_at(pack, bit / 8) >> (bit % 8);
        (raw >> low_bits & 3, raw & ((1 << low_bits) - 1))
    };
    // Without big clusters a pack counts from the block before its first head; with them from its first head, or
    // from the head before it if that one's length is said in here.
    let mut block = u64::from(u32_at(pack, bits_length)) + u64::from(!big);
    for index in 0..count {
        let (kind, low) = value(index);
        if kind == REST {
            let cut = rest(low);
            if let Cut::Rest { blocks: Some(blocks) } = cut {
                block += blocks;
            }
            cuts.push(cut);
            continue;
        }
        cuts.push(Cut::Head {
            offset: u64::from(low),
            block,
        });
        let says_length = |index| {
            let (kind, low) = value(index);
            kind == REST && low & IS_BLOCK_COUNT != 0
        };
        // A head whose length is said by the next index is counted there.
        if !(big && index + 1 < count && says_length(index + 1)) {
            block += 1;
        }
    }
}
