//! Hash trees and FEC that a payload leaves to the device: made as veritysetup makes them, or refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io;

use millet_payload::{
    ApplyError, CHECKPOINT_BYTES, Checkpoint, Head, HeadError, Observer, PartitionFault, ReadAt, Slots,
    Target, VerityFault, apply,
};
use millet_protocol::{PartitionName, Sha256Digest};
use sha2::{Digest, Sha256};
use support::message::{Partition, REPLACE, extent, payload, replacement, system};
use support::verity::{CASES, Case, make, replace_all};
use support::*;

fn sha256(bytes: &[u8]) -> String {
    Sha256Digest(Sha256::digest(bytes).into()).to_string()
}

#[test]
fn a_device_makes_what_veritysetup_makes() {
    for case in CASES {
        let (tree, fec) = case.made();
        assert_eq!(sha256(&tree), case.tree, "the tree of {} blocks", case.blocks);
        assert_eq!(sha256(&fec), case.fec, "the FEC of {} blocks", case.blocks);
    }
}

/// AOSP's `HashTreeBuilder` makes one block of one digest for one block of data, where veritysetup makes none and takes
/// that digest for the root.
#[test]
fn one_block_has_a_tree_of_one_digest() {
    let case = Case {
        blocks: 1,
        ..CASES[0]
    };
    let (tree, _) = case.made();
    let root = Sha256::new_with_prefix(case.salt())
        .chain_update(case.data())
        .finalize();
    assert_eq!(tree[..32], *root);
    assert_eq!(tree[32..], [0; BLOCK - 32]);
}

/// A partition that begins with something else, and has a gap between data, tree and FEC.
#[test]
fn trees_and_fec_lie_where_the_payload_says() {
    let case = CASES[3];
    let (data, tree_blocks, fec_blocks) = (case.data(), case.tree_blocks(), case.fec_blocks());
    let (before, between) = (vec![1; 3 * BLOCK], vec![2; 2 * BLOCK]);
    let front = [before.as_slice(), &data, &between].concat();
    let tree_at = 3 + case.blocks + 2;
    let fec_at = tree_at + tree_blocks + 1;
    let mut blobs = front.clone();
    let mut operations = replace_all(0, &front);
    operations.push(replacement(
        REPLACE,
        blobs.len(),
        &between[..BLOCK],
        extent(tree_at + tree_blocks, 1),
    ));
    blobs.extend(&between[..BLOCK]);
    let partition = Partition {
        operations,
        hash_tree_data: Some(extent(3, case.blocks)),
        hash_tree: Some(extent(tree_at, tree_blocks)),
        hash_tree_algorithm: Some("sha256".into()),
        hash_tree_salt: Some(case.salt()),
        // Over exactly what `case` has: its data, then the two blocks between.
        fec_data: Some(extent(3, case.blocks + 2)),
        fec: Some(extent(fec_at, fec_blocks)),
        fec_roots: Some(case.roots),
        ..system(fec_at + fec_blocks)
    };
    let image = make(&payload(vec![partition], &blobs)).unwrap();
    let tree = &image[tree_at as usize * BLOCK..][..tree_blocks as usize * BLOCK];
    assert_eq!(sha256(tree), case.tree);

    // The same data at the start of a partition of its own has the same FEC.
    let alone = Partition {
        operations: replace_all(0, &front[3 * BLOCK..]),
        fec_data: Some(extent(0, case.blocks + 2)),
        fec: Some(extent(case.blocks + 2, fec_blocks)),
        fec_roots: Some(case.roots),
        ..system(case.blocks + 2 + fec_blocks)
    };
    let other = make(&payload(vec![alone], &front[3 * BLOCK..])).unwrap();
    assert!(image[fec_at as usize * BLOCK..] == other[(case.blocks + 2) as usize * BLOCK..]);
}

/// Wants to stop as soon as everything is written but tree and FEC.
struct StopsThen {
    journal: Journal,
    operations: u64,
}

impl Observer for StopsThen {
    fn written(&mut self, bytes: u64) {
        self.journal.written(bytes);
    }

