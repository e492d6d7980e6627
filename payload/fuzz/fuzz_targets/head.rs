//! A payload's header and manifest, and what a device computes from them alone. With the first bit set the input is a
//! manifest, and gets a header that fits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millet_payload::{Head, PREFIX, metadata_size};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let bytes = if choice & 1 == 0 {
        bytes.to_vec()
    } else {
        millet_payload_fuzz::head(bytes)
    };
    if let Some(Ok(size)) = bytes.first_chunk::<PREFIX>().map(metadata_size) {
        assert!(size <= millet_payload::LONGEST_HEAD);
    }
    if let Ok(head) = Head::parse(&bytes) {
        // What is promised of every head.
        for partition in head.partitions() {
            let blocks = partition.new.size / 4096;
            let mut written: Vec<_> = partition
                .operations
                .iter()
                .flat_map(|operation| operation.destination.iter().copied())
                .chain(partition.verity.extents())
                .collect();
            written.sort_unstable();
            assert_eq!(written.iter().map(|extent| extent.blocks).sum::<u64>(), blocks);
            assert!(written.is_sorted_by(|one, next| one.end() == next.start));
        }
        millet_payload_fuzz::apply_without_blobs(&head);
    }
});
