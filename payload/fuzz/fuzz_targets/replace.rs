//! Compressed replacements.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millet_payload_fuzz::{REPLACE_BZ, REPLACE_XZ, apply_one};

fuzz_target!(|input: &[u8]| {
    let Some((choice, blob)) = input.split_first() else {
        return;
    };
    let kind = if choice & 1 == 0 { REPLACE_XZ } else { REPLACE_BZ };
    apply_one(kind, blob, &[], u64::from(choice >> 1) + 1);
});
