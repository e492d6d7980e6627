//! The codec against AOSP's samples and against encoders of every kind.

use proptest::prelude::*;
use zlib_rs::Strategy as ZlibStrategy;

use super::samples::{content, zlib};
use super::*;

/// Puffs of blocks, from AOSP external/puffin, `src/puffin_unittest.cc`.
const SAMPLES: [(&[u8], &[u8]); 9] = [
    // Stored, with bytes and without.
    (
        &[1, 5, 0, 0xfa, 0xff, 1, 2, 3, 4, 5],
        &[0, 0, 0x80, 4, 1, 2, 3, 4, 5, 0xff, 0x81],
    ),
    (&[1, 0, 0, 0xff, 0xff], &[0, 0, 0x80, 0xff, 0x81]),
    // With the fixed code: one literal, none, five.
    (&[0x63, 4, 0], &[0, 0, 0xa0, 0, 1, 0xff, 0x81]),
    (&[3, 0], &[0, 0, 0xa0, 0xff, 0x81]),
    (
        &[0x63, 0x64, 0x62, 0x66, 0x61, 5, 0],
        &[0, 0, 0xa0, 4, 1, 2, 3, 4, 5, 0xff, 0x81],
    ),
    // The last block or not, one or two.
    (&[0x62, 4, 0], &[0, 0, 0x20, 0, 1, 0xff, 0x81]),
    (
        &[0x62, 4, 0x88, 0x11, 0],
        &[0, 0, 0x20, 0, 1, 0xff, 0x81, 0, 0, 0x20, 0, 1, 0xff, 0x81],
    ),
    (
        &[0x63, 4, 0x88, 0x11, 0],
        &[0, 0, 0xa0, 0, 1, 0xff, 0x81, 0, 0, 0x20, 0, 1, 0xff, 0x81],
    ),
    (
        include_bytes!("../../tests/data/puffin/license.deflate"),
        include_bytes!("../../tests/data/puffin/license.puff"),
    ),
];

/// Bits of a stream that ends with zeros up to a whole byte, and the puff's.
fn huffed(puff: &[u8]) -> Result<(Vec<u8>, u64), DeflateError> {
    let mut bits = BitWriter::default();
    Huffer::new().huff(puff, &mut bits)?;
    let length = bits.position();
    bits.put(0, 7);
    let mut bytes = bits.whole_bytes().to_vec();
    bytes.truncate(length.div_ceil(8) as usize);
    Ok((bytes, length))
}

/// The puff of all blocks, and their length in bits.
fn puffed(deflate: &[u8]) -> Result<(Vec<u8>, u64), DeflateError> {
    let mut bits = BitReader::new(deflate, 0);
    let mut tokens = TokenWriter::new(usize::MAX);
    while !Puffer::new().block(&mut bits, &mut tokens)?.last {}
    Ok((tokens.finish(), bits.position()))
}

#[test]
fn puffs_are_those_of_puffin() {
    for (deflate, puff) in SAMPLES {
        let (made, length) = huffed(puff).unwrap();
        assert_eq!(made, deflate);
        let again = Puffer::new().puff(deflate, 0, length, LONGEST_PUFF);
        assert_eq!(again.unwrap(), puff);
    }
}

#[test]
fn broken_blocks_are_refused() {
    // AOSP external/puffin, src/puffin_unittest.cc: a wrong NLEN, and the reserved type.
    let stored = [1, 5, 0, 0xff, 0xff, 1, 2, 3, 4, 5];
    assert_eq!(puffed(&stored), Err(DeflateError::Stored));
    assert_eq!(puffed(&[7]), Err(DeflateError::BlockType));
    // RFC 1951, section 3.2.6: of the fixed code the lengths 286 and 287 and the distances 30 and 31 are never used.
    for (header, code) in [(3, 0b0110_0011), (3, 0b1110_0011)] {
        let mut bits = BitWriter::default();
        bits.put(header, 3);
        bits.put(code, 8);
        bits.put(0, 21);
        assert_eq!(puffed(bits.whole_bytes()), Err(DeflateError::NoCode));
    }
    // RFC 1951, section 3.2.7: 257 literals and 1 distance, two codes of one bit for 0 and for 11 to 138 zeros; two
    // runs of 138 are more than there are.
    let mut bits = BitWriter::default();
    for (value, width) in [
        (5, 3),
        (0, 14),
        (0, 6),
        (0b001_001, 6),
        (0xff, 8),
        (0xff, 8),
        (0, 32),
    ] {
        bits.put(value, width);
    }
    assert_eq!(puffed(bits.whole_bytes()), Err(DeflateError::CodeLengths));
    let (deflate, puff) = SAMPLES[8];
    for length in 0..deflate.len() {
        assert_eq!(puffed(&deflate[..length]), Err(DeflateError::EndsEarly));
    }
    for length in 1..puff.len() {
        assert_eq!(huffed(&puff[..length]).err(), Some(DeflateError::EndsEarly));
    }
    let (bits, limit) = (huffed(puff).unwrap().1, puff.len() as u64);
    let puff_with = |bits, limit| Puffer::new().puff(deflate, 0, bits, limit);
    assert_eq!(puff_with(bits, limit).unwrap(), puff);
    assert_eq!(puff_with(bits, limit - 1), Err(DeflateError::TooLong));
    assert_eq!(puff_with(bits - 1, limit), Err(DeflateError::Length));
}

