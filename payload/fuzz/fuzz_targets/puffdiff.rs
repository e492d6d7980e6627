//! Patches of deflate's tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millet_payload_fuzz::{PUFFDIFF, apply_one};

fuzz_target!(|input: &[u8]| {
    // The source is the input, too: its deflate streams are read.
    let Some((length, rest)) = input.split_first_chunk() else {
        return;
    };
    let (blob, source) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*length))));
    apply_one(PUFFDIFF, blob, source, 2);
});
