//! ext2, ext3 and ext4 images.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut image = input.to_vec();
    if image.len() > 1024 + 0x3A {
        image[1024 + 0x38..1024 + 0x3A].copy_from_slice(&[0x53, 0xEF]);
    }
    millet_payload_fuzz::list(&image);
});
