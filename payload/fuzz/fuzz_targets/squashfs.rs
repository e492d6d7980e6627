//! squashfs images.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut image = input.to_vec();
    if image.len() > 4 {
        image[..4].copy_from_slice(b"hsqs");
    }
    millet_payload_fuzz::list(&image);
});