#[test]
fn a_puff_that_no_deflate_makes_is_refused() {
    let (_, puff) = SAMPLES[8];
    let with = |at: usize, byte: u8| {
        let mut other = puff.to_vec();
        other[at] = byte;
        huffed(&other).err()
    };
    // A symbol that has no code: a literal that the text does not hold.
    assert_eq!(with(120, 0xee), Some(DeflateError::NoCode));
    // The reserved type; padding where there is none; more codes than there can be; fewer code lengths than announced.
    assert_eq!(
        huffed(&[0, 0, 0xe0, 0xff, 0x81]).err(),
        Some(DeflateError::BlockType)
    );
    assert_eq!(with(2, 0xc1), Some(DeflateError::Metadata));
    assert_eq!(with(3, 30), Some(DeflateError::CodeLengths));
    assert_eq!(with(3, 13), Some(DeflateError::Metadata));
    // A run byte beyond the last one, and a stored block with two runs of literals.
    assert_eq!(with(20, 156), Some(DeflateError::Metadata));
    let two_runs = [0, 0, 0x80, 0, 1, 0, 2, 0xff, 0x81];
    assert_eq!(huffed(&two_runs).err(), Some(DeflateError::Stored));
}

#[test]
fn every_level_and_strategy_comes_back() {
    for length in [0, 1, 100, 70_000, 400_000] {
        let content = content(length as u64 + 5, length);
        for level in 0..=9 {
            for strategy in 0..=4 {
                let strategy = ZlibStrategy::try_from(strategy).unwrap();
                let deflate = zlib(&content, level, strategy, 1 + level.min(8));
                let (puff, bits) = puffed(&deflate).unwrap();
                assert_eq!(bits.div_ceil(8), deflate.len() as u64);
                let (again, length) = huffed(&puff).unwrap();
                assert!(again == deflate && length == bits, "{level} {strategy:?}");
            }
        }
    }
}

#[test]
fn zopfli_s_blocks_come_back() {
    // Its code lengths run from one alphabet into the other.
    let content = content(3, 60_000);
    let mut deflate = Vec::new();
    zopfli::compress(
        Default::default(),
        zopfli::Format::Deflate,
        &content[..],
        &mut deflate,
    )
    .unwrap();
    let (puff, _) = puffed(&deflate).unwrap();
    assert!(huffed(&puff).unwrap().0 == deflate);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_is_refused_or_comes_back(
        seed in any::<u64>(), length in 0_usize..3000, level in 0_i32..10,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut deflate = zlib(&content(seed, length), level, ZlibStrategy::Default, 8);
        for (at, byte) in &flips {
            let at = at.index(deflate.len());
            deflate[at] ^= byte;
        }
        if let Ok((puff, bits)) = puffed(&deflate) {
            // A second spelling, of 258 say, makes a stream that is another one but has the same puff.
            let (again, _) = huffed(&puff).unwrap();
            let (same, _) = puffed(&again).unwrap();
            prop_assert_eq!(&same, &puff);
            if flips.is_empty() {
                prop_assert_eq!(bits.div_ceil(8), deflate.len() as u64);
                prop_assert_eq!(again, deflate);
            }
        }
    }

    #[test]
    fn any_puff_is_refused_or_comes_back(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut puff = SAMPLES[8].1.to_vec();
        for (at, byte) in &flips {
            let at = at.index(puff.len());
            puff[at] ^= byte;
        }
        if let Ok((deflate, bits)) = huffed(&puff) {
            prop_assert!(deflate.len() < puff.len() * 3);
            let again = Puffer::new().puff(&deflate, 0, bits, LONGEST_PUFF);
            prop_assert!(huffed(&again.unwrap()).unwrap() == (deflate, bits));
        }
    }
}
