//! What a payload may leave to the device: a dm-verity hash tree, and parity to correct errors with (FEC).
//!
//! Format version 1 of the kernel's `Documentation/admin-guide/device-mapper/verity.rst`, as AOSP's update_engine
//! writes it: no superblock before the tree, no header before the parity, blocks of 4096 bytes in both.

use millet_protocol::BLOCK_SIZE;

use super::Extent;

/// The function that makes a hash tree's digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// What avbtool uses unless it is told otherwise.
    Sha1,
    /// What today's builds use.
    Sha256,
}

/// Bytes that a digest takes in a block of the tree: its length as a power of two, the same for both algorithms.
pub(crate) const DIGEST_SLOT: u64 = 32;

/// Digests in one block of the tree.
const DIGESTS: u64 = BLOCK_SIZE / DIGEST_SLOT;

/// A hash tree over some blocks of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTree {
    /// What it protects.
    pub data: Extent,
    /// Where it lies, behind its data: the root's block first, the digests of the data last.
    pub tree: Extent,
    /// What makes its digests.
    pub algorithm: HashAlgorithm,
    /// What is hashed before every block, at most [`LONGEST_SALT`] bytes.
    pub salt: Vec<u8>,
}

/// Reed-Solomon parity over some blocks of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fec {
    /// What it can restore; a hash tree may be part of that.
    pub data: Extent,
    /// Where the parity lies, behind its data.
    pub parity: Extent,
    /// Bytes of parity in each codeword of [`CODEWORD`] bytes, one of [`ROOTS`].
    pub roots: u8,
}

/// What a device computes once a partition's operations are done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verity {
    /// Made first.
    pub hash_tree: Option<HashTree>,
    /// Made from what the operations and the hash tree wrote.
    pub fec: Option<Fec>,
}

/// The longest salt, in bytes: that of dm-verity's superblock.
pub const LONGEST_SALT: usize = 256;

/// Bytes of a codeword: DM_VERITY_FEC_RSM of the kernel's `drivers/md/dm-verity-fec.h`.
pub(crate) const CODEWORD: u64 = 255;

/// Bytes of parity in a codeword that the kernel takes: DM_VERITY_FEC_MAX_RSN is 253, DM_VERITY_FEC_MIN_RSN 231.
pub(crate) const ROOTS: std::ops::RangeInclusive<u8> = 2..=24;

impl Verity {
    /// The blocks that the device makes, and no operation.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        let tree = self.hash_tree.as_ref().map(|hash_tree| hash_tree.tree);
        let parity = self.fec.as_ref().map(|fec| fec.parity);
        tree.into_iter().chain(parity)
    }
}

impl Fec {
    /// Codewords in all. The byte of index `j` of codeword `c` is the data's byte `c + j * codewords`, zero behind the
    /// data's end, so that a run of bad blocks costs each codeword at most a byte.
    pub(crate) fn codewords(&self) -> u64 {
        rounds(self.data.blocks, self.roots) * BLOCK_SIZE
    }
}

/// Blocks of each level of a tree over so many data blocks (at least one), from the digests of the data up to the root.
///
/// One data block has a level too, as in AOSP's `HashTreeBuilder`; veritysetup makes none for it.
pub(crate) fn tree_levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = vec![data_blocks.div_ceil(DIGESTS)];
    while let Some(below) = levels.last().copied().filter(|blocks| *blocks > 1) {
        levels.push(below.div_ceil(DIGESTS));
    }
    levels
}

/// Blocks of parity for so many data blocks. `roots` is one of [`ROOTS`].
pub(crate) fn parity_blocks(data_blocks: u64, roots: u8) -> u64 {
    rounds(data_blocks, roots) * u64::from(roots)
}

fn rounds(data_blocks: u64, roots: u8) -> u64 {
    data_blocks.div_ceil(CODEWORD - u64::from(roots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_shrink_to_one_block() {
        for (data, levels) in [
            (1, vec![1]),
            (127, vec![1]),
            (128, vec![1]),
            (129, vec![2, 1]),
            (128 * 128, vec![128, 1]),
            (128 * 128 + 1, vec![129, 2, 1]),
            // 1 TiB.
            (1 << 28, vec![1 << 21, 1 << 14, 128, 1]),
        ] {
            assert_eq!(tree_levels(data), levels, "{data}");
        }
    }

    #[test]
    fn parity_is_counted_in_whole_rounds() {
        for (data, roots, blocks) in [(1, 2, 2), (253, 2, 2), (254, 2, 4), (231, 24, 24), (232, 24, 48)] {
            assert_eq!(parity_blocks(data, roots), blocks, "{data} blocks, {roots} roots");
        }
    }
}
