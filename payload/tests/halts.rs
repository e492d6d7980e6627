//! A device that is told to stop stops, whatever a payload has it do; and no payload has it work for ever.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millet_payload::{
    ApplyError, Checkpoint, Head, HeadError, Observer, OperationFault, PartitionFault, ReadAt, Slots, Target,
    apply,
};
use millet_protocol::PartitionName;
use support::message::*;
use support::*;

/// Blocks of the running slot's partition: 160 reads of 64 KiB.
const OLD: u64 = 2560;

/// A running slot that counts how often it is read, and takes its time.
struct Running {
    other: MemorySlots,
    reads: Arc<AtomicU64>,
    pause: Duration,
}

struct Old {
    reads: Arc<AtomicU64>,
    pause: Duration,
}

impl ReadAt for Old {
    fn read_exact_at(&self, buf: &mut [u8], _: u64) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.pause);
        buf.fill(0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(OLD * BLOCK as u64)
    }
}

impl Slots for Running {
    fn source(&self, _: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        let reads = self.reads.clone();
        Ok(Box::new(Old {
            reads,
            pause: self.pause,
        }))
    }

    fn target(&self, name: &PartitionName, size: u64) -> io::Result<Box<dyn Target + '_>> {
        self.other.target(name, size)
    }
}

/// Wants to stop when the running slot has been read a few times.
struct Impatient {
    reads: Arc<AtomicU64>,
    journal: Journal,
}

impl Observer for Impatient {
    fn written(&mut self, bytes: u64) {
        self.journal.written(bytes);
    }

    fn checkpoint(&mut self, at: Checkpoint) -> io::Result<()> {
        self.journal.checkpoint(at)
    }

    fn stop(&self) -> bool {
        self.reads.load(Ordering::Relaxed) >= 3
    }
}

/// Reads the whole old partition; nobody comes so far as to compare the hash.
fn reads_all(kind: i32, blob: &[u8], destination: Extent) -> Operation {
    Operation {
        source: vec![extent(0, OLD)],
        source_hash: Some(vec![7; 32]),
        ..replacement(kind, BLOCK, blob, destination)
    }
}

/// A delta of one block that is replaced, then `operations`.
fn delta_of(new: u64, operations: Vec<Operation>) -> Vec<u8> {
    let first = [1; BLOCK];
    let mut partition = system(new);
    partition.old = system(OLD).new;
    partition.operations = vec![replacement(REPLACE, 0, &first, extent(0, 1))];
    partition.operations.extend(operations);
    let manifest = Manifest {
        minor_version: Some(6),
        partitions: vec![partition],
    };
    assemble(&manifest, &[first, [2; BLOCK], [3; BLOCK]].concat())
}

/// How often the running slot was read, and where the update goes on. On a machine that stands still for a while, a stop
/// drops also what came before: that run says nothing.
fn stopped(payload: &[u8], pause: Duration) -> (u64, Checkpoint) {
    (0..10).find_map(|_| stopped_once(payload, pause)).unwrap()
}

fn stopped_once(payload: &[u8], pause: Duration) -> Option<(u64, Checkpoint)> {
    let reads = Arc::new(AtomicU64::new(0));
    let slots = Running {
        other: MemorySlots::new(&Images::new()),
        reads: reads.clone(),
        pause,
    };
    let mut observer = Impatient {
        reads: reads.clone(),
        journal: Journal::default(),
    };
    let applied = apply(
        &head(payload),
        Checkpoint::default(),
        &mut blobs(payload),
        &slots,
        &mut observer,
    );
    assert!(matches!(applied, Err(ApplyError::Stopped)), "{applied:?}");
    let at = observer.journal.checkpoints.last().copied()?;
    Some((reads.load(Ordering::Relaxed), at))
}

#[test]
fn a_stop_is_heard_while_a_source_is_hashed() {
    let patch = reads_all(SOURCE_BSDIFF, &[2; BLOCK], extent(1, 1));
    let (reads, at) = stopped(&delta_of(2, vec![patch]), Duration::ZERO);
    assert!(reads < 10, "{reads}");
    assert_eq!((at.operation, at.blob_offset), (1, BLOCK as u64));
}

#[test]
fn a_stop_ends_what_is_being_decoded_and_keeps_what_was_before() {
    for more in [0, 1] {
        let copy = Operation {
            data_offset: None,
            data_length: None,
            data_hash: None,
            ..reads_all(SOURCE_COPY, &[], extent(1, OLD))
        };
        let behind = replacement(REPLACE, BLOCK, &[2; BLOCK], extent(OLD + 1, 1));
        let operations = [copy, behind].into_iter().take(1 + more).collect();
        let payload = delta_of(OLD + 1 + more as u64, operations);
        let (reads, at) = stopped(&payload, Duration::from_millis(20));
        assert!(reads < 100, "{reads}");
        assert_eq!((at.operation, at.blob_offset), (1, BLOCK as u64));
    }
}

fn refused(operations: Vec<Operation>) -> HeadError {
    let payload = delta_of(200, operations);
    let length =
        millet_payload::metadata_size(payload[..millet_payload::PREFIX].try_into().unwrap()).unwrap();
    Head::parse(&payload[..length as usize]).unwrap_err()
}

#[test]
fn a_patch_does_not_read_more_than_there_is() {
    let mut patch = reads_all(SOURCE_BSDIFF, &[2; BLOCK], extent(1, 1));
    patch.source.push(extent(5, 1));
    let error = refused(vec![patch]);
    let blocks = OLD + 1;
    assert!(
        matches!(error, HeadError::Operation { index: 1, fault: OperationFault::LongSource { blocks: has, most: OLD }, .. } if has == blocks),
        "{error:?}"
    );
}

#[test]
fn patches_do_not_read_the_old_partition_again_and_again() {
    // Sixteen times the 2760 blocks of both.
    let fitting = 17;
    let patches = (0..=fitting).map(|index| Operation {
        data_offset: Some((1 + index) * BLOCK as u64),
        ..reads_all(SOURCE_BSDIFF, &[2; BLOCK], extent(1 + index, 1))
    });
    let error = refused(patches.clone().collect());
    assert!(
        matches!(
            error,
            HeadError::Partition {
                fault: PartitionFault::ReadsTooMuch {
                    blocks: 46_080,
                    most: 44_160
                },
                ..
            }
        ),
        "{error:?}"
    );
    let error = refused(patches.take(fitting as usize).collect());
    assert!(
        matches!(
            error,
            HeadError::Partition {
                fault: PartitionFault::NotWritten(18),
                ..
            }
        ),
        "{error:?}"
    );
}
