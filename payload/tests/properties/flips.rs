//! One changed byte anywhere: an error, or the right images, never something else.

use std::collections::BTreeMap;

use millet_payload::{ApplyError, Checkpoint, Head, Operation, Partition, apply, check_sources, hash};

use crate::every_kind::{Sample, every_kind};
use crate::support::*;

/// Every operation with its partition, its index there, and the checkpoint before it.
fn operations(head: &Head) -> Vec<(&Partition, usize, &Operation, Checkpoint)> {
    let mut at = Checkpoint::default();
    let mut all = Vec::new();
    for partition in head.partitions() {
        for (index, operation) in partition.operations.iter().enumerate() {
            all.push((partition, index, operation, at));
            at.operation += 1;
            at.blob_offset += operation.blob().map_or(0, |blob| blob.length);
        }
    }
    all
}

fn apply_from(head: &Head, at: Checkpoint, blobs: &[u8], slots: &MemorySlots) -> Result<(), ApplyError> {
    let mut rest = &blobs[at.blob_offset as usize..];
    apply(head, at, &mut rest, slots, &mut Journal::default())
}

#[test]
fn the_sample_has_every_type_of_operation() {
    let Sample { old, new, payload } = every_kind();
    let head = head(&payload);
    let mut kinds = BTreeMap::<_, u32>::new();
    for (_, _, operation, _) in operations(&head) {
        *kinds.entry(operation.type_name()).or_default() += 1;
    }
    for kind in [
        "ZERO",
        "SOURCE_COPY",
        "SOURCE_BSDIFF",
        "BROTLI_BSDIFF",
        "PUFFDIFF",
        "REPLACE",
        "REPLACE_BZ",
        "REPLACE_XZ",
    ] {
        assert!(kinds.contains_key(kind), "no {kind}: {kinds:?}");
    }
    let verity = &head.partitions().next().unwrap().verity;
    assert!(verity.hash_tree.is_some() && verity.fec.is_some());
    assert_makes(&payload, &old, &new);
}

/// Red without the comparison of `expected.sha256` in `Open::check` (`apply/mod.rs`).
#[test]
fn l23_a_flipped_byte_of_a_blob_is_refused_before_a_decoder_sees_it() {
    let Sample { old, payload, .. } = every_kind();
    let head = head(&payload);
    let mut blobs = blobs(&payload).to_vec();
    let mut dice = Dice::new(1);
    for (partition, index, operation, at) in operations(&head) {
        let Some(blob) = operation.blob() else { continue };
        let length = blob.length as usize;
        // Its ends, and a sample of what lies between.
        let between = (0..100).map(|_| dice.below(length));
        let places: Vec<usize> = (0..length.min(24))
            .chain(length.saturating_sub(24)..length)
            .chain(between)
            .collect();
        for place in places {
            let flip = 1 << dice.below(8);
            blobs[blob.offset as usize + place] ^= flip;
            let slots = MemorySlots::new(&old);
            let refused = apply_from(&head, at, &blobs, &slots);
            assert!(
                matches!(&refused, Err(ApplyError::HashMismatch { what: "data", operation, .. }) if *operation == index),
                "byte {place} of {index} of {}: {refused:?}",
                partition.name
            );
            let made = slots.made(partition.name.as_str(), partition.new.size as usize);
            assert!(made.iter().all(|byte| *byte == 0xa5));
            blobs[blob.offset as usize + place] ^= flip;
        }
    }
}

#[test]
fn a_flipped_byte_ends_an_update_at_its_operation() {
    let Sample { old, payload, .. } = every_kind();
    let head = head(&payload);
    let mut blobs = blobs(&payload).to_vec();
    let mut dice = Dice::new(2);
    for _ in 0..100 {
        let place = dice.below(blobs.len());
        blobs[place] ^= 0x10;
        let refused = apply_from(&head, Checkpoint::default(), &blobs, &MemorySlots::new(&old));
        assert!(
            matches!(refused, Err(ApplyError::HashMismatch { what: "data", .. })),
            "byte {place}: {refused:?}"
        );
        blobs[place] ^= 0x10;
    }
}

