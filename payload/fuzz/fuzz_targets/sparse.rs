//! Android sparse images.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millet_payload::ReadAt;
use millet_payload::input::SparseImage;

fuzz_target!(|input: &[u8]| {
    let mut file = 0xED26_FF3A_u32.to_le_bytes().to_vec();
    file.extend(input);
    let Ok(image) = SparseImage::open(file) else {
        return;
    };
    let size = image.size().unwrap();
    let mut buffer = vec![0; 70_000];
    // Everything inside can be read, wherever it begins; nothing behind the end can.
    let step = (size / 50).max(1) as usize;
    for start in (0..size).step_by(step) {
        let length = buffer.len().min((size - start) as usize);
        image.read_exact_at(&mut buffer[..length], start).unwrap();
    }
    assert!(image.read_exact_at(&mut buffer[..1], size).is_err());
});
