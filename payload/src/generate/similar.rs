//! Where in the old image there is something like a stretch of the new one.
//!
//! Short windows of the old image are hashed as they roll by, and those whose hash happens to begin with zeros are
//! remembered with their block. The same happens to a new stretch: each window found again votes for a block.
//! The windows chosen depend on content alone, so bytes that moved by any distance are found.

use std::collections::BTreeMap;

use millet_protocol::BLOCK_SIZE;

use crate::format::Extent;

/// One window in `1 << LEAST_RARITY_BITS` is remembered at most: 64 in a block.
pub(super) const LEAST_RARITY_BITS: u32 = 6;

/// A window in more blocks than this says nothing about where the rest of a stretch is.
const COMMON: usize = 8;

/// Samples that an image may have in any case, half a megabyte: in few blocks chance alone makes them denser.
const LEAST_ROOM: usize = 1 << 16;

/// Keys have 32 bits.
const ALL_KEYS: u64 = 1 << 32;

/// Collects an old image's samples while it is being read.
pub(super) struct Sampler {
    rarity_bits: u32,
    /// Only windows with a key below this are remembered: all of them, unless there are too many.
    keys_below: u64,
    /// Samples that may be held.
    room: usize,
    samples: Vec<u64>,
}

impl Sampler {
    /// For an image of `image_size` bytes; remembers about `most` windows of 8 bytes each, and never more than four
    /// times as many: twice comes of rounding, the rest leaves alone what is merely unusual.
    pub(super) fn new(image_size: u64, most: u64) -> Self {
        let excess = (image_size / most.max(1)).max(1).ilog2();
        Self {
            rarity_bits: LEAST_RARITY_BITS.max(excess),
            keys_below: ALL_KEYS,
            room: usize::try_from(most.saturating_mul(4)).map_or(usize::MAX, |room| room.max(LEAST_ROOM)),
            samples: Vec::new(),
        }
    }

    /// Takes whole blocks that begin at the byte `offset`.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        for (at, key) in samples(bytes, self.rarity_bits) {
            let block = offset / BLOCK_SIZE + at as u64 / BLOCK_SIZE;
            // Blocks of LARGEST_PARTITION have 28 bits.
            let sample = u64::from(key) << 32 | block;
            // A run of one byte is one window again and again, and may be a rare one.
            if self.samples.last() == Some(&sample) {
                continue;
            }
            if self.samples.len() >= self.room {
                self.thin_out();
            }
            if u64::from(key) < self.keys_below {
                let held = self.samples.len();
                if held == self.samples.capacity() {
                    // Doubling, but not beyond the room.
                    self.samples
                        .reserve_exact(held.max(LEAST_ROOM).min(self.room - held));
                }
                self.samples.push(sample);
            }
        }
    }

    /// Makes room, at least a quarter of it. Which windows are rare is no secret, so an image may be full of them, and
    /// one that repeats itself may be so by chance.
    fn thin_out(&mut self) {
        self.samples.sort_unstable();
        self.samples.dedup();
        while self.samples.len() > self.room / 4 * 3 {
            self.keys_below /= 2;
            let kept = self
                .samples
                .partition_point(|sample| sample >> 32 < self.keys_below);
            self.samples.truncate(kept);
        }
    }

    pub(super) fn finish(mut self) -> Similar {
        self.samples.sort_unstable();
        self.samples.dedup();
        let mut starts = vec![0; BUCKETS + 1];
        for sample in &self.samples {
            starts[(sample >> BUCKET_SHIFT) as usize + 1] += 1;
        }
        for bucket in 0..BUCKETS {
            starts[bucket + 1] += starts[bucket];
        }
        Similar {
            rarity_bits: self.rarity_bits,
            keys_below: self.keys_below,
            samples: self.samples,
            starts,
        }
    }
}

const BUCKETS: usize = 1 << 16;
const BUCKET_SHIFT: u32 = 48;

/// An old image's samples, sorted by key.
pub(super) struct Similar {
    rarity_bits: u32,
    keys_below: u64,
    samples: Vec<u64>,
    starts: Vec<usize>,
}

/// Votes for old blocks, in hundredths of a window.
pub(super) type Votes = BTreeMap<u64, u32>;

impl Similar {
    /// Adds the votes of new bytes. Returns how many windows were looked up and how many were known.
    pub(super) fn vote(&self, bytes: &[u8], votes: &mut Votes) -> (usize, usize) {
        let (mut asked, mut known) = (0, 0);
        for (_, key) in samples(bytes, self.rarity_bits) {
            if u64::from(key) >= self.keys_below {
                continue;
            }
            asked += 1;
            let found = self.find(key);
            known += usize::from(!found.is_empty());
            if found.len() <= COMMON {
                let weight = 100 / found.len().max(1) as u32;
                for sample in found {
                    *votes.entry(sample & u64::from(u32::MAX)).or_default() += weight;
                }
            }
        }
        (asked, known)
    }

    fn find(&self, key: u32) -> &[u64] {
        let bucket = (key >> (BUCKET_SHIFT - 32)) as usize;
        let range = &self.samples[self.starts[bucket]..self.starts[bucket + 1]];
        let key = u64::from(key);
        let first = range.partition_point(|sample| sample >> 32 < key);
        let count = range[first..]
            .iter()
            .take_while(|sample| *sample >> 32 == key)
            .take(COMMON + 1)
            .count();
        &range[first..first + count]
    }
}

