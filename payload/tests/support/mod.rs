//! Slots in memory, and images made from a seed.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod message;
pub mod verity;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use millet_payload::{
    ApplyError, Checkpoint, Head, Image, Observer, Options, PREFIX, ReadAt, Slots, Target, apply,
};
use millet_protocol::PartitionName;

pub const BLOCK: usize = 4096;

pub type Images = BTreeMap<PartitionName, Vec<u8>>;

pub fn images<'a>(images: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Images {
    images
        .into_iter()
        .map(|(name, bytes)| (name.parse().unwrap(), bytes))
        .collect()
}

pub fn borrowed(images: &Images) -> Vec<Image<'_>> {
    images
        .iter()
        .map(|(name, bytes)| Image {
            name: name.clone(),
            bytes,
        })
        .collect()
}

pub fn options(threads: usize) -> Options {
    Options {
        threads,
        xz_level: 1,
        ..Options::default()
    }
}

pub fn full(new: &Images) -> Vec<u8> {
    let mut payload = Vec::new();
    millet_payload::write_full(&borrowed(new), &options(2), &(), &mut payload).unwrap();
    payload
}

pub fn delta(old: &Images, new: &Images) -> Vec<u8> {
    let mut payload = Vec::new();
    millet_payload::write_delta(&borrowed(old), &borrowed(new), &options(2), &(), &mut payload).unwrap();
    payload
}

pub fn head(payload: &[u8]) -> Head {
    let size = millet_payload::metadata_size(payload[..PREFIX].try_into().unwrap()).unwrap();
    Head::parse(&payload[..size as usize]).unwrap()
}

pub fn blobs(payload: &[u8]) -> &[u8] {
    &payload[head(payload).blobs_offset() as usize..]
}

/// Applies a payload, which must make the new images of the old ones.
pub fn assert_makes(payload: &[u8], old: &Images, new: &Images) {
    let slots = MemorySlots::new(old);
    apply(
        &head(payload),
        Checkpoint::default(),
        &mut blobs(payload),
        &slots,
        &mut Journal::default(),
    )
    .unwrap();
    for (name, bytes) in new {
        let expected = padded(bytes.clone());
        assert!(
            slots.made(name.as_str(), expected.len()) == expected,
            "{name} differs"
        );
    }
}

