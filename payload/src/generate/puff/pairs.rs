//! Divides a pair of files into operations that a device can patch by tokens.
//!
//! Only from its beginning can a deflate stream be taken apart, so whole files are searched and then cut: where a cut
//! breaks up no block, or a short one. Each part is patched from the old members of the same names, because deflate
//! that was puffed is long and one suffix array has to hold it.

use std::collections::BTreeMap;
use std::ops::Range;

use millet_protocol::BLOCK_SIZE;

use super::locate::{Deflate, Found, Member, locate};
use super::of_deflates;
use crate::generate::GenerateError;

/// A part of a new file.
pub(in crate::generate) struct Piece {
    /// Its bytes: whole blocks of the new file, in order.
    pub(in crate::generate) new: Vec<Range<usize>>,
    /// Whole blocks of the old file that the patch reads, in order.
    pub(in crate::generate) old: Vec<Range<usize>>,
    /// A PUFFDIFF blob; `None` if there is nothing to puff here.
    pub(in crate::generate) patch: Option<Vec<u8>>,
}

/// How large a piece may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::generate) struct Limits {
    /// Bytes that it makes.
    pub(in crate::generate) new: usize,
    /// Bytes that it reads.
    pub(in crate::generate) old: usize,
    /// Bytes of its patch.
    pub(in crate::generate) patch: usize,
}

/// Patches the `wanted` ranges of a new file, which are whole blocks in order. Pieces may make a few blocks more, so
/// that deflate that reaches over the edge of a range is puffed whole. Both files are whole blocks; empty if the new one
/// holds no deflate.
pub(in crate::generate) fn pieces(
    old: &[u8],
    new: &[u8],
    wanted: &[Range<usize>],
    limits: Limits,
) -> Result<Vec<Piece>, GenerateError> {
    let found = locate(new);
    if found.deflates.is_empty() {
        return Ok(Vec::new());
    }
    let pair = Pair::new((old, locate(old)), (new, found));
    let mut pieces = Vec::new();
    for ranges in pair.groups(&pair.widened(wanted), limits.new) {
        pair.encode(ranges, limits, &mut pieces)?;
    }
    Ok(pieces)
}

const BLOCK: usize = BLOCK_SIZE as usize;

/// Old blocks between two ranges that are read along with them.
const GAP: usize = 8 * BLOCK;

struct Pair<'a> {
    old: &'a [u8],
    new: &'a [u8],
    old_found: Found,
    new_found: Found,
    /// For each new member the old one that it was probably made from.
    counterparts: Vec<Option<usize>>,
}

impl<'a> Pair<'a> {
    fn new((old, old_found): (&'a [u8], Found), (new, new_found): (&'a [u8], Found)) -> Self {
        let counterparts = counterparts((old, &old_found.members), (new, &new_found.members));
        Self {
            old,
            new,
            old_found,
            new_found,
            counterparts,
        }
    }

    /// The ranges, each with the whole of the deflate extents at its edges.
    fn widened(&self, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
        let deflates = &self.new_found.deflates;
        let widen = |range: &Range<usize>| {
            let straddled = |edge: usize| straddled(deflates, edge).map_or(edge..edge, bytes_of);
            straddled(range.start).start..straddled(range.end).end
        };
        merged(ranges.iter().map(widen), self.new.len(), 0)
    }

