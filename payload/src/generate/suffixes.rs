//! Longest matches in the old bytes, by a suffix array.

use std::io;

use libsais::SuffixArrayConstruction;

use super::GenerateError;

/// A text and all its suffixes in order.
pub(super) struct Suffixes<'a> {
    text: &'a [u8],
    array: Vec<i32>,
    /// Where the suffixes begin that begin with each pair of bytes: the first 16 steps of a binary search.
    pairs: Vec<u32>,
}

impl<'a> Suffixes<'a> {
    /// Takes four bytes for each byte of the text, which must be shorter than 2 GiB.
    pub(super) fn new(text: &'a [u8]) -> Result<Self, GenerateError> {
        let array = SuffixArrayConstruction::for_text(text)
            .in_owned_buffer32()
            .single_threaded()
            .run();
        let array = array.map_err(|error| GenerateError::Encode {
            coder: "bsdiff",
            error: io::Error::other(error),
        })?;
        let mut pairs = vec![0_u32; PAIRS + 1];
        for at in 0..text.len() {
            // The last suffix has one byte and comes before all that begin with it.
            pairs[pair(&text[at..]) + 1] += 1;
        }
        for key in 0..PAIRS {
            pairs[key + 1] += pairs[key];
        }
        Ok(Self {
            text,
            array: array.into_vec(),
            pairs,
        })
    }

    /// Where the longest beginning of `needle` is found, and how long it is.
    pub(super) fn longest_match(&self, needle: &[u8]) -> (usize, usize) {
        let Some(first) = needle.first() else {
            return (0, 0);
        };
        let key = pair(needle);
        let (mut low, mut high) = (self.pairs[key] as usize, self.pairs[key + 1] as usize);
        if low == high || needle.len() == 1 {
            let (low, high) = (
                self.pairs[usize::from(*first) << 8],
                self.pairs[(usize::from(*first) + 1) << 8],
            );
            return if low < high {
                (self.array[low as usize] as usize, 1)
            } else {
                (0, 0)
            };
        }
        // The needle sorts between its neighbours `low - 1` and `low` at the end; one of them is the longest match.
        let mut best = (0, 0);
        let (mut below, mut above) = (0, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.array[middle] as usize;
            let known = below.min(above);
            let length = known + common(&self.text[at + known..], &needle[known..]);
            if length > best.1 {
                best = (at, length);
            }
            match (needle.get(length), self.text.get(at + length)) {
                (None, _) => return best,
                (Some(wanted), Some(found)) if wanted < found => {
                    high = middle;
                    above = length;
                }
                _ => {
                    low = middle + 1;
                    below = length;
                }
            }
        }
        best
    }
}

const PAIRS: usize = 1 << 16;

fn pair(text: &[u8]) -> usize {
    let first = text.first().copied().unwrap_or(0);
    let second = text.get(1).copied().unwrap_or(0);
    usize::from(first) << 8 | usize::from(second)
}

fn common(one: &[u8], other: &[u8]) -> usize {
    // Eight bytes at a time: matches are often kilobytes long.
    let words = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
    let start = words.take_while(|(one, other)| one == other).count() * 8;
    start
        + one[start..]
            .iter()
            .zip(&other[start..])
            .take_while(|(one, other)| one == other)
            .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_naive_search_finds() {
        let text: Vec<u8> = (0..3000_u32).map(|n| (n * n / 7 % 11) as u8).collect();
        let suffixes = Suffixes::new(&text).unwrap();
        for seed in 0..2000_u32 {
            let needle: Vec<u8> = (0..20)
                .map(|n| ((seed + n) * (seed + n) / 7 % 12) as u8)
                .collect();
            let naive = (0..text.len())
                .map(|at| common(&text[at..], &needle))
                .max()
                .unwrap();
            let (at, length) = suffixes.longest_match(&needle);
            assert_eq!(length, naive, "{needle:?}");
            assert_eq!(text[at..at + length], needle[..length]);
        }
    }

    #[test]
    fn small_texts() {
        for text in [&b""[..], b"a", b"ab", b"aa"] {
            let suffixes = Suffixes::new(text).unwrap();
            assert_eq!(suffixes.longest_match(b"").1, 0);
            assert_eq!(suffixes.longest_match(b"z").1, 0);
            assert_eq!(suffixes.longest_match(b"ab").1, common_any(text, b"ab"));
            assert_eq!(suffixes.longest_match(b"a").1, common_any(text, b"a"));
        }
    }

    fn common_any(text: &[u8], needle: &[u8]) -> usize {
        (0..text.len())
            .map(|at| common(&text[at..], needle))
            .max()
            .unwrap_or(0)
    }
}
