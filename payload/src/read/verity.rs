//! From the verity fields of a `PartitionUpdate` to what a device can compute.

use super::{PartitionFault, VerityFault};
use crate::format::manifest::{self, PartitionUpdate};
use crate::format::verity::{LONGEST_SALT, ROOTS, parity_blocks, tree_levels};
use crate::format::{Extent, Fec, HashAlgorithm, HashTree, Verity};

const HASH_TREE: &str = "hash tree";
const FEC: &str = "FEC";

/// Checks fields 10 to 16 of a partition of so many blocks.
///
/// That no operation writes into a tree or parity is seen with the rest of the partition's blocks.
pub(super) fn verity(update: &PartitionUpdate, blocks: u64) -> Result<Verity, PartitionFault> {
    let hash_tree = hash_tree(update, blocks)?;
    let fec = fec(update, blocks)?;
    if let (Some(hash_tree), Some(fec)) = (&hash_tree, &fec) {
        // The tree is made first: it cannot protect what is made from it.
        if overlap(hash_tree.data, fec.parity) {
            return Err(VerityFault::ParityInTree.into());
        }
        // Parity is made from finished blocks, and it is its purpose to restore a tree too.
        if overlap(hash_tree.tree, fec.parity) {
            return Err(PartitionFault::WrittenTwice(
                hash_tree.tree.start.max(fec.parity.start),
            ));
        }
    }
    Ok(Verity { hash_tree, fec })
}

fn hash_tree(update: &PartitionUpdate, blocks: u64) -> Result<Option<HashTree>, VerityFault> {
    let rest = update.hash_tree_algorithm.is_some() || update.hash_tree_salt.is_some();
    let Some((data, tree)) = extents(
        HASH_TREE,
        [update.hash_tree_data_extent, update.hash_tree_extent],
        rest,
        blocks,
    )?
    else {
        return Ok(None);
    };
    let algorithm = algorithm(update.hash_tree_algorithm())?;
    let salt = update.hash_tree_salt();
    if salt.len() > LONGEST_SALT {
        return Err(VerityFault::LongSalt(salt.len()));
    }
    same_size(HASH_TREE, tree, tree_levels(data.blocks).iter().sum())?;
    Ok(Some(HashTree {
        data,
        tree,
        algorithm,
        salt: salt.to_vec(),
    }))
}

fn fec(update: &PartitionUpdate, blocks: u64) -> Result<Option<Fec>, VerityFault> {
    let rest = update.fec_roots.is_some();
    let Some((data, parity)) = extents(FEC, [update.fec_data_extent, update.fec_extent], rest, blocks)?
    else {
        return Ok(None);
    };
    let roots = u8::try_from(update.fec_roots())
        .ok()
        .filter(|roots| ROOTS.contains(roots))
        .ok_or(VerityFault::Roots(update.fec_roots()))?;
    same_size(FEC, parity, parity_blocks(data.blocks, roots))?;
    Ok(Some(Fec { data, parity, roots }))
}

/// The extent that is protected and the one that is made; `None` if a payload has neither, nor what belongs to them.
fn extents(
    what: &'static str,
    [data, made]: [Option<manifest::Extent>; 2],
    rest: bool,
    blocks: u64,
) -> Result<Option<(Extent, Extent)>, VerityFault> {
    let (data, made) = match (data, made) {
        (None, None) if !rest => return Ok(None),
        (Some(data), Some(made)) => (extent(what, data, blocks)?, extent(what, made, blocks)?),
        _ => return Err(VerityFault::Incomplete(what)),
    };
    // As AOSP's install_plan.cc has it: what is made lies behind what it is made from.
    if made.start < data.end() {
        return Err(VerityFault::Order {
            what,
            start: made.start,
            end: data.end(),
        });
    }
    Ok(Some((data, made)))
}

fn extent(what: &'static str, message: manifest::Extent, blocks: u64) -> Result<Extent, VerityFault> {
    let (start, count) = (message.start_block(), message.num_blocks());
    start
        .checked_add(count)
        .filter(|end| count > 0 && *end <= blocks)
        .map(|_| Extent { start, blocks: count })
        .ok_or(VerityFault::OutOfRange {
            what,
            start,
            count,
            blocks,
        })
}

/// By the names of AOSP's `HashTreeBuilder::HashFunction`, which ignores their case.
fn algorithm(name: &str) -> Result<HashAlgorithm, VerityFault> {
    if name.eq_ignore_ascii_case("sha256") {
        Ok(HashAlgorithm::Sha256)
    } else if name.eq_ignore_ascii_case("sha1") {
        Ok(HashAlgorithm::Sha1)
    } else {
        Err(VerityFault::Algorithm(name.chars().take(40).collect()))
    }
}

fn same_size(what: &'static str, made: Extent, needs: u64) -> Result<(), VerityFault> {
    if made.blocks == needs {
        return Ok(());
    }
    Err(VerityFault::Size {
        what,
        has: made.blocks,
        needs,
    })
}

fn overlap(one: Extent, other: Extent) -> bool {
    one.start < other.end() && other.start < one.end()
}
