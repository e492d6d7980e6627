//! The hash tree of dm-verity, format version 1: the salt is hashed before each block.

use millet_protocol::BLOCK_SIZE;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{End, Stops, go_on};
use crate::format::verity::{DIGEST_SLOT, tree_levels};
use crate::format::{Extent, HashAlgorithm, HashTree};
use crate::storage::{Target, step};

/// Bytes read at a time.
const READ: usize = 256 << 10;

/// Bytes of digests written at a time, a multiple of [`DIGEST_SLOT`].
const WRITE: usize = 64 << 10;

pub(super) fn write(hash_tree: &HashTree, target: &mut dyn Target, stops: Stops) -> Result<(), End> {
    match hash_tree.algorithm {
        HashAlgorithm::Sha1 => write_levels::<Sha1>(hash_tree, target, stops),
        HashAlgorithm::Sha256 => write_levels::<Sha256>(hash_tree, target, stops),
    }
}

/// Level by level, each from the one below as it was written: the root's block comes first, so the levels are laid from
/// the end of the tree to its start.
fn write_levels<D: Digest + Clone>(
    hash_tree: &HashTree,
    target: &mut dyn Target,
    stops: Stops,
) -> Result<(), End> {
    let salted = D::new_with_prefix(&hash_tree.salt);
    let mut below = hash_tree.data;
    let mut end = hash_tree.tree.end();
    for blocks in tree_levels(hash_tree.data.blocks) {
        let level = Extent {
            start: end - blocks,
            blocks,
        };
        write_digests(&salted, below, level, target, stops)?;
        below = level;
        end = level.start;
    }
    Ok(())
}

fn write_digests<D: Digest + Clone>(
    salted: &D,
    from: Extent,
    to: Extent,
    target: &mut dyn Target,
    stops: Stops,
) -> Result<(), End> {
    let mut data = vec![0; READ];
    let mut digests = Vec::with_capacity(WRITE);
    let mut slots = 0;
    let (mut at, end) = (from.start * BLOCK_SIZE, from.end() * BLOCK_SIZE);
    let mut put_at = to.start * BLOCK_SIZE;
    while at < end {
        go_on(stops)?;
        let piece = &mut data[..step(end - at, READ)];
        target.read_exact_at(piece, at)?;
        at += piece.len() as u64;
        for block in piece.chunks(BLOCK_SIZE as usize) {
            digests.extend_from_slice(&salted.clone().chain_update(block).finalize());
            slots += DIGEST_SLOT as usize;
            // SHA-1's 20 bytes fill up to a power of two.
            digests.resize(slots, 0);
            if slots == WRITE {
                target.write_all_at(&digests, put_at)?;
                put_at += WRITE as u64;
                digests.clear();
                slots = 0;
            }
        }
    }
    if digests.is_empty() {
        return Ok(());
    }
    digests.resize(slots.next_multiple_of(BLOCK_SIZE as usize), 0);
    Ok(target.write_all_at(&digests, put_at)?)
}