/// Interrupts the application of a payload each time that it asks, lets the download break off once more, and goes on;
/// the new images must come out every time.
pub fn assert_resumes(payload: &[u8], old: &Images, new: &Images) {
    let operations = head(payload).operations();
    let mut missing: BTreeSet<_> = (0..operations).collect();
    // On a machine that stands still for a while, a stop drops what was not decoded yet: then there is no resume from
    // behind it.
    for _ in 0..10 {
        for resumed_at in resumes(payload, old, new) {
            missing.remove(&resumed_at);
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("no resume at {missing:?} of {operations}");
}

/// Resumes after each stop; returns the operations at which it went on.
fn resumes(payload: &[u8], old: &Images, new: &Images) -> BTreeSet<u64> {
    let head = head(payload);
    let mut resumed_at = BTreeSet::new();
    for stop_at in 0.. {
        let slots = MemorySlots::new(old);
        let mut journal = Journal {
            stop_at: Some(stop_at),
            ..Journal::default()
        };
        let mut all = blobs(payload);
        match apply(&head, Checkpoint::default(), &mut all, &slots, &mut journal) {
            Err(ApplyError::Stopped) => {}
            Ok(()) => break,
            other => panic!("{other:?}"),
        }
        let at = journal.checkpoints.last().copied().unwrap_or_default();
        resumed_at.insert(at.operation);
        let rest = &blobs(payload)[at.blob_offset as usize..];
        // The download breaks off half way, then goes on.
        let mut half = &rest[..rest.len() / 2];
        let mut journal = Journal::default();
        let outcome = apply(&head, at, &mut half, &slots, &mut journal);
        let at = match outcome {
            Err(ApplyError::Blobs(_)) => *journal.checkpoints.last().unwrap(),
            Ok(()) if rest.is_empty() => at,
            other => panic!("{other:?}"),
        };
        let mut rest = &blobs(payload)[at.blob_offset as usize..];
        apply(&head, at, &mut rest, &slots, &mut Journal::default()).unwrap();
        for (name, bytes) in new {
            assert!(
                slots.made(name.as_str(), bytes.len()) == *bytes,
                "{name} after {stop_at}"
            );
        }
    }
    resumed_at
}

pub fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A running slot and one that is written; what is written survives as in a file.
pub struct MemorySlots {
    pub old: Images,
    pub written: Mutex<BTreeMap<PartitionName, Arc<Mutex<Vec<u8>>>>>,
    /// Bytes by which a target partition is larger than its image.
    pub headroom: usize,
}

impl MemorySlots {
    pub fn new(old: &Images) -> Self {
        Self {
            // A slot holds whole blocks.
            old: old
                .iter()
                .map(|(name, bytes)| (name.clone(), padded(bytes.clone())))
                .collect(),
            written: Mutex::default(),
            headroom: 0,
        }
    }

    /// What is in a target's first bytes.
    pub fn made(&self, name: &str, size: usize) -> Vec<u8> {
        self.written.lock().unwrap()[&name.parse::<PartitionName>().unwrap()]
            .lock()
            .unwrap()[..size]
            .to_vec()
    }

    pub fn touched(&self) -> bool {
        !self.written.lock().unwrap().is_empty()
    }
}

impl Slots for MemorySlots {
    fn source(&self, name: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        Ok(Box::new(self.old.get(name).ok_or(io::ErrorKind::NotFound)?))
    }

    fn target(&self, name: &PartitionName, size: u64) -> io::Result<Box<dyn Target + '_>> {
        let garbage = || Arc::new(Mutex::new(vec![0xa5; size as usize + self.headroom]));
        Ok(Box::new(MemoryTarget(
            self.written
                .lock()
                .unwrap()
                .entry(name.clone())
                .or_insert_with(garbage)
                .clone(),
        )))
    }
}

struct MemoryTarget(Arc<Mutex<Vec<u8>>>);

impl Target for MemoryTarget {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        let mut bytes = self.0.lock().unwrap();
        let room = bytes
            .get_mut(start..start + data.len())
            .ok_or(io::ErrorKind::WriteZero)?;
        room.copy_from_slice(data);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for MemoryTarget {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.lock().unwrap().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

/// Keeps checkpoints and stops when it has been asked so often.
#[derive(Default)]
pub struct Journal {
    pub checkpoints: Vec<Checkpoint>,
    pub operations: u64,
    pub stop_at: Option<u64>,
    pub asked: Cell<u64>,
}

impl Observer for Journal {
    fn written(&mut self, _: u64) {
        self.operations += 1;
    }

    fn checkpoint(&mut self, at: Checkpoint) -> io::Result<()> {
        self.checkpoints.push(at);
        Ok(())
    }

    fn stop(&self) -> bool {
        self.stop_at == Some(self.asked.replace(self.asked.get() + 1))
    }
}

/// A generator that needs no dependency: xorshift64*.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }
}

/// Something like a partition: zero blocks, text that compresses, code that does less, repeated blocks.
pub fn image(seed: u64, blocks: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::with_capacity(blocks * BLOCK);
    while bytes.len() < blocks * BLOCK {
        let run = (1 + dice.below(12)) * BLOCK;
        match dice.below(5) {
            0 => bytes.resize(bytes.len() + run, 0),
            1 => bytes.extend((0..run).map(|_| dice.next() as u8)),
            2 if bytes.len() >= run => bytes.extend_from_within(..run),
            _ => {
                let end = bytes.len() + run;
                while bytes.len() < end {
                    let word = dice.below(300) as u32;
                    bytes.extend_from_slice(&(word * word).to_le_bytes());
                }
            }
        }
    }
    bytes.truncate(blocks * BLOCK);
    bytes
}

/// What a week does to an image: blocks move, bytes change, some are inserted, something new comes.
pub fn week(old: &[u8], seed: u64, blocks: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut new = Vec::with_capacity(blocks * BLOCK);
    while new.len() < blocks * BLOCK {
        let run = (1 + dice.below(16)) * BLOCK;
        let from = dice.below(old.len() / BLOCK) * BLOCK;
        let piece = &old[from..old.len().min(from + run)];
        match dice.below(6) {
            0 => new.extend((0..run).map(|_| dice.next() as u8)),
            1 => new.resize(new.len() + run, 0),
            2 => new.extend_from_slice(piece),
            3 => {
                let mut changed = piece.to_vec();
                for _ in 0..1 + dice.below(40) {
                    let at = dice.below(changed.len());
                    changed[at] = dice.next() as u8;
                }
                new.extend(changed);
            }
            4 => {
                new.extend((0..dice.below(100)).map(|_| dice.next() as u8));
                new.extend_from_slice(piece);
                new.resize(new.len().next_multiple_of(BLOCK), 0);
            }
            _ => {
                let here = new.len().min(old.len());
                new.extend_from_slice(&old[here..old.len().min(here + run)]);
            }
        }
    }
    new.truncate(blocks * BLOCK);
    new
}