    /// Divides ranges into groups of up to `most` bytes.
    fn groups(&self, ranges: &[Range<usize>], most: usize) -> Vec<Vec<Range<usize>>> {
        let most = most.max(BLOCK);
        let mut groups: Vec<Vec<Range<usize>>> = vec![Vec::new()];
        let mut room = most;
        for range in ranges {
            let mut rest = range.clone();
            while !rest.is_empty() {
                let end = if rest.len() <= room {
                    rest.end
                } else {
                    self.cut(rest.start, room)
                };
                if end > rest.start
                    && let Some(group) = groups.last_mut()
                {
                    group.push(rest.start..end);
                    room -= end - rest.start;
                }
                if end < rest.end {
                    groups.push(Vec::new());
                    room = most;
                }
                rest.start = end;
            }
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// The best block boundary to cut at, of those in the last quarter of `room` bytes behind `start`.
    fn cut(&self, start: usize, room: usize) -> usize {
        let last = (start + room) / BLOCK;
        let first = (start + room - room / 4).div_ceil(BLOCK).min(last);
        let broken = |block: &usize| {
            straddled(&self.new_found.deflates, block * BLOCK).map_or(0, |deflate| deflate.puff)
        };
        // Of equal ones the last.
        let best = (first..=last).rev().min_by_key(broken).unwrap_or(last);
        (best * BLOCK).max(start)
    }

    fn encode(
        &self,
        new: Vec<Range<usize>>,
        limits: Limits,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), GenerateError> {
        let old = self.sources(&new, limits.old);
        let patch = of_deflates(
            &joined(self.old, &old),
            inside(&self.old_found.deflates, &old),
            &joined(self.new, &new),
            inside(&self.new_found.deflates, &new),
        )?;
        let size: usize = new.iter().map(Range::len).sum();
        if patch.as_ref().is_some_and(|patch| patch.len() > limits.patch) && size > BLOCK {
            for half in self.groups(&new, size.div_ceil(2)) {
                self.encode(half, limits, pieces)?;
            }
            return Ok(());
        }
        pieces.push(Piece { new, old, patch });
        Ok(())
    }

    /// Old ranges to make these new ones of, `most` bytes or a little more.
    fn sources(&self, new: &[Range<usize>], most: usize) -> Vec<Range<usize>> {
        let mut sources = Vec::new();
        for range in new {
            let members = &self.new_found.members;
            let first = members.partition_point(|member| member.bytes.end <= range.start);
            let mut reached = range.start;
            for (member, counterpart) in members.iter().zip(&self.counterparts).skip(first) {
                if member.bytes.start >= range.end {
                    break;
                }
                if let Some(counterpart) = counterpart {
                    let old = &self.old_found.members[*counterpart].bytes;
                    sources.push(proportional(range, &member.bytes, old));
                    reached = member.bytes.end;
                }
            }
            // What follows the last member, a zip's directory say, or a file without members that are known.
            if reached < range.end {
                let tail = self.new.len() - reached..self.new.len() - range.end;
                sources
                    .push(self.old.len().saturating_sub(tail.start)..self.old.len().saturating_sub(tail.end));
            }
        }
        let mut sources = merged(sources.into_iter(), self.old.len(), GAP);
        let mut left = most;
        sources.retain_mut(|range| {
            range.end = range.end.min(range.start + left);
            left -= range.len();
            range.start < range.end
        });
        sources
    }
}

/// The part of `old` that lies in it as `part` lies in `new`, with some more on both sides unless it is all of it.
fn proportional(part: &Range<usize>, new: &Range<usize>, old: &Range<usize>) -> Range<usize> {
    let place = |at: usize| {
        let at = at.clamp(new.start, new.end) - new.start;
        (at as u128 * old.len() as u128 / new.len().max(1) as u128) as usize
    };
    let (start, end) = (place(part.start), place(part.end));
    let slack = (end - start) / 8 + 16 * BLOCK;
    let start = if start == 0 {
        0
    } else {
        start.saturating_sub(slack)
    };
    let end = if end == old.len() {
        end
    } else {
        (end + slack).min(old.len())
    };
    old.start + start..old.start + end
}

/// By name; then, for those with a new one, the most similar name that is left, since versions and hashes are part of
/// names; then whatever follows the last one's.
fn counterparts(
    (old, old_members): (&[u8], &[Member]),
    (new, new_members): (&[u8], &[Member]),
) -> Vec<Option<usize>> {
    let old_name = |index: usize| name(old, &old_members[index]);
    let mut named: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for index in (0..old_members.len()).rev() {
        named.entry(old_name(index)).or_default().push(index);
    }
    let same = |member: &Member| named.get_mut(name(new, member))?.pop();
    let mut found: Vec<_> = new_members.iter().map(same).collect();

    let mut left: Vec<usize> = named.into_values().flatten().collect();
    left.sort_unstable();
    let mut last = None;
    for (found, member) in found.iter_mut().zip(new_members) {
        if found.is_none() && !left.is_empty() && left.len() <= MOST_LEFT {
            let name = name(new, member);
            let likeness = |(_, index): &(usize, &usize)| likeness(old_name(**index), name);
            // Of equal ones the first.
            let best = left.iter().enumerate().rev().max_by_key(likeness);
            *found = best.map(|(place, _)| place).map(|place| left.remove(place));
        }
        let next = last.map_or(0, |last| last + 1);
        last = found.or((next < old_members.len()).then_some(next)).or(last);
        *found = last;
    }
    found
}

/// Old members that a new name is compared with at most: renaming everything must not take for ever.
const MOST_LEFT: usize = 2000;

fn name<'a>(bytes: &'a [u8], member: &Member) -> &'a [u8] {
    member.name.as_ref().map_or(&[], |name| &bytes[name.clone()])
}

