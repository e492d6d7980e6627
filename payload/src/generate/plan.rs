//! Which blocks each operation makes, and from what, before anything is compressed.

use millet_protocol::BLOCK_SIZE;

use super::copies::{self, Fate};
use super::scan::Scan;
use crate::format::Extent;

/// Bytes that one operation writes at most: a checkpoint can only lie between two operations.
const MOST_PER_OPERATION: u64 = (16 << 20) / BLOCK_SIZE;

/// Extents of one operation at most.
const MOST_EXTENTS: usize = 512;

/// Copies and zeros of up to this many blocks between left blocks are diffed along with them.
const ISLAND: u64 = 2;

/// One operation, or a few, in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Zeros.
    Zero(Vec<Extent>),
    /// One extent, made of old ones in this order.
    Copy(Extent, Vec<Extent>),
    /// Blocks that are not in the old image, to be diffed or sent.
    Send(Vec<Extent>),
}

impl Step {
    fn first(&self) -> u64 {
        match self {
            Self::Zero(extents) | Self::Send(extents) => extents.first().map_or(0, |extent| extent.start),
            Self::Copy(extent, _) => extent.start,
        }
    }

    /// Bytes that it makes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Zero(extents) | Self::Send(extents) => crate::format::size_of(extents),
            Self::Copy(extent, _) => extent.blocks * BLOCK_SIZE,
        }
    }
}

/// A partition's steps, in the order of the blocks they begin with.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What was decided for each block.
    pub(super) fates: Vec<Fate>,
}

/// Plans a partition. Left blocks are sent in chunks of up to `chunk` blocks.
pub(super) fn plan(old: &Scan, new: &Scan, chunk: u64) -> Plan {
    let mut fates = copies::fates(&old.blocks, &new.blocks);
    copies::absorb_islands(&mut fates, ISLAND);
    let (mut zeros, mut sent) = (Gather::new(MOST_PER_OPERATION), Gather::new(chunk));
    let mut steps = Vec::new();
    for (extent, fate) in copies::runs(&fates) {
        match fate {
            Fate::Zero => zeros.add(extent),
            Fate::Left => sent.add(extent),
            Fate::Copy(_) => copy_steps(extent, &fates, &mut steps),
        }
    }
    steps.extend(zeros.finish().into_iter().map(Step::Zero));
    steps.extend(sent.finish().into_iter().map(Step::Send));
    steps.sort_by_key(Step::first);
    Plan { steps, fates }
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
