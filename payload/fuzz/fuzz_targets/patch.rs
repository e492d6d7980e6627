//! bsdiff patches: as they come, or as streams that are compressed here, so that the control triples are reached.
#![no_main]

use std::io::Write;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use libfuzzer_sys::fuzz_target;
use millet_payload_fuzz::{BROTLI_BSDIFF, apply_one};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let source: Vec<u8> = (0..8192_u32).map(|at| (at / 3) as u8).collect();
    if choice & 1 == 0 {
        return apply_one(BROTLI_BSDIFF, bytes, &source, 2);
    }
    // So many triples, and what remains is half of each stream.
    let (control, rest) = bytes.split_at(bytes.len().min(24 * usize::from(choice >> 1 & 15)));
    let (diff, extra) = rest.split_at(rest.len() / 2);
    let streams = [control, diff, extra].map(|stream| {
        let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(stream).unwrap();
        encoder.finish().unwrap()
    });
    let mut patch = b"BSDF2\x01\x01\x01".to_vec();
    for length in [streams[0].len(), streams[1].len(), 8192] {
        patch.extend((length as u64).to_le_bytes());
    }
    patch.extend(streams.concat());
    apply_one(BROTLI_BSDIFF, &patch, &source, 2);
});