    fn checkpoint(&mut self, at: Checkpoint) -> io::Result<()> {
        self.journal.checkpoint(at)
    }

    fn stop(&self) -> bool {
        self.journal.operations == self.operations
    }
}

#[test]
fn a_stop_while_tree_and_fec_are_made_is_heard() {
    let payload = Case {
        blocks: 5000,
        ..CASES[0]
    }
    .payload();
    let head = head(&payload);
    let mut observer = StopsThen {
        journal: Journal::default(),
        operations: head.operations(),
    };
    let slots = MemorySlots::new(&Images::new());
    let stopped = apply(
        &head,
        Checkpoint::default(),
        &mut blobs(&payload),
        &slots,
        &mut observer,
    );
    assert!(matches!(stopped, Err(ApplyError::Stopped)), "{stopped:?}");
    // What is behind the operations is not made, so a checkpoint that skips them must not be there.
    let checkpoints = observer.journal.checkpoints;
    assert!(
        checkpoints.iter().all(|at| at.operation < head.operations()),
        "{checkpoints:?}"
    );
}

#[test]
fn a_resume_from_every_checkpoint_makes_the_same() {
    let case = Case {
        blocks: 5000,
        ..CASES[0]
    };
    let payload = case.payload();
    let head = head(&payload);
    let expected = make(&payload).unwrap();
    for stop_at in 0..head.operations() {
        let slots = MemorySlots::new(&Images::new());
        let mut journal = Journal {
            stop_at: Some(stop_at),
            ..Journal::default()
        };
        let mut all = blobs(&payload);
        let stopped = apply(&head, Checkpoint::default(), &mut all, &slots, &mut journal);
        assert!(matches!(stopped, Err(ApplyError::Stopped)));
        for at in journal.checkpoints {
            let mut rest = &blobs(&payload)[at.blob_offset as usize..];
            apply(&head, at, &mut rest, &slots, &mut Journal::default()).unwrap();
            assert!(slots.made("system", expected.len()) == expected, "{at:?}");
        }
    }
    // The checkpoint after everything comes when tree and FEC are written, and leaves nothing to do.
    let slots = MemorySlots::new(&Images::new());
    let mut journal = Journal::default();
    let mut all = blobs(&payload);
    apply(&head, Checkpoint::default(), &mut all, &slots, &mut journal).unwrap();
    let last = *journal.checkpoints.last().unwrap();
    assert_eq!(
        (last.operation, journal.operations),
        (head.operations(), head.operations())
    );
    apply(&head, last, &mut [].as_slice(), &slots, &mut Journal::default()).unwrap();
    assert!(slots.made("system", expected.len()) == expected);
}

/// Slots in memory where nothing can be written at or behind some byte.
struct Ending {
    slots: MemorySlots,
    at: u64,
}

impl Slots for Ending {
    fn source(&self, name: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        self.slots.source(name)
    }

    fn target(&self, name: &PartitionName, size: u64) -> io::Result<Box<dyn Target + '_>> {
        Ok(Box::new(EndingTarget(self.slots.target(name, size)?, self.at)))
    }
}

struct EndingTarget<'a>(Box<dyn Target + 'a>, u64);

impl Target for EndingTarget<'_> {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        if offset >= self.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_all_at(data, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

impl ReadAt for EndingTarget<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

