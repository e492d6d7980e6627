//! Which blocks each operation makes, and from what, before anything is compressed.

use millet_protocol::BLOCK_SIZE;

use super::Encoded;
use super::copies::{self, Fate};
use super::encoder::pieces;
use super::pair::Pair;
use crate::format::{Extent, size_of};

/// Bytes that one operation writes at most: a checkpoint can only lie between two operations.
const MOST_PER_OPERATION: u64 = (16 << 20) / BLOCK_SIZE;

/// Extents of one operation at most.
const MOST_EXTENTS: usize = 512;

/// Left blocks that are diffed together: enough for a coder to learn from, few enough for one suffix array.
const SENT_TOGETHER: u64 = (8 << 20) / BLOCK_SIZE;

/// One operation, or a few, in the making.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Zeros.
    Zero(Vec<Extent>),
    /// One extent, made of old ones in this order.
    Copy(Extent, Vec<Extent>),
    /// Blocks that are not in the old image, to be diffed or sent.
    Send(Vec<Extent>),
    /// An operation that was made before the plan.
    Made(Encoded),
}

impl Step {
    fn first(&self) -> u64 {
        let extents = match self {
            Self::Zero(extents) | Self::Send(extents) => extents,
            Self::Made(encoded) => &encoded.operation.destination,
            Self::Copy(extent, _) => return extent.start,
        };
        extents.first().map_or(0, |extent| extent.start)
    }

    /// How long it takes, in copied bytes: one that is sent takes as long as a hundred that are copied.
    pub(super) fn effort(&self) -> u64 {
        match self {
            Self::Send(extents) => size_of(extents) * 100,
            Self::Copy(extent, _) => extent.blocks * BLOCK_SIZE,
            Self::Zero(_) | Self::Made(_) => 0,
        }
    }
}

/// Plans a partition: its steps, in the order of the blocks they begin with. `patches` make the blocks that are marked
/// as made.
pub(super) fn plan(pair: &Pair, patches: Vec<Encoded>) -> Vec<Step> {
    let Some(old) = &pair.old else {
        let whole = Extent {
            start: 0,
            blocks: pair.scan.blocks.len() as u64,
        };
        return pieces(whole).map(|piece| Step::Send(vec![piece])).collect();
    };
    let (mut zeros, mut sent) = (Gather::new(MOST_PER_OPERATION), Gather::new(SENT_TOGETHER));
    let mut steps: Vec<Step> = patches.into_iter().map(Step::Made).collect();
    for (extent, fate) in copies::runs(&old.fates) {
        match fate {
            Fate::Zero => zeros.add(extent),
            Fate::Left => sent.add(extent),
            Fate::Copy(_) => copy_steps(extent, &old.fates, &mut steps),
            Fate::Made => {}
        }
    }
    steps.extend(zeros.finish().into_iter().map(Step::Zero));
    steps.extend(sent.finish().into_iter().map(Step::Send));
    steps.sort_by_key(Step::first);
    steps
}

fn copy_steps(extent: Extent, fates: &[Fate], steps: &mut Vec<Step>) {
    for at in extent.start..extent.end() {
        let Fate::Copy(from) = fates[at as usize] else {
            continue;
        };
        let append = match steps.last_mut() {
            Some(Step::Copy(to, sources)) if to.end() == at && to.blocks < MOST_PER_OPERATION => {
                let room = sources.len() < MOST_EXTENTS;
                let appended = match sources.last_mut() {
                    Some(source) if source.end() == from => {
                        source.blocks += 1;
                        true
                    }
                    _ if room => {
                        sources.push(Extent {
                            start: from,
                            blocks: 1,
                        });
                        true
                    }
                    _ => false,
                };
                to.blocks += u64::from(appended);
                appended
            }
            _ => false,
        };
        if !append {
            steps.push(Step::Copy(
                Extent { start: at, blocks: 1 },
                vec![Extent {
                    start: from,
                    blocks: 1,
                }],
            ));
        }
    }
}

/// Collects extents into groups of bounded size.
struct Gather {
    most_blocks: u64,
    blocks: u64,
    group: Vec<Extent>,
    groups: Vec<Vec<Extent>>,
}

impl Gather {
    fn new(most_blocks: u64) -> Self {
        Self {
            most_blocks,
            blocks: 0,
            group: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn add(&mut self, mut extent: Extent) {
        while extent.blocks > 0 {
            if self.blocks == self.most_blocks || self.group.len() == MOST_EXTENTS {
                self.groups.push(std::mem::take(&mut self.group));
                self.blocks = 0;
            }
            let now = Extent {
                start: extent.start,
                blocks: extent.blocks.min(self.most_blocks - self.blocks),
            };
            self.group.push(now);
            self.blocks += now.blocks;
            extent = Extent {
                start: now.end(),
                blocks: extent.blocks - now.blocks,
            };
        }
    }

    fn finish(mut self) -> Vec<Vec<Extent>> {
        if !self.group.is_empty() {
            self.groups.push(self.group);
        }
        self.groups
    }
}
