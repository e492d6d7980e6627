//! Colin Percival's bsdiff: new bytes as approximate copies of old ones, with what differs and what is extra.

use std::io;

use super::GenerateError;
use super::suffixes::Suffixes;
use crate::format::bsdiff::{decode_integer, encode_integer};

/// The three streams of a patch, not compressed.
#[derive(Default)]
pub(super) struct Diff {
    pub(super) control: Vec<u8>,
    pub(super) diff: Vec<u8>,
    pub(super) extra: Vec<u8>,
}

/// A match must be this much longer than going on with the last one, or the switch costs more than it gains.
const WORTH_A_SWITCH: usize = 8;

/// Up to this many old bytes the `bsdiff` crate sorts them faster than libsais clears its buckets of 2^16 pairs.
const SMALL: usize = 64 * 1024;

/// Diffs `new` against `old`, each shorter than 2 GiB. Takes about five bytes for each of `old`.
pub(super) fn diff(old: &[u8], new: &[u8]) -> Result<Diff, GenerateError> {
    if old.len() <= SMALL {
        diff_small(old, new)
    } else {
        diff_large(old, new)
    }
}

fn diff_small(old: &[u8], new: &[u8]) -> Result<Diff, GenerateError> {
    let failed = |error| GenerateError::Encode {
        coder: "bsdiff",
        error,
    };
    let mut records = Vec::new();
    bsdiff::diff(old, new, &mut records).map_err(failed)?;
    Diff::from_records(&records).ok_or_else(|| failed(io::Error::other("a patch record is cut off")))
}

fn diff_large(old: &[u8], new: &[u8]) -> Result<Diff, GenerateError> {
    let suffixes = Suffixes::new(old)?;
    let mut output = Diff::default();
    let mut last = Match { old: 0, new: 0 };
    // Where the match under inspection begins in both, and its exact length.
    let mut here = Match { old: 0, new: 0 };
    let mut length = 0;
    while here.new < new.len() {
        here.new += length;
        // How many of the bytes of the new match the last one would also get right.
        let mut aligned = 0;
        let mut counted = here.new;
        while here.new < new.len() {
            (here.old, length) = suffixes.longest_match(&new[here.new..]);
            while counted < here.new + length {
                aligned += usize::from(last.agrees(old, new, counted));
                counted += 1;
            }
            if (length == aligned && length != 0) || length > aligned + WORTH_A_SWITCH {
                break;
            }
            aligned -= usize::from(last.agrees(old, new, here.new)).min(aligned);
            here.new += 1;
        }
        if length != aligned || here.new == new.len() {
            output.emit(old, new, &mut last, here);
        }
    }
    Ok(output)
}

/// A place in the old bytes and the place in the new ones that was made from it.
#[derive(Clone, Copy)]
struct Match {
    old: usize,
    new: usize,
}

impl Match {
    /// Whether `new[at]` is what this match, carried on, says.
    fn agrees(&self, old: &[u8], new: &[u8], at: usize) -> bool {
        // Before the match's beginning the addition comes first, so nothing here is negative unless out of range.
        (self.old + at)
            .checked_sub(self.new)
            .and_then(|place| old.get(place))
            == new.get(at)
    }
}

impl Diff {
    /// Splits what the `bsdiff` crate writes into streams: records of one control triple, its diff and its extra bytes.
    fn from_records(mut records: &[u8]) -> Option<Self> {
        let mut output = Self::default();
        while !records.is_empty() {
            let (control, rest) = records.split_at_checked(24)?;
            let (diff_length, others) = control.split_first_chunk()?;
            let (extra_length, _) = others.split_first_chunk()?;
            let (diff, rest) = rest.split_at_checked(decode_integer(*diff_length).try_into().ok()?)?;
            let (extra, rest) = rest.split_at_checked(decode_integer(*extra_length).try_into().ok()?)?;
            output.control.extend_from_slice(control);
            output.diff.extend_from_slice(diff);
            output.extra.extend_from_slice(extra);
            records = rest;
        }
        Some(output)
    }