#[test]
fn what_was_cut_off_in_tree_or_fec_is_made_by_a_resume() {
    // A checkpoint is due right after the last operation, which makes the last of 16 MiB.
    let case = Case {
        blocks: CHECKPOINT_BYTES / BLOCK as u64,
        ..CASES[0]
    };
    let (mut partition, mut blobs) = case.partition();
    // Without the footer, FEC is the last thing written.
    let footer = partition.operations.pop().unwrap();
    blobs.truncate(blobs.len() - footer.data_length.unwrap() as usize);
    let end = case.fec().start.unwrap() + case.fec_blocks();
    partition.new.as_mut().unwrap().size = Some(end * BLOCK as u64);
    let payload = payload(vec![partition], &blobs);
    let expected = make(&payload).unwrap();
    let head = head(&payload);
    // Among the digests of the data, at the tree's start, in the FEC.
    for (block, what) in [
        (case.blocks + 16, "hash tree"),
        (case.blocks, "hash tree"),
        (case.fec().start.unwrap(), "FEC"),
    ] {
        let ending = Ending {
            slots: MemorySlots::new(&Images::new()),
            at: block * BLOCK as u64,
        };
        let mut journal = Journal::default();
        let cut = apply(
            &head,
            Checkpoint::default(),
            &mut blobs.as_slice(),
            &ending,
            &mut journal,
        );
        match cut {
            Err(ApplyError::Verity { what: has, .. }) => assert_eq!(has, what),
            other => panic!("{other:?}"),
        }
        let at = journal.checkpoints.last().copied().unwrap_or_default();
        let mut rest = &blobs[at.blob_offset as usize..];
        apply(&head, at, &mut rest, &ending.slots, &mut Journal::default()).unwrap();
        assert!(ending.slots.made("system", expected.len()) == expected, "{what}");
    }
}

