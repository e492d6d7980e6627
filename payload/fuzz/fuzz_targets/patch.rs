//! bsdiff patches: as they come, or as streams that are wrapped here, so that the control triples are reached.
#![no_main]

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
    let streams = [control, diff, extra].map(brotli_stored);
    let mut patch = b"BSDF2\x02\x02\x02".to_vec();
    for length in [streams[0].len(), streams[1].len(), 8192] {
        patch.extend((length as u64).to_le_bytes());
    }
    patch.extend(streams.concat());
    apply_one(BROTLI_BSDIFF, &patch, &source, 2);
});

/// Bytes as a brotli stream that does not compress them (RFC 7932, 9.1 and 9.2): a compressor would be most of a run.
fn brotli_stored(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(1 << 16)];
    if bytes.is_empty() {
        // WBITS 16, ISLAST, ISLASTEMPTY.
        return vec![0b110];
    }
    // WBITS 16, not the last block, four nibbles of length less one, uncompressed; then an empty last block.
    let header = (bytes.len() as u32 - 1) << 4 | 1 << 20;
    let mut stream = header.to_le_bytes()[..3].to_vec();
    stream.extend_from_slice(bytes);
    stream.push(0b11);
    stream
}
