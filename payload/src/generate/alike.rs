//! Pairs files by what is in them, for those that neither path nor name pairs: `editor-1.2.apk` became `editor-1.3.apk`.
//!
//! Of everything that can be seen in a file only the least hashes are kept, its sketch. How many of them two files share
//! estimates how much of all they share (Broder, "On the resemblance and containment of documents", 1997).

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use millet_protocol::BLOCK_SIZE;

use super::GenerateError;
use super::scan::read;
use super::similar::{LEAST_RARITY_BITS, samples};
use crate::filesystem::File;
use crate::format::Extent;
use crate::storage::Image;

/// For each new file the index of the old one that is most like it, if one is.
///
/// Reads the files of each side once, in up to `most` bytes: what an image says of its files may overlap.
pub(super) fn alike(
    (old_image, old): (&Image, &[&File]),
    (new_image, new): (&Image, &[&File]),
    most: u64,
) -> Result<Vec<Option<usize>>, GenerateError> {
    if old.is_empty() || new.is_empty() {
        return Ok(vec![None; new.len()]);
    }
    let sketches = Sketches::new(sketch_all(old_image, old, most)?);
    let new_sketches = sketch_all(new_image, new, most)?;
    let best = |(sketch, file): (&Sketch, &&File)| {
        sketches.best(sketch, |index: usize| old[index].size.abs_diff(file.size))
    };
    Ok(new_sketches.iter().zip(new).map(best).collect())
}

/// Hashes in each half of a sketch.
const LEAST: usize = 64;

/// A sketch that shares less, in percent of one half, is no sign of kinship.
const LIKENESS: u32 = 10;

/// A hash that is in more old files than this is a sign of nothing, and following it would take long.
const COMMON: usize = 64;

/// Bytes of a file that are in memory at a time.
const PIECE: u64 = (1 << 20) / BLOCK_SIZE;

/// The least hashes of what is in a file, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sketch {
    /// Of windows of its bytes, the same ones that find similar blocks. Compressed members are alike in them only where
    /// they did not change.
    windows: Vec<u32>,
    /// Of the names in a zip: they stay when everything in it changes.
    names: Vec<u32>,
}

impl Sketch {
    fn of(bytes: &[u8]) -> Self {
        let windows = samples(bytes, LEAST_RARITY_BITS).map(|(_, key)| key);
        Self {
            windows: least(windows),
            names: least(zip_names(bytes).map(crc32fast::hash)),
        }
    }

    fn add(&mut self, other: &Self) {
        let merged = |one: &[u32], other: &[u32]| least(one.iter().chain(other).copied());
        self.windows = merged(&self.windows, &other.windows);
        self.names = merged(&self.names, &other.names);
    }
}

fn sketch_all(image: &Image, files: &[&File], most: u64) -> Result<Vec<Sketch>, GenerateError> {
    let mut blocks = most / BLOCK_SIZE;
    let mut sketches = Vec::with_capacity(files.len());
    for file in files {
        let mut sketch = Sketch::default();
        for extent in &file.extents {
            let end = extent.end().min(extent.start.saturating_add(blocks));
            blocks -= end - extent.start;
            for start in (extent.start..end).step_by(PIECE as usize) {
                let piece = Extent {
                    start,
                    blocks: PIECE.min(end - start),
                };
                sketch.add(&Sketch::of(&read(image, &[piece])?));
            }
        }
        sketches.push(sketch);
    }
    Ok(sketches)
}

/// The least different hashes, in order.
fn least(hashes: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut least = BTreeSet::new();
    for hash in hashes {
        let is_full = least.len() == LEAST;
        if is_full && least.last().is_some_and(|last| *last <= hash) {
            continue;
        }
        if least.insert(hash) && is_full {
            least.pop_last();
        }
    }
    least.into_iter().collect()
}

/// The names in a zip's local headers (APPNOTE.TXT 6.3.10, section 4.3.7).
fn zip_names(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    memmem::find_iter(bytes, b"PK\x03\x04").filter_map(|at| {
        let header = bytes.get(at..)?;
        let length = u16::from_le_bytes(*header.get(26..)?.first_chunk()?);
        header.get(30..)?.get(..usize::from(length))
    })
}

/// The sketches of all old files, by their hashes.
struct Sketches {
    sketches: Vec<Sketch>,
    windows: Vec<(u32, u32)>,
    names: Vec<(u32, u32)>,
}

impl Sketches {
    fn new(sketches: Vec<Sketch>) -> Self {
        let sorted = |half: fn(&Sketch) -> &[u32]| {
            let entries = (0_u32..).zip(&sketches).flat_map(|(file, sketch)| {
                let hashes = half(sketch).iter();
                hashes.map(move |hash| (*hash, file))
            });
            let mut entries: Vec<_> = entries.collect();
            entries.sort_unstable();
            entries
        };
        Self {
            windows: sorted(|sketch| &sketch.windows),
            names: sorted(|sketch| &sketch.names),
            sketches,
        }
    }