/// Red without the comparisons of `source.sha256` in `Open::check` (`apply/mod.rs`) and `copy` (`apply/copy.rs`).
#[test]
fn l23_a_flipped_byte_of_the_old_image_is_seen_by_whoever_reads_it() {
    let Sample { old, new, payload } = every_kind();
    let head = head(&payload);
    let (blobs, operations) = (blobs(&payload), operations(&head));
    let mut dice = Dice::new(3);
    let (mut read, mut unread) = (0, 0);
    for (partition, ..) in operations.iter().filter(|(_, index, ..)| *index == 0) {
        let reads = |operation: &Operation, block: u64| {
            let source = operation.source().into_iter();
            let mut extents = source.flat_map(|source| &source.extents);
            extents.any(|extent| (extent.start..extent.end()).contains(&block))
        };
        let needs_old = partition
            .operations
            .iter()
            .any(|operation| operation.source().is_some());
        for block in 0..old[&partition.name].len() / BLOCK {
            let mut slots = MemorySlots::new(&old);
            let place = block * BLOCK + dice.below(BLOCK);
            slots.old.get_mut(&partition.name).unwrap()[place] ^= 1 << dice.below(8);
            let before = check_sources(&head, &slots, &mut |_, _| ());
            let seen = matches!(&before, Err(ApplyError::OtherSource { partition: other }) if *other == partition.name);
            assert!(seen == needs_old, "block {block}: {before:?}");

            let mut all = operations.iter();
            let first =
                all.find(|(of, _, operation, _)| of.name == partition.name && reads(operation, block as u64));
            let Some((_, index, _, at)) = first else {
                unread += 1;
                if unread % 16 == 0 {
                    apply_from(&head, Checkpoint::default(), blobs, &slots).unwrap();
                    assert_made(&slots, &new);
                }
                continue;
            };
            read += 1;
            let refused = apply_from(&head, *at, blobs, &slots);
            assert!(
                matches!(&refused, Err(ApplyError::HashMismatch { what: "source", operation, .. }) if operation == index),
                "block {block}: {refused:?}"
            );
        }
    }
    assert!(read > 50 && unread > 50, "{read} {unread}");
}

/// With the head's hash known beforehand no such head is parsed at all; without it there is this.
#[test]
fn a_flipped_byte_of_the_head_is_refused_or_harmless_or_seen_in_the_result() {
    let Sample { old, new, payload } = every_kind();
    let right = head(&payload);
    let signed: Vec<_> = right
        .partitions()
        .map(|partition| millet_protocol::PartitionEntry {
            name: partition.name.clone(),
            size: partition.new.size,
            sha256: partition.new.sha256,
        })
        .collect();
    let (mut bytes, blobs) = (
        payload[..right.metadata_size() as usize].to_vec(),
        blobs(&payload),
    );
    let mut dice = Dice::new(4);
    let (mut unparsed, mut unlisted, mut failed, mut harmless) = (0, 0, 0, 0);
    for place in 0..bytes.len() {
        let flip = 1 << dice.below(8);
        bytes[place] ^= flip;
        let parsed = Head::parse(&bytes);
        bytes[place] ^= flip;
        let Ok(flipped) = parsed else {
            unparsed += 1;
            continue;
        };
        let is_listed = flipped.check_against(&signed).is_ok();
        unlisted += u32::from(!is_listed);
        let mut slots = MemorySlots::new(&old);
        slots.headroom = 3 * BLOCK;
        if apply_from(&flipped, Checkpoint::default(), blobs, &slots).is_err() {
            failed += 1;
        } else {
            harmless += 1;
            for partition in flipped.partitions() {
                let size = partition.new.size;
                let made = slots.made(partition.name.as_str(), size as usize);
                let is_promised = hash(&made, size, &mut |_| ()).unwrap() == partition.new.sha256;
                let is_right = new.get(&partition.name).is_some_and(|new| *new == made);
                assert!(
                    is_right || !is_listed || !is_promised,
                    "byte {place}: another {}",
                    partition.name
                );
            }
        }
        for partition in flipped.partitions() {
            let size = partition.new.size as usize;
            if !slots.written.lock().unwrap().contains_key(&partition.name) {
                continue;
            }
            let behind = &slots.made(partition.name.as_str(), size + 2 * BLOCK)[size..];
            assert!(
                behind.iter().all(|byte| *byte == 0xa5),
                "byte {place}: written behind {}",
                partition.name
            );
        }
    }
    for count in [unparsed, unlisted, failed, harmless] {
        assert!(count > 0, "{unparsed} {unlisted} {failed} {harmless}");
    }
}

fn assert_made(slots: &MemorySlots, new: &Images) {
    for (name, bytes) in new {
        assert!(slots.made(name.as_str(), bytes.len()) == *bytes, "{name} differs");
    }
}