/// How many bytes two names begin and end with together.
fn likeness(one: &[u8], other: &[u8]) -> usize {
    let equal = |(one, other): &(&u8, &u8)| one == other;
    let front = one.iter().zip(other).take_while(equal).count();
    front + one.iter().rev().zip(other.iter().rev()).take_while(equal).count()
}

/// The extent that lies on both sides of a byte boundary.
fn straddled(deflates: &[Deflate], edge: usize) -> Option<&Deflate> {
    let edge = edge as u64 * 8;
    let index = deflates.partition_point(|deflate| deflate.bits.offset + deflate.bits.length <= edge);
    deflates.get(index).filter(|deflate| deflate.bits.offset < edge)
}

fn bytes_of(deflate: &Deflate) -> Range<usize> {
    let bits = deflate.bits;
    (bits.offset / 8) as usize..(bits.offset + bits.length).div_ceil(8) as usize
}

/// Ranges as whole blocks of a file, sorted, without overlaps and with gaps above `gap` only.
fn merged(ranges: impl Iterator<Item = Range<usize>>, size: usize, gap: usize) -> Vec<Range<usize>> {
    let whole =
        |range: Range<usize>| range.start / BLOCK * BLOCK..range.end.next_multiple_of(BLOCK).min(size);
    let mut ranges: Vec<_> = ranges.map(whole).filter(|range| !range.is_empty()).collect();
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end + gap => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn joined(bytes: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(ranges.iter().map(Range::len).sum());
    for range in ranges {
        joined.extend_from_slice(&bytes[range.clone()]);
    }
    joined
}

/// The extents that lie inside the ranges, where they lie when those are joined.
fn inside(deflates: &[Deflate], ranges: &[Range<usize>]) -> Vec<Deflate> {
    let mut found = Vec::new();
    let mut base = 0;
    for range in ranges {
        let first = deflates.partition_point(|deflate| deflate.bits.offset < range.start as u64 * 8);
        let within = |deflate: &&Deflate| bytes_of(deflate).end <= range.end;
        found.extend(deflates[first..].iter().take_while(within).map(|deflate| {
            let mut moved = *deflate;
            moved.bits.offset = moved.bits.offset - range.start as u64 * 8 + base as u64 * 8;
            moved
        }));
        base += range.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> (Vec<u8>, Vec<Member>) {
        let mut bytes = Vec::new();
        let members = names.iter().map(|name| {
            let start = bytes.len();
            bytes.extend_from_slice(name.as_bytes());
            Member {
                bytes: start..bytes.len(),
                name: (!name.is_empty()).then_some(start..bytes.len()),
            }
        });
        let members = members.collect();
        (bytes, members)
    }

    #[test]
    fn members_are_paired_by_name_then_by_a_similar_one_then_by_order() {
        let (old, old_members) = members(&["a-1.0/x", "b.so", "lib-77af.so", "b.so", "a-1.0/y"]);
        let (new, new_members) = members(&["lib-01cd.so", "b.so", "a-1.1/y", "b.so", "a-1.1/x", "", "b.so"]);
        assert_eq!(
            counterparts((&old, &old_members), (&new, &new_members)),
            [2, 1, 4, 3, 0, 1, 2].map(Some)
        );
        assert_eq!(counterparts((&[], &[]), (&new, &new_members)), [None; 7]);
    }

    #[test]
    fn part_of_a_member_is_made_of_the_same_part() {
        let (new, old) = (0..100 * BLOCK, 1000..1000 + 200 * BLOCK);
        assert_eq!(proportional(&new, &new, &old), old);
        let part = proportional(&(50 * BLOCK..60 * BLOCK), &new, &old);
        let slack = 20 * BLOCK / 8 + 16 * BLOCK;
        assert_eq!(part, 1000 + 100 * BLOCK - slack..1000 + 120 * BLOCK + slack);
        assert_eq!(proportional(&(0..BLOCK), &new, &(7..7)), 7..7);
    }

    #[test]
    fn ranges_are_whole_blocks_without_short_gaps() {
        let ranges = [
            5..BLOCK,
            9 * BLOCK + 1..9 * BLOCK + 2,
            3..3,
            20 * BLOCK..usize::MAX / 2,
        ];
        assert_eq!(
            merged(ranges.into_iter(), 21 * BLOCK, GAP),
            [0..10 * BLOCK, 20 * BLOCK..21 * BLOCK]
        );
    }
}
