//! EROFS images.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut image = input.to_vec();
    if image.len() > 1024 + 4 {
        image[1024..1024 + 4].copy_from_slice(&0xE0F5_E1E2_u32.to_le_bytes());
    }
    millet_payload_fuzz::list(&image);
});
