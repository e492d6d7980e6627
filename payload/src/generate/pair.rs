//! A partition's two images, read once: what of the new one is already in the old one.

use std::collections::{BTreeMap, BTreeSet};

use millet_protocol::BLOCK_SIZE;

use super::alike;
use super::copies::{self, Fate};
use super::scan::{Scan, scan};
use super::similar::{Sampler, Similar};
use super::{GenerateError, Progress, Warning};
use crate::filesystem::{self, File};
use crate::storage::{Image, Padded, ReadAt};

/// An image of the payload with the one that it is made from.
pub(super) struct Pair<'a> {
    pub(super) new: &'a Image<'a>,
    pub(super) scan: Scan,
    pub(super) old: Option<Old<'a>>,
}

/// An old image, and what is known of the new one because of it.
pub(super) struct Old<'a> {
    pub(super) image: &'a Image<'a>,
    pub(super) scan: Scan,
    /// Where something like a stretch of the new image is.
    pub(super) similar: Similar,
    /// How each new block is made.
    pub(super) fates: Vec<Fate>,
    /// New files that must be sent at least in part, each with the old file that it was probably made from.
    pub(super) files: Vec<(File, File)>,
    /// For each new block of such a file the old block at about the same place of its old file.
    pub(super) counterparts: BTreeMap<u64, u64>,
}

/// Copies and zeros of up to this many blocks between left blocks are diffed along with them: a patch says that for
/// less than the head's extents and hashes.
const ISLAND: u64 = 8;

impl<'a> Pair<'a> {
    /// Reads both images once, and the trees of their filesystems. `samples` bounds what is remembered of the old one;
    /// `done` hears bytes read since the last call.
    pub(super) fn read(
        old: Option<&'a Image<'a>>,
        new: &'a Image<'a>,
        samples: u64,
        progress: &dyn Progress,
        done: &mut dyn FnMut(u64),
    ) -> Result<Self, GenerateError> {
        let old = match old {
            None => None,
            Some(image) => {
                let size = size(image)?;
                let mut sampler = Sampler::new(size, samples);
                let scan = scan(image, done, |offset, bytes| sampler.add(offset, bytes))?;
                Some((image, scan, sampler.finish()))
            }
        };
        let scan = scan(new, done, |_, _| ())?;
        let old = match old {
            None => None,
            Some((image, old_scan, similar)) => {
                let mut fates = copies::fates(&old_scan.blocks, &scan.blocks);
                copies::absorb_islands(&mut fates, ISLAND);
                let (old_files, new_files) = (files(image, progress), files(new, progress));
                let files = paired((image, &old_files), (new, &new_files), &fates)?;
                Some(Old {
                    image,
                    scan: old_scan,
                    similar,
                    counterparts: counterparts(&files),
                    fates,
                    files,
                })
            }
        };
        Ok(Self { new, scan, old })
    }
}

/// Bytes of an image, padded to whole blocks.
pub(super) fn size(image: &Image) -> Result<u64, GenerateError> {
    let fail = |error| GenerateError::Read {
        partition: image.name.clone(),
        error,
    };
    Padded::new(image.bytes)
        .and_then(|padded| padded.size())
        .map_err(fail)
}

/// The files of an image; none if its filesystem is unknown or cannot be read, which costs bytes and nothing else.
fn files(image: &Image, progress: &dyn Progress) -> Vec<File> {
    match filesystem::files(image.bytes) {
        Ok(found) => found.files,
        Err(error) => {
            progress.warn(&Warning::Filesystem {
                partition: image.name.clone(),
                error,
            });
            Vec::new()
        }
    }
}

/// New files with something to send, each with its old file: the one at its path; else, of those whose path is gone, one
/// of its name, the nearest in size; else the one whose content is most like its own.
fn paired(
    (old_image, old): (&Image, &[File]),
    (new_image, new): (&Image, &[File]),
    fates: &[Fate],
) -> Result<Vec<(File, File)>, GenerateError> {
    let by_path: BTreeMap<&str, &File> = old.iter().map(|file| (file.path.as_str(), file)).collect();
    let paths: BTreeSet<&str> = new.iter().map(|file| file.path.as_str()).collect();
    let gone = |file: &&File| !paths.contains(file.path.as_str());
    let gone: Vec<&File> = old.iter().filter(gone).collect();
    let mut by_name: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in &gone {
        by_name.entry(name(file)).or_default().push(file);
    }
    let named = |file: &File| {
        let nearest = |named: &Vec<&'_ File>| {
            let distance = |old: &&File| old.size.abs_diff(file.size);
            named.iter().copied().min_by_key(distance).cloned()
        };
        match by_path.get(file.path.as_str()) {
            Some(same) => Some((*same).clone()),
            None => by_name.get(name(file)).and_then(nearest),
        }
    };
    let is_left = |file: &&File| {
        let mut blocks = file.extents.iter().flat_map(|extent| extent.start..extent.end());
        blocks.any(|block| fates.get(block as usize) == Some(&Fate::Left))
    };
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for file in new.iter().filter(is_left) {
        match named(file) {
            Some(old) => pairs.push((file.clone(), old)),
            None => alone.push(file),
        }
    }
    let most = size(old_image)?.max(size(new_image)?);
    let alike = alike::alike((old_image, &gone), (new_image, &alone), most)?;
    for (file, found) in alone.into_iter().zip(alike) {
        if let Some(old) = found.and_then(|index| gone.get(index)) {
            pairs.push((file.clone(), (*old).clone()));
        }
    }
    // Of a block in two files the one that was paired more surely decides, and after that the order of paths.
    Ok(pairs)
}

fn name(file: &File) -> &str {
    file.path.rsplit('/').next().unwrap_or(&file.path)
}

/// The old block in the same proportion of its file, for every block of a paired file.
fn counterparts(files: &[(File, File)]) -> BTreeMap<u64, u64> {
    let mut counterparts = BTreeMap::new();
    for (new, old) in files {
        let blocks = |file: &File| -> Vec<u64> {
            file.extents
                .iter()
                .flat_map(|extent| extent.start..extent.end())
                .collect()
        };
        let (new, old) = (blocks(new), blocks(old));
        let last = old.len().saturating_sub(1);
        for (at, block) in new.iter().enumerate() {
            // Files of nearly the same length are compared block by block, others by the share that lies before.
            let place = if new.len().abs_diff(old.len()) <= 2 {
                at
            } else {
                at * old.len() / new.len()
            };
            if let Some(from) = old.get(place.min(last)) {
                counterparts.entry(*block).or_insert(*from);
            }
        }
    }
    counterparts
}

/// Bytes of a file's blocks.
pub(super) fn blocks_size(file: &File) -> u64 {
    file.extents.iter().map(|extent| extent.blocks * BLOCK_SIZE).sum()
}
