//! Bytes that others made, broke or withheld.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use millet_payload::{
    ApplyError, Checkpoint, Head, HeadError, PREFIX, PartitionFault, apply, check_sources, metadata_size,
    verify,
};
use proptest::prelude::*;
use support::*;

fn week_pair() -> (Images, Images) {
    let system = image(11, 120);
    let new = week(&system, 12, 120);
    (images([("system", system)]), images([("system", new)]))
}

fn outcome(payload: &[u8], slots: &MemorySlots) -> Result<(), ApplyError> {
    apply(
        &head(payload),
        Checkpoint::default(),
        &mut blobs(payload),
        slots,
        &mut Journal::default(),
    )
}

#[test]
fn a_flipped_byte_in_a_blob_is_found_before_a_decoder_sees_it() {
    let (old, new) = week_pair();
    for payload in [full(&new), delta(&old, &new)] {
        let start = head(&payload).blobs_offset() as usize;
        for at in (start..payload.len()).step_by(97) {
            let mut broken = payload.clone();
            broken[at] ^= 1;
            let error = outcome(&broken, &MemorySlots::new(&old)).unwrap_err();
            assert!(
                matches!(error, ApplyError::HashMismatch { what: "data", .. }),
                "byte {at}: {error:?}"
            );
        }
    }
}

#[test]
fn a_download_that_ends_early_says_so() {
    let (old, new) = week_pair();
    let payload = delta(&old, &new);
    let start = head(&payload).blobs_offset() as usize;
    for end in (start..payload.len()).step_by(61) {
        let error = outcome(&payload[..end], &MemorySlots::new(&old)).unwrap_err();
        assert!(matches!(error, ApplyError::Blobs(_)), "{error:?}");
    }
}

#[test]
fn another_old_image_is_refused_before_anything_is_written() {
    let (old, new) = week_pair();
    let payload = delta(&old, &new);
    assert!(head(&payload).is_delta());
    let mut other = old.clone();
    other.get_mut(&"system".parse().unwrap()).unwrap()[5 * BLOCK + 7] ^= 0x10;
    let slots = MemorySlots::new(&other);
    let error = check_sources(&head(&payload), &slots, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, ApplyError::OtherSource { .. }), "{error:?}");
    assert!(!slots.touched());

    let shorter = images([("system", image(11, 119))]);
    let slots = MemorySlots::new(&shorter);
    assert!(matches!(
        outcome(&payload, &slots),
        Err(ApplyError::OtherSource { .. })
    ));
    assert!(!slots.touched());

    check_sources(&head(&payload), &MemorySlots::new(&old), &mut |_, _| ()).unwrap();
    check_sources(
        &head(&full(&new)),
        &MemorySlots::new(&Images::new()),
        &mut |_, _| (),
    )
    .unwrap();
}

