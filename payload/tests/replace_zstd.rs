//! REPLACE_ZSTD: frames that Debian's zstd made (`tests/data/zstd`), and frames that nobody should make.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::error::Error;
use std::fs;

use millet_payload::{ApplyError, Checkpoint, DecodeError, ZSTD_WINDOW, apply};
use support::message::{REPLACE_ZSTD, extent, payload, replacement, system};
use support::*;

fn sample(name: &str) -> Vec<u8> {
    fs::read(format!(
        "{}/tests/data/zstd/{name}.zst",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

/// What the samples hold: 1; 1, 2; 1, 2, 3; and so on, a number on a line, cut off at 256 KiB.
fn ladder() -> Vec<u8> {
    let mut text: String = (1..=400)
        .flat_map(|last| (1..=last).map(|number| format!("{number}\n")))
        .collect();
    text.truncate(256 << 10);
    text.into_bytes()
}

/// Applies one REPLACE_ZSTD that makes so many blocks.
fn replace(blob: &[u8], blocks: u64) -> Result<Vec<u8>, ApplyError> {
    let mut partition = system(blocks);
    partition.operations = vec![replacement(REPLACE_ZSTD, 0, blob, extent(0, blocks))];
    let payload = payload(vec![partition], blob);
    let slots = MemorySlots::new(&Images::new());
    let head = head(&payload);
    let mut journal = Journal::default();
    apply(
        &head,
        Checkpoint::default(),
        &mut blobs(&payload),
        &slots,
        &mut journal,
    )?;
    Ok(slots.made("system", blocks as usize * BLOCK))
}

/// The chain of what is wrong with the blob, or the decoder's verdict on its length.
fn refusal(blob: &[u8], blocks: u64) -> String {
    match replace(blob, blocks) {
        Err(ApplyError::Refused {
            kind: "REPLACE_ZSTD",
            error: DecodeError::Stream { error, .. },
            ..
        }) => {
            let mut chain = error.to_string();
            let mut next = error.source();
            while let Some(error) = next {
                chain = format!("{chain}: {error}");
                next = error.source();
            }
            chain
        }
        Err(ApplyError::Refused {
            error: DecodeError::Length("data"),
            ..
        }) => "length".into(),
        other => panic!("{other:?}"),
    }
}

/// A frame of one raw block (RFC 8878, 3.1.1): the bits of its descriptor, what follows it, and the content.
fn frame(descriptor: u8, fields: &[u8], content: &[u8]) -> Vec<u8> {
    let last_raw_block = (content.len() as u32) << 3 | 1;
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    frame.push(descriptor);
    frame.extend(fields);
    frame.extend(&last_raw_block.to_le_bytes()[..3]);
    frame.extend(content);
    frame
}

/// A skippable frame (RFC 8878, 3.1.2) that claims a length.
fn skippable(claims: u32, content: &[u8]) -> Vec<u8> {
    [
        0x184d_2a55_u32.to_le_bytes().as_slice(),
        &claims.to_le_bytes(),
        content,
    ]
    .concat()
}

// Frame_Header_Descriptor: content size in 4 bytes, single segment; or nothing but a window.
const SINGLE: u8 = 0b1010_0000;
const WINDOW: u8 = 0;
// Window_Descriptor: an exponent above 10 in the upper five bits, eighths in the lower three.
const KIB_128: u8 = 7 << 3;
const MIB_8: u8 = 13 << 3;

#[test]
fn what_zstd_made_is_decoded() {
    let expected = ladder();
    for name in ["stream", "sized", "two", "parallel"] {
        assert!(replace(&sample(name), 64).unwrap() == expected, "{name}");
    }
}

/// Red without the cap of `ZstdFrames` in `apply/zstd.rs`.
#[test]
fn l28_a_window_above_the_cap_is_refused() {
    assert_eq!(ZSTD_WINDOW, 8 << 20);
    let content = [7; BLOCK];
    assert_eq!(replace(&frame(WINDOW, &[MIB_8], &content), 1).unwrap(), content);
    for refused in [
        sample("wide"),
        // The next larger window, the largest there is, and a segment of 8 MiB and a byte.
        frame(WINDOW, &[MIB_8 + 1], &content),
        frame(WINDOW, &[0xff], &content),
        frame(SINGLE, &((8_u32 << 20) + 1).to_le_bytes(), &content),
        frame(SINGLE, &u32::MAX.to_le_bytes(), &content),
    ] {
        let error = refusal(&refused, 1).to_lowercase();
        assert!(error.contains("window"), "{error}");
    }
}

#[test]
fn a_frame_that_needs_a_dictionary_is_refused() {
    let error = refusal(&sample("dictionary"), 1);
    assert!(error.contains("dict"), "{error}");
}

#[test]
fn a_frame_that_ends_early_is_refused_wherever_it_ends() {
    for name in ["sized", "parallel"] {
        let whole = sample(name);
        for length in 1..whole.len() {
            let outcome = replace(&whole[..length], 64);
            assert!(
                matches!(outcome, Err(ApplyError::Refused { .. })),
                "{name}, {length}"
            );
        }
    }
}

#[test]
fn another_length_than_the_destination_is_refused() {
    for blocks in [1, 63, 65, 1000] {
        assert_eq!(refusal(&sample("stream"), blocks), "length");
    }
    let one = frame(WINDOW, &[KIB_128], &[7; BLOCK]);
    assert_eq!(refusal(&[one.clone(), one].concat(), 1), "length");
}

#[test]
fn a_frame_that_lies_about_its_content_is_refused() {
    let content = [7; BLOCK];
    let sized = |size: u32| frame(SINGLE, &size.to_le_bytes(), &content);
    assert_eq!(replace(&sized(4096), 1).unwrap(), content);
    assert!(refusal(&sized(4097), 1).contains("declares 4097 bytes and holds 4096"));
    // A block is not larger than its frame's window.
    refusal(&sized(4095), 1);
}

#[test]
fn frames_without_content_are_passed_over() {
    let content = [7; BLOCK];
    let one = frame(WINDOW, &[KIB_128], &content);
    let around = [
        skippable(5, b"hello"),
        skippable(0, b""),
        one.clone(),
        skippable(3, b"end"),
    ];
    assert_eq!(replace(&around.concat(), 1).unwrap(), content);
    let empty = frame(WINDOW, &[KIB_128], &[]);
    assert_eq!(
        replace(&[empty.clone(), one.clone(), empty].concat(), 1).unwrap(),
        content
    );
    assert_eq!(refusal(&skippable(0, b""), 1), "length");
    // A skippable frame that reaches beyond the blob, and bytes that are no frame.
    refusal(&[one.clone(), skippable(u32::MAX, b"x")].concat(), 1);
    for trailing in [b"x".as_slice(), b"trailing bytes", &[0; 64]] {
        refusal(&[one.as_slice(), trailing].concat(), 1);
    }
}

/// Red without `read as u64 <= writer.left()` in `apply/replace.rs`.
#[test]
fn l28_a_bomb_ends_where_its_destination_does() {
    // Blocks of one repeated byte (RFC 8878, 3.1.1.2.2) that would make 128 KiB each, a thousand of them.
    let rle = |last: u32| ((128_u32 << 10) << 3 | 1 << 1 | last).to_le_bytes();
    let mut bomb = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    bomb.extend([WINDOW, KIB_128]);
    for _ in 0..1000 {
        bomb.extend([rle(0)[0], rle(0)[1], rle(0)[2], 0]);
    }
    bomb.extend([rle(1)[0], rle(1)[1], rle(1)[2], 0]);
    assert_eq!(refusal(&bomb, 32), "length");
}

#[test]
fn flipped_bits_end_in_an_error_or_in_other_bytes() {
    let whole = sample("stream");
    let mut dice = Dice::new(5);
    for _ in 0..2000 {
        let mut broken = whole.clone();
        let at = dice.below(broken.len());
        broken[at] ^= 1 << dice.below(8);
        match replace(&broken, 64) {
            Ok(_) | Err(ApplyError::Refused { .. }) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
}