/// Old extents that cover the best-voted blocks, at most `budget` blocks of `old_blocks`.
///
/// The blocks beside a chosen one come along, and so do short gaps: similar bytes lie side by side, and a patch refers
/// to them more cheaply than the head to another extent.
pub(super) fn windows(votes: &Votes, budget: u64, old_blocks: u64) -> Vec<Extent> {
    const BESIDE: u64 = 4;
    const GAP: u64 = 16;
    let mut best: Vec<(u32, u64)> = votes.iter().map(|(block, votes)| (*votes, *block)).collect();
    // By votes, and for equal ones by place: the order must not depend on anything else.
    best.sort_unstable_by_key(|(votes, block)| (std::cmp::Reverse(*votes), *block));
    let mut take = best.len();
    loop {
        let mut chosen: Vec<u64> = best[..take].iter().map(|(_, block)| *block).collect();
        chosen.sort_unstable();
        let mut windows: Vec<Extent> = Vec::new();
        for block in chosen {
            let start = block.saturating_sub(BESIDE);
            let end = (block + 1 + BESIDE).min(old_blocks);
            match windows.last_mut() {
                Some(window) if start <= window.end() + GAP => window.blocks = end - window.start,
                _ => windows.push(Extent {
                    start,
                    blocks: end - start,
                }),
            }
        }
        if windows.iter().map(|window| window.blocks).sum::<u64>() <= budget || take == 0 {
            return windows;
        }
        take = take * 3 / 4;
    }
}

/// The windows of 16 bytes that are remembered: where each ends, and its key.
pub(super) fn samples(bytes: &[u8], rarity_bits: u32) -> impl Iterator<Item = (usize, u32)> {
    let mut hash = 0_u64;
    bytes.iter().enumerate().filter_map(move |(at, byte)| {
        // Each step shifts by 4, so a byte is gone from the hash after 16 steps.
        hash = (hash << 4).wrapping_add(GEAR[usize::from(*byte)]);
        let rare = hash >> (64 - rarity_bits) == 0;
        (rare && at >= 15).then_some((at, (hash >> 12) as u32))
    })
}

/// A random number for each byte (splitmix64), the gear of a rolling hash.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut state = 0_u64;
    let mut byte = 0;
    while byte < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        gear[byte] = mixed ^ (mixed >> 31);
        byte += 1;
    }
    gear
};

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 2 << 20;

    /// Bytes of which almost every window is a rare one.
    fn rare(length: usize) -> Vec<u8> {
        let mut hash = 0_u64;
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let next = |byte: u8| (hash << 4).wrapping_add(GEAR[usize::from(byte)]);
            let from = bytes.len() as u8;
            let found = (0..=u8::MAX).map(|byte| byte.wrapping_add(from));
            let byte = found
                .clone()
                .find(|byte| next(*byte) >> (64 - LEAST_RARITY_BITS) == 0);
            let byte = byte.unwrap_or(from);
            hash = next(byte);
            bytes.push(byte);
        }
        bytes
    }

    fn sampled(content: &[u8], most: u64) -> Sampler {
        let mut sampler = Sampler::new(content.len() as u64, most);
        for (piece, bytes) in content.chunks(64 << 10).enumerate() {
            sampler.add((piece << 16) as u64, bytes);
            assert!(sampler.samples.len() <= sampler.room);
        }
        sampler
    }

    /// Two bytes that, again and again, are nothing but rare windows.
    fn rare_pair() -> [u8; 2] {
        let pairs = (0..=u16::MAX).map(u16::to_le_bytes);
        let is_rare =
            |pair: &[u8; 2]| pair[0] != pair[1] && samples(&pair.repeat(16), LEAST_RARITY_BITS).count() == 17;
        pairs.into_iter().find(is_rare).unwrap()
    }

    #[test]
    fn content_full_of_rare_windows_stays_in_its_room() {
        let mut contents = vec![vec![0x61; SIZE], rare_pair().repeat(SIZE / 2), rare(SIZE)];
        for period in [255, 4096, 70_000] {
            contents.push(rare(period).repeat(SIZE / period));
        }
        for content in contents {
            let count = samples(&content, LEAST_RARITY_BITS).count();
            assert!(count > content.len() / 8, "{count}");
            let similar = sampled(&content, 1 << 15).finish();
            let room = 4 << 15;
            assert!(
                similar.samples.capacity() <= room,
                "{}",
                similar.samples.capacity()
            );
            // What is left still says of all bytes that they are known.
            let at = SIZE / 2;
            let (asked, known) = similar.vote(&content[at..at + 4096], &mut Votes::new());
            assert_eq!(asked, known);
            assert!(asked > 0);
        }
    }

    #[test]
    fn other_content_is_remembered_as_it_is_found() {
        let content: Vec<u8> = (0..SIZE as u32 / 4)
            .flat_map(|at| at.wrapping_mul(0x9E37_79B9).rotate_left(at % 32).to_le_bytes())
            .collect();
        same_as_all(&content, 1 << 15);
    }

    /// Nothing is left out that would be found without a bound.
    fn same_as_all(content: &[u8], most: u64) {
        let sampler = sampled(content, most);
        let bits = sampler.rarity_bits;
        let mut all = Vec::new();
        for (piece, bytes) in content.chunks(64 << 10).enumerate() {
            let block = |at: usize| 16 * piece as u64 + at as u64 / BLOCK_SIZE;
            all.extend(samples(bytes, bits).map(|(at, key)| u64::from(key) << 32 | block(at)));
        }
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > content.len() >> (bits + 3), "{}", all.len());
        assert_eq!(sampler.finish().samples, all);
    }
}