#[test]
fn a_source_that_changes_after_the_check_is_found() {
    let (old, new) = week_pair();
    let payload = delta(&old, &new);
    let read: Vec<u64> = head(&payload)
        .partitions()
        .flat_map(|partition| &partition.operations)
        .filter_map(|operation| operation.source())
        .flat_map(|source| {
            source
                .extents
                .iter()
                .flat_map(|extent| extent.start..extent.end())
        })
        .collect();
    assert!(!read.is_empty());
    for block in read.into_iter().step_by(7) {
        let mut other = old.clone();
        other.get_mut(&"system".parse().unwrap()).unwrap()[block as usize * BLOCK] ^= 1;
        let error = outcome(&payload, &MemorySlots::new(&other)).unwrap_err();
        assert!(
            matches!(error, ApplyError::HashMismatch { what: "source", .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_target_that_is_too_small_is_refused() {
    struct Small(MemorySlots);
    impl millet_payload::Slots for Small {
        fn source(
            &self,
            name: &millet_protocol::PartitionName,
        ) -> std::io::Result<Box<dyn millet_payload::ReadAt + '_>> {
            self.0.source(name)
        }
        fn target(
            &self,
            name: &millet_protocol::PartitionName,
            size: u64,
        ) -> std::io::Result<Box<dyn millet_payload::Target + '_>> {
            self.0.target(name, size - BLOCK as u64)
        }
    }
    let (old, new) = week_pair();
    let payload = full(&new);
    let slots = Small(MemorySlots::new(&old));
    let error = apply(
        &head(&payload),
        Checkpoint::default(),
        &mut blobs(&payload),
        &slots,
        &mut Journal::default(),
    );
    assert!(matches!(error, Err(ApplyError::TooSmall { .. })), "{error:?}");
}

#[test]
fn a_payload_is_only_what_the_manifest_lists() {
    let new = images([("system", image(1, 4)), ("vendor", image(2, 4))]);
    let mut payload = Vec::new();
    let summary = millet_payload::write_full(&borrowed(&new), &options(1), &(), &mut payload).unwrap();
    let head = head(&payload);
    head.check_against(&summary.partitions).unwrap();
    let refused = |entries: &[millet_protocol::PartitionEntry]| match head.check_against(entries) {
        Err(HeadError::Partition { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&summary.partitions[..1]), PartitionFault::NotInManifest);
    let mut other = summary.partitions.clone();
    other[1].size += BLOCK as u64;
    assert_eq!(refused(&other), PartitionFault::OtherThanManifest);
    let mut other = summary.partitions;
    other[0].sha256.0[31] ^= 1;
    assert_eq!(refused(&other), PartitionFault::OtherThanManifest);
}

#[test]
fn a_maker_can_verify() {
    let (old, new) = week_pair();
    let payload = delta(&old, &new);
    let scratch = std::env::temp_dir();
    let mut seen = 0;
    verify(
        &head(&payload),
        &mut blobs(&payload),
        &borrowed(&old),
        &scratch,
        &mut |done| seen = done,
    )
    .unwrap();
    assert_eq!(seen, head(&payload).blobs_length());
    assert!(verify(&head(&payload), &mut blobs(&payload), &[], &scratch, &mut |_| ()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), real in any::<bool>()) {
        if real && bytes.len() >= PREFIX {
            let size = (bytes.len() - PREFIX) as u64;
            bytes[..12].copy_from_slice(b"CrAU\0\0\0\0\0\0\0\x02");
            bytes[12..20].copy_from_slice(&size.to_be_bytes());
            bytes[20] = 0;
        }
        let _ = Head::parse(&bytes);
        if let Some(prefix) = bytes.first_chunk::<PREFIX>() {
            let _ = metadata_size(prefix);
        }
    }

    #[test]
    fn a_broken_head_is_refused_or_harmless(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let (old, new) = week_pair();
        let payload = PAYLOAD.get_or_init(|| delta(&old, &new));
        let size = head(payload).metadata_size() as usize;
        let at = at.index(size);
        let mut broken = payload.clone();
        broken[at] = to;
        if cut {
            prop_assert!(Head::parse(&broken[..at]).is_err());
        }
        // A head that parses still may not panic, write outside or loop: its blobs and sources have to fit.
        if let Ok(head) = Head::parse(&broken[..size]) {
            let slots = MemorySlots::new(&old);
            let mut rest = &payload[size..];
            let _ = apply(&head, Checkpoint::default(), &mut rest, &slots, &mut Journal::default());
        }
    }
}

static PAYLOAD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();

#[test]
fn a_head_that_would_fill_the_memory_is_refused() {
    for manifest in [[0x6a, 0].repeat(4 << 19), [0x6a, 2, 0x42, 0].repeat(1 << 20)] {
        let mut head = b"CrAU\0\0\0\0\0\0\0\x02".to_vec();
        head.extend((manifest.len() as u64).to_be_bytes());
        head.extend([0; 4]);
        head.extend(manifest);
        let error = Head::parse(&head).unwrap_err();
        assert!(matches!(error, HeadError::Memory { .. }), "{error:?}");
    }
}
