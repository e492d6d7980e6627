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
        assert_resumes(&payload, &old, &new);
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