    /// The file that shares most; of equal ones the nearest by `distance`, then the first.
    fn best(&self, sketch: &Sketch, distance: impl Fn(usize) -> u64) -> Option<usize> {
        let mut likeness = BTreeMap::<usize, u32>::new();
        let mut compare = |index: &[(u32, u32)], hashes: &[u32], half: fn(&Sketch) -> &[u32]| {
            for (file, count) in shared(index, hashes) {
                let of = hashes.len().max(half(&self.sketches[file]).len());
                *likeness.entry(file).or_default() += count * 100 / of as u32;
            }
        };
        compare(&self.windows, &sketch.windows, |old| &old.windows);
        compare(&self.names, &sketch.names, |old| &old.names);
        likeness
            .into_iter()
            .filter(|(_, percent)| *percent >= LIKENESS)
            .max_by_key(|(file, percent)| (*percent, std::cmp::Reverse((distance(*file), *file))))
            .map(|(file, _)| file)
    }
}

/// How many of the hashes each file has.
fn shared(index: &[(u32, u32)], hashes: &[u32]) -> BTreeMap<usize, u32> {
    let mut shared = BTreeMap::new();
    for hash in hashes {
        let first = index.partition_point(|(other, _)| other < hash);
        let rest = &index[first..];
        let count = rest.partition_point(|(other, _)| other == hash);
        if count <= COMMON {
            for (_, file) in &rest[..count] {
                *shared.entry(*file as usize).or_default() += 1;
            }
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::puff::samples::content;

    const BLOCK: usize = BLOCK_SIZE as usize;

    /// An image of files that lie one after the other.
    fn image(contents: &[Vec<u8>]) -> (Vec<u8>, Vec<File>) {
        let (mut bytes, mut files) = (Vec::new(), Vec::new());
        for (index, content) in contents.iter().enumerate() {
            let start = (bytes.len() / BLOCK) as u64;
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            files.push(File {
                path: index.to_string(),
                size: content.len() as u64,
                extents: vec![Extent {
                    start,
                    blocks: (bytes.len() / BLOCK) as u64 - start,
                }],
            });
        }
        (bytes, files)
    }

    fn paired(old: &[Vec<u8>], new: &[Vec<u8>], most: u64) -> Vec<Option<usize>> {
        let ((old_bytes, old_files), (new_bytes, new_files)) = (image(old), image(new));
        let name: millet_protocol::PartitionName = "system".parse().unwrap();
        let named = |bytes| Image {
            name: name.clone(),
            bytes,
        };
        alike(
            (&named(&old_bytes), &old_files.iter().collect::<Vec<_>>()),
            (&named(&new_bytes), &new_files.iter().collect::<Vec<_>>()),
            most,
        )
        .unwrap()
    }

    /// Members of noise: nothing but their names is the same in two seeds.
    fn zip(seed: u64, names: &[&str]) -> Vec<u8> {
        let mut file = Vec::new();
        for (name, seed) in names.iter().zip(seed..) {
            file.extend(b"PK\x03\x04");
            file.resize(file.len() + 22, 0);
            file.extend((name.len() as u16).to_le_bytes());
            file.extend([0, 0]);
            file.extend(name.as_bytes());
            file.extend(noise(seed, 30_000));
        }
        file
    }

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn files_are_paired_by_what_they_share() {
        let old: Vec<_> = (1..6).map(|seed| noise(seed, 200_000)).collect();
        let mut changed = old[3].clone();
        changed.splice(7..7, *b"put in").for_each(drop);
        changed.truncate(150_000);
        let new = [old[1].clone(), noise(99, 200_000), changed];
        assert_eq!(paired(&old, &new, u64::MAX), [Some(1), None, Some(3)]);
        assert_eq!(paired(&old, &[], u64::MAX), []);
        assert_eq!(paired(&[], &new, u64::MAX), [None; 3]);
        // What lies behind the bytes that may be read is not known.
        assert_eq!(paired(&old, &new, 300_000), [Some(1), None, None]);
    }

    #[test]
    fn archives_are_paired_by_the_names_in_them() {
        let names = ["classes.dex", "lib/one.so", "res/icon.png", "resources.arsc"];
        let others = ["classes.dex", "assets/a", "assets/b", "assets/c", "assets/d"];
        let old = [zip(100, &others), zip(200, &names), content(7, 100_000)];
        let new = [zip(300, &names), zip(400, &others)];
        assert_eq!(paired(&old, &new, u64::MAX), [Some(1), Some(0)]);
    }

    #[test]
    fn of_equal_files_the_nearest_in_size_is_taken() {
        let base = noise(5, 400_000);
        let half = |size: usize| [&base[..], &vec![0; size]].concat();
        let old = [half(900_000), half(0), half(10_000), half(10_000)];
        assert_eq!(paired(&old, &[half(12_000)], u64::MAX), [Some(2)]);
    }

    #[test]
    fn what_every_file_has_pairs_none() {
        let old = vec![noise(5, 50_000); COMMON + 1];
        assert_eq!(paired(&old, &[noise(5, 50_000)], u64::MAX), [None]);
        assert_eq!(paired(&old[1..], &[noise(5, 50_000)], u64::MAX), [Some(0)]);
    }

    #[test]
    fn the_least_are_kept() {
        let hashes = (0..1000_u32).map(|n| n.wrapping_mul(0x9e37_79b9));
        let mut sorted: Vec<u32> = hashes.clone().collect();
        sorted.sort_unstable();
        assert_eq!(least(hashes.clone().chain(hashes)), sorted[..LEAST]);
    }
}