/// The fault in a payload that differs from a good one by `change`.
fn fault(change: impl FnOnce(&mut Partition)) -> PartitionFault {
    let (mut partition, blobs) = CASES[3].partition();
    change(&mut partition);
    let payload = payload(vec![partition], &blobs);
    let size = millet_payload::metadata_size(payload[..millet_payload::PREFIX].try_into().unwrap()).unwrap();
    match Head::parse(&payload[..size as usize]) {
        Err(HeadError::Partition { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn verity_fault(change: impl FnOnce(&mut Partition)) -> VerityFault {
    match fault(change) {
        PartitionFault::Verity(fault) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn half_of_what_belongs_together_is_refused() {
    let tree = VerityFault::Incomplete("hash tree");
    assert_eq!(verity_fault(|partition| partition.hash_tree = None), tree);
    assert_eq!(verity_fault(|partition| partition.hash_tree_data = None), tree);
    let nothing_but_its_name = |partition: &mut Partition| {
        (partition.hash_tree, partition.hash_tree_data) = (None, None);
    };
    assert_eq!(verity_fault(nothing_but_its_name), tree);
    let fec = VerityFault::Incomplete("FEC");
    assert_eq!(verity_fault(|partition| partition.fec = None), fec);
    assert_eq!(verity_fault(|partition| partition.fec_data = None), fec);
    let nothing_but_its_roots = |partition: &mut Partition| {
        (partition.fec, partition.fec_data) = (None, None);
    };
    assert_eq!(verity_fault(nothing_but_its_roots), fec);
}

#[test]
fn extents_outside_the_partition_are_refused() {
    for (start, blocks) in [(0, 0), (0, 100_000), (100_000, 1), (u64::MAX, 1), (1, u64::MAX)] {
        let wrong = Some(extent(start, blocks));
        for what in 0..4 {
            let fault = verity_fault(|partition| match what {
                0 => partition.hash_tree_data = wrong,
                1 => partition.hash_tree = wrong,
                2 => partition.fec_data = wrong,
                _ => partition.fec = wrong,
            });
            assert!(
                matches!(fault, VerityFault::OutOfRange { start: has, count, .. } if (has, count) == (start, blocks)),
                "{fault:?}"
            );
        }
    }
}

#[test]
fn extents_of_another_size_or_order_are_refused() {
    let case = CASES[3];
    let tree = |start, blocks| verity_fault(|partition| partition.hash_tree = Some(extent(start, blocks)));
    let fec = |start, blocks| verity_fault(|partition| partition.fec = Some(extent(start, blocks)));
    let (tree_at, tree_blocks) = (case.blocks, case.tree_blocks());
    let (fec_at, fec_blocks) = (tree_at + tree_blocks, case.fec_blocks());
    let size = |what, has, needs| VerityFault::Size { what, has, needs };
    assert_eq!(
        tree(tree_at, tree_blocks - 1),
        size("hash tree", tree_blocks - 1, tree_blocks)
    );
    assert_eq!(
        tree(tree_at, tree_blocks + 1),
        size("hash tree", tree_blocks + 1, tree_blocks)
    );
    assert_eq!(
        fec(fec_at, fec_blocks - 1),
        size("FEC", fec_blocks - 1, fec_blocks)
    );
    assert_eq!(
        fec(fec_at, fec_blocks + 1),
        size("FEC", fec_blocks + 1, fec_blocks)
    );
    assert!(matches!(
        tree(tree_at - 1, tree_blocks),
        VerityFault::Order {
            what: "hash tree",
            ..
        }
    ));
    assert!(matches!(
        fec(fec_at - 1, fec_blocks),
        VerityFault::Order { what: "FEC", .. }
    ));
    // Another amount of data: 128 blocks need one level less.
    let less = |partition: &mut Partition| partition.hash_tree_data = Some(extent(0, 128));
    assert_eq!(verity_fault(less), size("hash tree", tree_blocks, 1));
    let roots = |partition: &mut Partition| partition.fec_roots = Some(2);
    assert_eq!(verity_fault(roots), size("FEC", fec_blocks, 2));
}

#[test]
fn blocks_are_made_once_and_in_order() {
    let case = CASES[3];
    let (fec_at, footer) = (
        case.fec().start.unwrap(),
        case.fec().start.unwrap() + case.fec_blocks(),
    );
    // An operation that writes into the tree, one that is missing, and a tree where the FEC is.
    let into_tree = |partition: &mut Partition| {
        partition.operations.last_mut().unwrap().destination = vec![extent(case.blocks, 1)];
    };
    assert_eq!(fault(into_tree), PartitionFault::WrittenTwice(case.blocks));
    let without_footer = |partition: &mut Partition| drop(partition.operations.pop());
    assert_eq!(fault(without_footer), PartitionFault::NotWritten(footer));
    let tree_in_fec = |partition: &mut Partition| {
        partition.hash_tree = Some(extent(fec_at, case.tree_blocks()));
    };
    assert_eq!(fault(tree_in_fec), PartitionFault::WrittenTwice(fec_at));
    // Neither: the blocks are nobody's then.
    let no_tree = |partition: &mut Partition| {
        (partition.hash_tree, partition.hash_tree_data) = (None, None);
        (partition.hash_tree_algorithm, partition.hash_tree_salt) = (None, None);
    };
    assert_eq!(fault(no_tree), PartitionFault::NotWritten(case.blocks));

    // A tree over the FEC, which is made after it.
    let blocks = case.blocks + 24 + 2;
    let partition = Partition {
        hash_tree_data: Some(extent(0, case.blocks + 24)),
        hash_tree: Some(extent(case.blocks + 24, 3)),
        hash_tree_algorithm: Some("sha256".into()),
        fec_data: Some(extent(0, case.blocks)),
        fec: Some(extent(case.blocks, 24)),
        fec_roots: Some(24),
        ..system(blocks + 1)
    };
    let fault = verity_fault(|changed| *changed = partition);
    assert_eq!(fault, VerityFault::ParityInTree);
}

#[test]
fn what_dm_verity_does_not_take_is_refused() {
    let algorithm = |name: &str| verity_fault(|partition| partition.hash_tree_algorithm = Some(name.into()));
    for name in ["", "md5", "sha512", "blake2b-256"] {
        assert_eq!(algorithm(name), VerityFault::Algorithm(name.into()));
    }
    assert_eq!(
        algorithm(&"x".repeat(5000)),
        VerityFault::Algorithm("x".repeat(40))
    );
    let salt = |length| verity_fault(|partition| partition.hash_tree_salt = Some(vec![1; length]));
    assert_eq!(salt(257), VerityFault::LongSalt(257));
    for roots in [0, 1, 25, 253, 255, 256, 258, u32::MAX] {
        let fault = verity_fault(|partition| partition.fec_roots = Some(roots));
        assert_eq!(fault, VerityFault::Roots(roots));
    }
    assert_eq!(
        verity_fault(|partition| partition.fec_roots = None),
        VerityFault::Roots(0)
    );
}
