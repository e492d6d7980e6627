//! Which new blocks are zero, which are somewhere in the old image, and which are left.

use super::scan::Block;
use crate::format::Extent;

/// How a new block is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is zero.
    Zero,
    /// It is this block of the old image.
    Copy(u64),
    /// It has to be sent.
    Left,
    /// An operation makes it that was there before the plan.
    Made,
}

/// Decides on every new block by its hash.
pub(super) fn fates(old: &[Block], new: &[Block]) -> Vec<Fate> {
    let index = Index::new(old);
    let mut fates = Vec::with_capacity(new.len());
    let mut previous = None;
    for (at, block) in new.iter().enumerate() {
        let fate = match block {
            Block::Zero => Fate::Zero,
            // Going on where the last block came from makes long runs: one extent instead of many.
            Block::Data(_) => match previous
                .map(|last: usize| last + 1)
                .filter(|next| old.get(*next) == Some(block))
            {
                Some(next) => Fate::Copy(next as u64),
                None => index
                    .best(old, &new[at..], at)
                    .map_or(Fate::Left, |found| Fate::Copy(found as u64)),
            },
        };
        previous = if let Fate::Copy(from) = fate {
            Some(from as usize)
        } else {
            None
        };
        fates.push(fate);
    }
    fates
}

/// Runs of equal kind: their extent and the fate of their first block.
pub(super) fn runs(fates: &[Fate]) -> Vec<(Extent, Fate)> {
    let mut runs: Vec<(Extent, Fate)> = Vec::new();
    for (at, fate) in fates.iter().enumerate() {
        match runs.last_mut() {
            Some((extent, first)) if std::mem::discriminant(first) == std::mem::discriminant(fate) => {
                extent.blocks += 1;
            }
            _ => runs.push((
                Extent {
                    start: at as u64,
                    blocks: 1,
                },
                *fate,
            )),
        }
    }
    runs
}

/// Gives up copies and zeros of up to `longest` blocks that lie between blocks which are sent anyway: inside a diff
/// they cost less than an operation of their own.
pub(super) fn absorb_islands(fates: &mut [Fate], longest: u64) {
    let runs = runs(fates);
    for window in runs.windows(3) {
        if let [(_, Fate::Left), (island, fate), (_, Fate::Left)] = window
            && *fate != Fate::Left
            && island.blocks <= longest
        {
            fates[island.start as usize..island.end() as usize].fill(Fate::Left);
        }
    }
}

/// Where each block content is in the old image.
struct Index {
    sorted: Vec<(u128, usize)>,
}

impl Index {
    fn new(old: &[Block]) -> Self {
        let data = |(at, block): (usize, &Block)| match block {
            Block::Zero => None,
            Block::Data(hash) => Some((*hash, at)),
        };
        let mut sorted: Vec<_> = old.iter().enumerate().filter_map(data).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The place from which most of `new` goes on; the same place in both images wins a tie.
    fn best(&self, old: &[Block], new: &[Block], at: usize) -> Option<usize> {
        const CANDIDATES: usize = 16;
        let Some(Block::Data(hash)) = new.first() else {
            return None;
        };
        let first = self.sorted.partition_point(|(other, _)| other < hash);
        let same = self.sorted[first..]
            .iter()
            .take_while(|(other, _)| other == hash)
            .map(|(_, place)| *place);
        let run = |place: usize| {
            old[place..]
                .iter()
                .zip(new)
                .take(256)
                .take_while(|(a, b)| a == b)
                .count()
        };
        same.take(CANDIDATES)
            .max_by_key(|place| (run(*place), *place == at, std::cmp::Reverse(*place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Vec<Block> {
        text.bytes()
            .map(|byte| {
                if byte == b'.' {
                    Block::Zero
                } else {
                    Block::Data(byte.into())
                }
            })
            .collect()
    }

    #[test]
    fn the_longest_run_wins() {
        let fates = fates(&blocks("axbyabcd"), &blocks("abc.zd"));
        use Fate::*;
        assert_eq!(fates, [Copy(4), Copy(5), Copy(6), Zero, Left, Copy(7)]);
    }

    #[test]
    fn short_islands_are_absorbed() {
        let mut fates = fates(&blocks("abcd"), &blocks("xa.yabcz"));
        absorb_islands(&mut fates, 2);
        use Fate::*;
        // a and the zero are two runs, so neither lies between two left runs.
        assert_eq!(
            fates,
            [Left, Copy(0), Zero, Left, Copy(0), Copy(1), Copy(2), Left]
        );
        fates[2] = Left;
        absorb_islands(&mut fates, 2);
        assert_eq!(fates, [Left, Left, Left, Left, Copy(0), Copy(1), Copy(2), Left]);
    }
}
