//! Deltas: zeros, copies, then diffs of what is left.

use std::io::Write;

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::copies::Fate;
use super::full::{blob, chunks, replace, replace_all};
use super::ordered::ordered;
use super::plan::{Step, plan};
use super::scan::{by_name, read, scan};
use super::similar::{Sampler, Similar, Votes, windows};
use super::{Encoded, GenerateError, Options, Progress, Stage, diff, encode};
use crate::format::{Action, Extent, Operation, PatchKind, Source};
use crate::storage::Image;
use crate::write::{MINOR_DELTA, PayloadWriter, Summary};

/// Writes a delta that makes `new` of `old`. A partition without an old image is sent whole; an old image without a
/// new one is ignored.
pub fn write_delta(
    old: &[Image],
    new: &[Image],
    options: &Options,
    progress: &dyn Progress,
    out: &mut impl Write,
) -> Result<Summary, GenerateError> {
    if by_name(new)?.is_empty() {
        return Err(GenerateError::NoImages);
    }
    let old = by_name(old)?;
    let mut payload = PayloadWriter::new(MINOR_DELTA, &options.scratch).map_err(GenerateError::Write)?;
    for image in new {
        match old.get(image.name.as_str()) {
            Some(old) => partition(old, image, options, progress, &mut payload)?,
            None => {
                let scan = scan(image, progress, |_, _| ())?;
                payload.partition(&image.name, None, scan.info, scan.padding);
                let whole = Extent {
                    start: 0,
                    blocks: scan.blocks.len() as u64,
                };
                replace_all(
                    image,
                    &chunks(whole),
                    scan.info.size,
                    options,
                    progress,
                    &mut payload,
                )?;
            }
        }
    }
    payload.finish(out).map_err(GenerateError::Write)
}

fn partition(
    old: &Image,
    new: &Image,
    options: &Options,
    progress: &dyn Progress,
    payload: &mut PayloadWriter,
) -> Result<(), GenerateError> {
    let size = old.bytes.size().map_err(|error| GenerateError::Read {
        partition: old.name.clone(),
        error,
    })?;
    let mut sampler = Sampler::new(size);
    let old_scan = scan(old, progress, |offset, bytes| sampler.add(offset, bytes))?;
    let new_scan = scan(new, progress, |_, _| ())?;
    payload.partition(&new.name, Some(old_scan.info), new_scan.info, new_scan.padding);
    let plan = plan(&old_scan, &new_scan, CHUNK_BLOCKS);
    let encoder = Encoder {
        old,
        new,
        old_blocks: old_scan.blocks.len() as u64,
        fates: &plan.fates,
        similar: sampler.finish(),
        options,
    };
    let mut done = 0;
    ordered(
        options.threads,
        &plan.steps,
        |step| encoder.step(step),
        |step, encoded: Vec<Encoded>| {
            for encoded in encoded {
                payload
                    .operation(&encoded.operation, &encoded.data)
                    .map_err(GenerateError::Write)?;
            }
            done += step.size();
            progress.advance(Stage::Encode, done, new_scan.info.size);
            Ok(())
        },
    )
}

/// Left blocks that are diffed together: enough for a coder to learn from, few enough for one suffix array.
const CHUNK_BLOCKS: u64 = (2 << 20) / BLOCK_SIZE;

/// Old blocks that one patch reads, for each new one and in any case: a device hashes them before it patches.
const SOURCE_FACTOR: u64 = 3;
const SOURCE_LEAST: u64 = 256;

/// The longest patch, in bytes: a device holds it in memory.
const LONGEST_PATCH: usize = 2 << 20;

/// What encoding a partition's steps needs.
struct Encoder<'a> {
    old: &'a Image<'a>,
    new: &'a Image<'a>,
    old_blocks: u64,
    fates: &'a [Fate],
    similar: Similar,
    options: &'a Options,
}

impl Encoder<'_> {
    fn step(&self, step: &Step) -> Result<Vec<Encoded>, GenerateError> {
        match step {
            Step::Zero(extents) => {
                let operation = Operation {
                    action: Action::Zero,
                    destination: extents.clone(),
                };
                Ok(vec![Encoded {
                    operation,
                    data: Vec::new(),
                }])
            }
            Step::Copy(to, from) => {
                let source = source(from, &read(self.old, from)?);
                let operation = Operation {
                    action: Action::Copy { source },
                    destination: vec![*to],
                };
                Ok(vec![Encoded {
                    operation,
                    data: Vec::new(),
                }])
            }
            Step::Send(extents) => self.send(extents),
        }
    }

    fn send(&self, extents: &[Extent]) -> Result<Vec<Encoded>, GenerateError> {
        let data = read(self.new, extents)?;
        let from = self.sources(extents, &data);
        if from.is_empty() {
            return self.replace(extents);
        }
        let old = read(self.old, &from)?;
        let patch = encode::patch(&diff::diff(&old, &data)?, data.len())?;
        if patch.len() > LONGEST_PATCH
            && let Some((one, other)) = halves(extents)
        {
            let mut encoded = self.send(&one)?;
            encoded.extend(self.send(&other)?);
            return Ok(encoded);
        }
        if patch.len() > data.len() / 4 {
            let replaced = self.replace(extents)?;
            if replaced.iter().map(Encoded::cost).sum::<usize>() <= patch.len() {
                return Ok(replaced);
            }
        }
        let action = Action::Patch {
            kind: PatchKind::Brotli,
            source: source(&from, &old),
            blob: blob(&patch),
        };
        Ok(vec![Encoded {
            operation: Operation {
                action,
                destination: extents.to_vec(),
            },
            data: patch,
        }])
    }

    fn replace(&self, extents: &[Extent]) -> Result<Vec<Encoded>, GenerateError> {
        let pieces = extents.iter().flat_map(|extent| chunks(*extent));
        pieces
            .map(|piece| replace(piece, &read(self.new, &[piece])?, self.options))
            .collect()
    }

    /// The old blocks that look most like these new ones.
    fn sources(&self, extents: &[Extent], data: &[u8]) -> Vec<Extent> {
        let mut votes = Votes::new();
        let mut rest = data;
        for extent in extents {
            let (now, later) = rest.split_at((extent.blocks * BLOCK_SIZE) as usize);
            self.similar.vote(now, &mut votes);
            self.vote_for_neighbours(extent, &mut votes);
            rest = later;
        }
        let blocks = extents.iter().map(|extent| extent.blocks).sum::<u64>();
        windows(
            &votes,
            (blocks * SOURCE_FACTOR).max(SOURCE_LEAST),
            self.old_blocks,
        )
    }

    /// What follows a copied block was probably made from what followed the block it was copied from.
    fn vote_for_neighbours(&self, extent: &Extent, votes: &mut Votes) {
        const WEIGHT: u32 = 100;
        const REACH: u64 = 16;
        let fate = |at: u64| self.fates.get(usize::try_from(at).ok()?);
        if let Some(Fate::Copy(from)) = extent.start.checked_sub(1).and_then(fate) {
            for block in from + 1..(from + 1 + extent.blocks.min(REACH)).min(self.old_blocks) {
                *votes.entry(block).or_default() += WEIGHT;
            }
        }
        if let Some(Fate::Copy(from)) = fate(extent.end()) {
            for block in from.saturating_sub(extent.blocks.min(REACH))..*from {
                *votes.entry(block).or_default() += WEIGHT;
            }
        }
    }
}

fn source(extents: &[Extent], bytes: &[u8]) -> Source {
    Source {
        extents: extents.to_vec(),
        sha256: Sha256Digest(Sha256::digest(bytes).into()),
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
