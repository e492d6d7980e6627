//! From a step of the plan to operations, each in its smallest form.

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::copies::Fate;
use super::pair::{Old, Pair};
use super::plan::Step;
use super::scan::read;
use super::similar::{Votes, windows};
use super::{Encoded, GenerateError, OnlyOperation, Options, diff, encode};
use crate::format::{Action, Blob, Extent, Operation, PatchKind, Source};

/// Blocks that one replacement makes: 2 MiB, as AOSP's full payloads have it.
const REPLACED_BLOCKS: u64 = (2 << 20) / BLOCK_SIZE;

/// Old blocks that one patch reads, for each new one and in any case: a device hashes them before it patches.
const SOURCE_FACTOR: u64 = 3;
const SOURCE_LEAST: u64 = 256;

/// The longest patch, in bytes: a device holds it in memory.
pub(super) const LONGEST_PATCH: usize = 2 << 20;

/// Encodes what a partition needs.
pub(super) struct Encoder<'a> {
    pub(super) pair: &'a Pair<'a>,
    pub(super) options: &'a Options,
}

impl Encoder<'_> {
    /// The operations of a step.
    pub(super) fn step(&self, step: &Step) -> Result<Vec<Encoded>, GenerateError> {
        let operation = |action, destination| {
            vec![Encoded {
                operation: Operation { action, destination },
                data: Vec::new(),
            }]
        };
        match (step, &self.pair.old) {
            (Step::Zero(extents), _) => Ok(operation(Action::Zero, extents.clone())),
            (Step::Copy(to, from), Some(old)) => {
                let source = source(from, &read(old.image, from)?);
                Ok(operation(Action::Copy { source }, vec![*to]))
            }
            (Step::Copy(to, _), None) => self.replace(&[*to]),
            (Step::Send(extents), _) => self.send(extents),
            (Step::Made(encoded), _) => Ok(vec![encoded.clone()]),
        }
    }

    /// Blocks that are not in the old image: patched from those that look most like them, or replaced.
    pub(super) fn send(&self, extents: &[Extent]) -> Result<Vec<Encoded>, GenerateError> {
        let only = self.options.only;
        let Some(old) = self
            .pair
            .old
            .as_ref()
            .filter(|_| !only.is_some_and(OnlyOperation::replaces))
        else {
            return self.replace(extents);
        };
        let data = read(self.pair.new, extents)?;
        let from = sources(old, extents, &data);
        if from.is_empty() {
            return self.replace(extents);
        }
        let old_data = read(old.image, &from)?;
        let difference = diff::diff(&old_data, &data)?;
        let (kind, patch) = match only {
            Some(OnlyOperation::SourceBsdiff) => {
                (PatchKind::Bsdiff, encode::bsdiff40(&difference, data.len())?)
            }
            _ => (PatchKind::Brotli, encode::patch(&difference, data.len())?),
        };
        if patch.len() > LONGEST_PATCH
            && let Some((one, other)) = halves(extents)
        {
            let mut encoded = self.send(&one)?;
            encoded.extend(self.send(&other)?);
            return Ok(encoded);
        }
        // What compresses to a quarter by a patch does not do so alone.
        if patch.len() > data.len() / 4 && only.is_none() {
            let replaced = self.replace(extents)?;
            if Encoded::costs(&replaced) <= patch.len() {
                return Ok(replaced);
            }
        }
        Ok(vec![patched(kind, extents, source(&from, &old_data), patch)])
    }

    /// Blocks from the payload itself, one operation for each piece of an extent.
    fn replace(&self, extents: &[Extent]) -> Result<Vec<Encoded>, GenerateError> {
        let replace = |piece: Extent| {
            let (coder, data) = encode::replacement(&read(self.pair.new, &[piece])?, self.options)?;
            let action = Action::Replace {
                coder,
                blob: blob(&data),
            };
            Ok(Encoded {
                operation: Operation {
                    action,
                    destination: vec![piece],
                },
                data,
            })
        };
        extents
            .iter()
            .flat_map(|extent| pieces(*extent))
            .map(replace)
            .collect()
    }
}

