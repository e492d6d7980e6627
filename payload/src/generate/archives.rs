//! Files that hold deflate, patched by its tokens before the rest of a partition is planned: what they need of a file
//! is only known when it has been taken apart.

use std::collections::BTreeSet;
use std::ops::Range;

use millet_protocol::BLOCK_SIZE;

use super::copies::Fate;
use super::encoder::{Encoder, LONGEST_PATCH, patched, source};
use super::pair::{Old, Pair, blocks_size};
use super::puff::{self, Limits, Piece};
use super::scan::read;
use super::{Encoded, GenerateError};
use crate::filesystem::File;
use crate::format::{Extent, PatchKind};

/// What one operation makes and reads at most, in bytes: puffed, both are a few times as long, and a suffix array has
/// four bytes for each of them.
const LIMITS: Limits = Limits {
    new: 2 << 20,
    old: 4 << 20,
    patch: LONGEST_PATCH,
};

/// Files that one thread holds in memory are at most this long; larger ones are patched as bytes.
pub(super) const LARGEST_FILE: u64 = 128 << 20;

/// Two versions of a file whose deflate may be worth puffing.
pub(super) struct Archive<'a> {
    pub(super) partition: usize,
    new: &'a File,
    old: &'a File,
}

impl Archive<'_> {
    /// Bytes that are looked at.
    pub(super) fn size(&self) -> u64 {
        blocks_size(self.new)
    }
}

/// The files of a partition that are worth a look.
pub(super) fn archives<'a>(partition: usize, pair: &'a Pair, largest: u64) -> Vec<Archive<'a>> {
    let old_size = pair.old.as_ref().map_or(0, |old| old.scan.info.size);
    let files = pair.old.iter().flat_map(|old| &old.files);
    files
        .filter(|(new, old)| blocks_size(new).max(blocks_size(old)) <= largest)
        // A file may name a block many times; a patch may not read more than there is.
        .filter(|(_, old)| blocks_size(old) <= old_size)
        .map(|(new, old)| Archive { partition, new, old })
        .collect()
}

/// Patches of the parts of an archive for which a puff is smaller than anything else.
pub(super) fn patch(
    archive: &Archive,
    pair: &Pair,
    old: &Old,
    encoder: &Encoder,
) -> Result<Vec<Encoded>, GenerateError> {
    let new_bytes = read(pair.new, &archive.new.extents)?;
    if !puff::announces_deflate(&new_bytes) {
        return Ok(Vec::new());
    }
    let wanted = left(&archive.new.extents, &old.fates);
    let old_bytes = read(old.image, &archive.old.extents)?;
    let mut patches = Vec::new();
    for Piece { new, old, patch } in puff::pieces(&old_bytes, &new_bytes, &wanted, LIMITS)? {
        let Some(patch) = patch.filter(|patch| patch.len() <= LONGEST_PATCH) else {
            continue;
        };
        let destination = extents(&archive.new.extents, &new);
        let from = extents(&archive.old.extents, &old);
        let blocks: Vec<&[u8]> = old.iter().map(|range| &old_bytes[whole_blocks(range)]).collect();
        let size: usize = new.iter().map(Range::len).sum();
        let encoded = patched(
            PatchKind::Puffin,
            &destination,
            source(&from, &blocks.concat()),
            patch,
        );
        // Compressed bytes that changed are hardly ever patched to half: only a weak puff needs the comparison.
        if encoded.cost() < size / 2 || encoded.cost() < Encoded::costs(&encoder.send(&destination)?) {
            patches.push(encoded);
        }
    }
    Ok(patches)
}

/// Marks the blocks that patches make; a patch of a block that is made already is dropped.
pub(super) fn claim(patches: Vec<Encoded>, fates: &mut [Fate]) -> Vec<Encoded> {
    let mut claimed = Vec::new();
    for patch in patches {
        let extents = patch.operation.destination.iter();
        let blocks: Vec<usize> = extents
            .flat_map(|extent| extent.start as usize..extent.end() as usize)
            .collect();
        let is_free = |block: &usize| fates.get(*block).is_some_and(|fate| *fate != Fate::Made);
        let different: BTreeSet<_> = blocks.iter().copied().filter(is_free).collect();
        if different.len() == blocks.len() {
            for block in blocks {
                fates[block] = Fate::Made;
            }
            claimed.push(patch);
        }
    }
    claimed
}

/// The ranges of a file's bytes that nothing old makes.
fn left(extents: &[Extent], fates: &[Fate]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let blocks = extents.iter().flat_map(|extent| extent.start..extent.end());
    for (at, block) in blocks.enumerate() {
        if fates.get(block as usize) != Some(&Fate::Left) {
            continue;
        }
        let (start, end) = (at * BLOCK_SIZE as usize, (at + 1) * BLOCK_SIZE as usize);
        match ranges.last_mut() {
            Some(range) if range.end == start => range.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

/// The blocks of an image that hold ranges of a file.
fn extents(file: &[Extent], ranges: &[Range<usize>]) -> Vec<Extent> {
    let mut found: Vec<Extent> = Vec::new();
    for range in ranges {
        let bytes = whole_blocks(range);
        let (first, end) = (bytes.start as u64 / BLOCK_SIZE, bytes.end as u64 / BLOCK_SIZE);
        let mut before = 0;
        for extent in file {
            let start = first.max(before) - before;
            let stop = end.min(before + extent.blocks).saturating_sub(before);
            if start < stop {
                let next = Extent {
                    start: extent.start + start,
                    blocks: stop - start,
                };
                match found.last_mut() {
                    Some(last) if last.end() == next.start => last.blocks += next.blocks,
                    _ => found.push(next),
                }
            }
            before += extent.blocks;
        }
    }
    found
}

fn whole_blocks(range: &Range<usize>) -> Range<usize> {
    const BLOCK: usize = BLOCK_SIZE as usize;
    range.start - range.start % BLOCK..range.end.next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = BLOCK_SIZE as usize;

    fn extent(start: u64, blocks: u64) -> Extent {
        Extent { start, blocks }
    }

    #[test]
    fn ranges_of_a_file_are_blocks_of_its_image() {
        let file = [extent(10, 3), extent(20, 2), extent(22, 1), extent(5, 1)];
        assert_eq!(
            extents(&file, std::slice::from_ref(&(0..7 * BLOCK))),
            [extent(10, 3), extent(20, 3), extent(5, 1)]
        );
        assert_eq!(
            extents(&file, &[2 * BLOCK..4 * BLOCK, 6 * BLOCK..7 * BLOCK]),
            [extent(12, 1), extent(20, 1), extent(5, 1)]
        );
        let mut fates = vec![Fate::Zero; 30];
        for block in [11, 12, 20, 5] {
            fates[block] = Fate::Left;
        }
        assert_eq!(left(&file, &fates), [BLOCK..4 * BLOCK, 6 * BLOCK..7 * BLOCK]);
    }
}
