//! Images through a payload and back, whole and interrupted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use millet_payload::{ApplyError, Checkpoint, apply};
use proptest::prelude::*;
use support::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn images_survive(seed in any::<u64>(), old_blocks in 1_usize..300, new_blocks in 1_usize..300, cut in 0..BLOCK) {
        let old_image = image(seed, old_blocks);
        let mut new_image = week(&old_image, seed ^ 1, new_blocks);
        new_image.truncate(new_image.len() - cut.min(new_image.len() - 1));
        let old = images([("system", old_image), ("boot", vec![3; 10_000])]);
        let new = images([("system", new_image), ("boot", vec![3; 10_001]), ("vendor", image(seed ^ 2, 5))]);
        assert_makes(&full(&new), &old, &new);
        assert_makes(&delta(&old, &new), &old, &new);
    }
}

#[test]
fn an_interrupted_update_goes_on_from_every_checkpoint() {
    let old = images([("system", image(1, 900)), ("vendor", image(2, 60))]);
    let new = images([
        ("system", week(&old[&"system".parse().unwrap()], 3, 900)),
        ("vendor", image(4, 70)),
    ]);
    for payload in [full(&new), delta(&old, &new)] {
        let head = head(&payload);
        for stop_before in 0..head.operations() {
            let slots = MemorySlots::new(&old);
            let mut journal = Journal {
                stop_before: Some(stop_before),
                ..Journal::default()
            };
            let stopped = apply(
                &head,
                Checkpoint::default(),
                &mut blobs(&payload),
                &slots,
                &mut journal,
            );
            assert!(matches!(stopped, Err(ApplyError::Stopped)));
            let at = *journal.checkpoints.last().unwrap();
            assert_eq!(at.operation, stop_before);
            let rest = &blobs(&payload)[at.blob_offset as usize..];
            // The download breaks off half way, then goes on.
            let mut half = &rest[..rest.len() / 2];
            let mut journal = Journal::default();
            let outcome = apply(&head, at, &mut half, &slots, &mut journal);
            let at = match outcome {
                Err(ApplyError::Blobs(_)) => *journal.checkpoints.last().unwrap(),
                Ok(()) if rest.is_empty() => at,
                other => panic!("{other:?}"),
            };
            let mut rest = &blobs(&payload)[at.blob_offset as usize..];
            apply(&head, at, &mut rest, &slots, &mut Journal::default()).unwrap();
            for (name, bytes) in &new {
                assert!(
                    slots.made(name.as_str(), bytes.len()) == *bytes,
                    "{name} after {stop_before}"
                );
            }
        }
    }
}

#[test]
fn a_checkpoint_of_another_payload_is_refused() {
    let new = images([("system", image(1, 20))]);
    let payload = full(&new);
    let slots = MemorySlots::new(&new);
    for at in [
        Checkpoint {
            operation: 1,
            blob_offset: 3,
        },
        Checkpoint {
            operation: 99,
            blob_offset: 0,
        },
        Checkpoint {
            operation: u64::MAX,
            blob_offset: u64::MAX,
        },
    ] {
        let outcome = apply(
            &head(&payload),
            at,
            &mut blobs(&payload),
            &slots,
            &mut Journal::default(),
        );
        assert!(
            matches!(outcome, Err(ApplyError::OtherCheckpoint { .. })),
            "{outcome:?}"
        );
    }
    assert!(!slots.touched());
}

#[test]
fn the_last_block_of_a_larger_partition_is_zeroed() {
    let new = images([("boot", image(5, 10))]);
    let payload = full(&new);
    for (headroom, cleared) in [
        (0, None),
        (BLOCK, Some(10)),
        (5 * BLOCK, Some(14)),
        (5 * BLOCK + 512, Some(14)),
    ] {
        let mut slots = MemorySlots::new(&new);
        slots.headroom = headroom;
        apply(
            &head(&payload),
            Checkpoint::default(),
            &mut blobs(&payload),
            &slots,
            &mut Journal::default(),
        )
        .unwrap();
        let made = slots.made("boot", 10 * BLOCK + headroom);
        assert!(made[..10 * BLOCK] == new[&"boot".parse().unwrap()]);
        for (block, bytes) in made.chunks(BLOCK).enumerate().skip(10) {
            let expected = if Some(block) == cleared { 0 } else { 0xa5 };
            assert!(
                bytes.iter().all(|byte| *byte == expected),
                "block {block} of headroom {headroom}"
            );
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let old = images([("system", image(8, 700))]);
    let new = images([("system", week(&old[&"system".parse().unwrap()], 9, 700))]);
    let make = |threads| {
        let mut payload = Vec::new();
        let summary = millet_payload::write_delta(
            &borrowed(&old),
            &borrowed(&new),
            &options(threads),
            &(),
            &mut payload,
        );
        (payload, summary.unwrap())
    };
    assert!(make(1) == make(2));
}

#[test]
fn a_raw_image_is_padded_and_said_to_be() {
    let new = images([("boot", vec![9; 5000]), ("system", image(1, 3))]);
    let mut payload = Vec::new();
    let summary = millet_payload::write_full(&borrowed(&new), &options(1), &(), &mut payload).unwrap();
    assert_eq!(summary.padded, [("boot".parse().unwrap(), 3192)].into());
    assert_eq!(summary.partitions[0].size, 8192);
    assert_eq!(summary.size, payload.len() as u64);
    assert_eq!(summary.metadata_size, head(&payload).metadata_size());
    head(&payload).check_against(&summary.partitions).unwrap();
}