/// Cuts an extent into pieces that one replacement each may make.
pub(super) fn pieces(whole: Extent) -> impl Iterator<Item = Extent> {
    let piece = move |start| Extent {
        start,
        blocks: REPLACED_BLOCKS.min(whole.end() - start),
    };
    (whole.start..whole.end())
        .step_by(REPLACED_BLOCKS as usize)
        .map(piece)
}

/// The old blocks that look most like these new ones: those that share windows of bytes, those where the same file had
/// these bytes, and those beside blocks that were copied.
fn sources(old: &Old, extents: &[Extent], data: &[u8]) -> Vec<Extent> {
    let old_blocks = old.scan.blocks.len() as u64;
    let mut votes = Votes::new();
    let mut rest = data;
    for extent in extents {
        let (now, later) = rest.split_at((extent.blocks * BLOCK_SIZE) as usize);
        old.similar.vote(now, &mut votes);
        vote_for_counterparts(old, extent, &mut votes);
        vote_for_neighbours(old, extent, old_blocks, &mut votes);
        rest = later;
    }
    let blocks = extents.iter().map(|extent| extent.blocks).sum::<u64>();
    windows(&votes, (blocks * SOURCE_FACTOR).max(SOURCE_LEAST), old_blocks)
}

/// As much as half a window of bytes: when both say something about a block, the bytes know better.
const COUNTERPART: u32 = 50;

fn vote_for_counterparts(old: &Old, extent: &Extent, votes: &mut Votes) {
    for (_, from) in old.counterparts.range(extent.start..extent.end()) {
        *votes.entry(*from).or_default() += COUNTERPART;
    }
}

/// What follows a copied block was probably made from what followed the block it was copied from.
fn vote_for_neighbours(old: &Old, extent: &Extent, old_blocks: u64, votes: &mut Votes) {
    const WEIGHT: u32 = 100;
    const REACH: u64 = 16;
    let fate = |at: u64| old.fates.get(usize::try_from(at).ok()?);
    if let Some(Fate::Copy(from)) = extent.start.checked_sub(1).and_then(fate) {
        for block in from + 1..(from + 1 + extent.blocks.min(REACH)).min(old_blocks) {
            *votes.entry(block).or_default() += WEIGHT;
        }
    }
    if let Some(Fate::Copy(from)) = fate(extent.end()) {
        for block in from.saturating_sub(extent.blocks.min(REACH))..*from {
            *votes.entry(block).or_default() += WEIGHT;
        }
    }
}

/// An operation with a patch that makes blocks of old ones.
pub(super) fn patched(kind: PatchKind, to: &[Extent], source: Source, patch: Vec<u8>) -> Encoded {
    let blob = blob(&patch);
    Encoded {
        operation: Operation {
            action: Action::Patch { kind, source, blob },
            destination: to.to_vec(),
        },
        data: patch,
    }
}

/// Old blocks and the bytes that they hold.
pub(super) fn source(extents: &[Extent], bytes: &[u8]) -> Source {
    Source {
        extents: extents.to_vec(),
        sha256: Sha256Digest(Sha256::digest(bytes).into()),
    }
}

/// A blob whose offset the writer will know.
fn blob(data: &[u8]) -> Blob {
    Blob {
        offset: 0,
        length: data.len() as u64,
        sha256: Sha256Digest(Sha256::digest(data).into()),
    }
}

/// Two lists of extents of about the same number of blocks; `None` for a single block.
fn halves(extents: &[Extent]) -> Option<(Vec<Extent>, Vec<Extent>)> {
    let blocks: u64 = extents.iter().map(|extent| extent.blocks).sum();
    let mut left = blocks / 2;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for extent in extents {
        let first = extent.blocks.min(left);
        left -= first;
        if first > 0 {
            one.push(Extent {
                start: extent.start,
                blocks: first,
            });
        }
        if first < extent.blocks {
            other.push(Extent {
                start: extent.start + first,
                blocks: extent.blocks - first,
            });
        }
    }
    (!one.is_empty()).then_some((one, other))
}
