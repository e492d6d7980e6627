//! Zip archives, with what they hold.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use millet_payload::ReadAt;
use millet_payload::input::Input;

fuzz_target!(|input: &[u8]| {
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend(input);
    let mut progress = |done, total| assert!(done <= total);
    let opened = Input::read(
        Arc::new(archive),
        "zip".into(),
        &std::env::temp_dir(),
        &mut progress,
    );
    for member in opened.iter().flat_map(|input| input.members().values()) {
        let size = member.bytes.size().unwrap().min(1 << 16);
        member
            .bytes
            .read_exact_at(&mut vec![0; size as usize], 0)
            .unwrap();
    }
});
