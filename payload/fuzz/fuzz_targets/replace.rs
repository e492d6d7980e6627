//! Compressed replacements.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millet_payload_fuzz::{REPLACE_BZ, REPLACE_XZ, REPLACE_ZSTD, apply_one};

fuzz_target!(|input: &[u8]| {
    let Some((choice, blob)) = input.split_first() else {
        return;
    };
    let kind = match choice & 3 {
        0 | 2 => REPLACE_XZ,
        1 => REPLACE_BZ,
        _ => REPLACE_ZSTD,
    };
    apply_one(kind, blob, &[], u64::from(choice >> 2) + 1);
});