    /// Writes what lies between two matches: the first carried on, extra bytes, the second carried back.
    fn emit(&mut self, old: &[u8], new: &[u8], last: &mut Match, next: Match) {
        let mut forward = carry(
            (0..next.new - last.new).map_while(|n| Some(old.get(last.old + n)? == new.get(last.new + n)?)),
        );
        let mut back = if next.new < new.len() {
            let longest = (next.new - last.new).min(next.old);
            carry((1..=longest).map(|n| old[next.old - n] == new[next.new - n]))
        } else {
            0
        };
        let overlap = (forward + back).saturating_sub(next.new - last.new);
        if overlap > 0 {
            let keep = split(old, new, *last, next, forward, back, overlap);
            forward = forward + keep - overlap;
            back -= keep;
        }
        let extra = last.new + forward..next.new - back;
        let seek = (next.old as i64 - back as i64) - (last.old + forward) as i64;
        self.control.extend(encode_integer(forward as i64));
        self.control.extend(encode_integer(extra.len() as i64));
        self.control.extend(encode_integer(seek));
        let pairs = new[last.new..last.new + forward]
            .iter()
            .zip(&old[last.old..last.old + forward]);
        self.diff.extend(pairs.map(|(new, old)| new.wrapping_sub(*old)));
        self.extra.extend_from_slice(&new[extra]);
        *last = Match {
            old: next.old - back,
            new: next.new - back,
        };
    }
}

/// How far to carry a match on so that of the bytes gained most agree: the maximum of 2 × agreeing − length.
fn carry(agreeing: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut length) = (0_i64, 0_i64, 0);
    for (n, agrees) in agreeing.enumerate() {
        score += if agrees { 1 } else { -1 };
        if score > best {
            best = score;
            length = n + 1;
        }
    }
    length
}

/// Of the bytes that both matches claim, how many the first should keep.
fn split(
    old: &[u8],
    new: &[u8],
    last: Match,
    next: Match,
    forward: usize,
    back: usize,
    overlap: usize,
) -> usize {
    let (mut score, mut best, mut keep) = (0_i64, 0_i64, 0);
    for n in 0..overlap {
        let place = last.new + forward - overlap + n;
        score += i64::from(new[place] == old[last.old + forward - overlap + n]);
        score -= i64::from(new[next.new - back + n] == old[next.old - back + n]);
        if score > best {
            best = score;
            keep = n + 1;
        }
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bspatch as its author describes it, in memory.
    fn patched(old: &[u8], patch: &Diff) -> Vec<u8> {
        let (mut new, mut diff, mut extra, mut place) =
            (Vec::new(), &patch.diff[..], &patch.extra[..], 0_i64);
        for triple in patch.control.chunks(24) {
            let number = |at: usize| decode_integer(triple[at..at + 8].try_into().unwrap());
            let (copied, added) = (number(0) as usize, number(8) as usize);
            let from = &old[place as usize..place as usize + copied];
            new.extend(
                from.iter()
                    .zip(&diff[..copied])
                    .map(|(old, diff)| old.wrapping_add(*diff)),
            );
            new.extend_from_slice(&extra[..added]);
            (diff, extra) = (&diff[copied..], &extra[added..]);
            place += copied as i64 + number(16);
        }
        new
    }

    #[test]
    fn both_ways_make_the_same_bytes() {
        let old: Vec<u8> = (0..40_000_u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes())
            .collect();
        let mut new = old[9_000..].to_vec();
        new.extend_from_slice(&old[..7_000]);
        new.splice(50_000..50_000, *b"something that was not there");
        for byte in new.iter_mut().step_by(997) {
            *byte = byte.wrapping_add(3);
        }
        for (old, new) in [
            (&old[..], &new[..]),
            (&old, &[]),
            (&[], &new),
            (&old[..1], &new[..1]),
        ] {
            assert_eq!(patched(old, &diff_small(old, new).unwrap()), new);
            assert_eq!(patched(old, &diff_large(old, new).unwrap()), new);
        }
        let patch = diff_large(&old, &new).unwrap();
        assert!(
            patch.extra.len() < 2_000,
            "{} bytes were not found in the old ones",
            patch.extra.len()
        );
    }
}
