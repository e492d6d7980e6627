//! Files that hold deflate, patched and judged.

use std::ops::Range;

use millet_protocol::{PartitionName, Sha256Digest};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use zlib_rs::Strategy as ZlibStrategy;

use super::locate::{announces_deflate, locate, search};
use super::*;
use crate::apply::puffpatched;
use crate::format::{Action, Blob, Extent, Info, Operation, PatchKind, Source};
use crate::puff::samples::{content, zlib};
use crate::read::Head;
use crate::storage::Image;
use crate::write::{MINOR_DELTA, PayloadWriter};

const BLOCK: usize = 4096;

fn deflated(content: &[u8], level: i32) -> Vec<u8> {
    zlib(content, level, ZlibStrategy::Default, 8)
}

/// A zip of named members, padded to whole blocks; sizes stand before the data, or behind it.
fn zip(members: &[(String, Vec<u8>)], level: i32, sizes_follow: bool) -> Vec<u8> {
    let mut file = Vec::new();
    for (name, content) in members {
        let data = deflated(content, level);
        let known = if sizes_follow { 0 } else { data.len() as u32 };
        file.extend(b"PK\x03\x04\x14\0");
        file.extend([if sizes_follow { 8 } else { 0 }, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(known.to_le_bytes());
        file.extend((content.len() as u32).to_le_bytes());
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend(name.as_bytes());
        file.extend(data);
    }
    for (name, _) in members {
        file.extend(b"PK\x01\x02 a directory entry ");
        file.extend(name.as_bytes());
    }
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    file
}

fn members(seed: u64, count: usize, longest: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|n| {
            let seed = seed.wrapping_add(n as u64 * 77);
            (
                format!("lib/{n}.so"),
                content(seed, (seed >> 3) as usize % longest),
            )
        })
        .collect()
}

/// A few bytes changed, put in and taken out in some members; one is new and one has gone.
fn edited(old: &[(String, Vec<u8>)], seed: u64) -> Vec<(String, Vec<u8>)> {
    let mut new = old.to_vec();
    for (n, (_, content)) in new.iter_mut().enumerate() {
        let at = (seed as usize).wrapping_mul(n + 3) % (content.len() + 1);
        match (seed as usize + n) % 4 {
            0 => content
                .splice(at..at, *b"something that was put in")
                .for_each(drop),
            1 => content.drain(at..(at + 30).min(content.len())).for_each(drop),
            2 if at < content.len() => content[at] ^= 0x55,
            _ => {}
        }
    }
    if !new.is_empty() {
        new.remove(seed as usize % new.len());
    }
    new.insert(new.len() / 2, ("added".to_owned(), content(seed ^ 9, 5000)));
    new
}

/// A blob for whole files.
fn puffdiff(old: &[u8], new: &[u8]) -> Result<Option<Vec<u8>>, GenerateError> {
    of_deflates(old, locate(old).deflates, new, locate(new).deflates)
}

fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

fn bits(deflates: &[Deflate]) -> u64 {
    deflates.iter().map(|deflate| deflate.bits.length).sum()
}

/// Applies a blob with our reader and with another one.
fn judged(old: &[u8], blob: &[u8], size: usize) -> Vec<u8> {
    let made = puffpatched(old, blob, size).unwrap();
    assert!(::puffdiff::puffpatch(old, blob).unwrap() == made);
    made
}

fn joined(bytes: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let pieces: Vec<_> = ranges.iter().map(|range| &bytes[range.clone()]).collect();
    pieces.concat()
}

const LIMITS: Limits = Limits {
    new: 10 * BLOCK,
    old: 40 * BLOCK,
    patch: 8000,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn zips_are_patched(seed in any::<u64>(), count in 1_usize..12, level in 1_i32..10, follow in any::<bool>()) {
        let old_members = members(seed, count, 60_000);
        let new_members = edited(&old_members, seed);
        let (old, new) = (zip(&old_members, level, follow), zip(&new_members, level, follow));
        if let Some(blob) = puffdiff(&old, &new).unwrap() {
            prop_assert!(judged(&old, &blob, new.len()) == new);
        }
        let whole = 0..new.len();
        let mut made = Vec::new();
        for piece in pieces(&old, &new, std::slice::from_ref(&whole), LIMITS).unwrap() {
            let (from, to) = (joined(&old, &piece.old), joined(&new, &piece.new));
            prop_assert!(to.len() <= LIMITS.new && to.len() % BLOCK == 0 && from.len() % BLOCK == 0);
            if let Some(blob) = piece.patch {
                prop_assert!(judged(&from, &blob, to.len()) == to);
            }
            made.extend(piece.new);
        }
        prop_assert_eq!(joined(&new, &made).len(), new.len());
        prop_assert!(made.is_sorted_by(|one, other| one.end <= other.start));
    }

    #[test]
    fn a_changed_blob_is_refused_or_makes_other_bytes_of_the_right_length(
        seed in any::<u64>(), at in any::<prop::sample::Index>(), flip in 1_u8..,
    ) {
        let old_members = members(seed, 3, 9000);
        let (old, new) = (zip(&old_members, 6, false), zip(&edited(&old_members, seed), 6, false));
        if let Some(mut blob) = puffdiff(&old, &new).unwrap() {
            let at = at.index(blob.len());
            blob[at] ^= flip;
            if let Ok(made) = puffpatched(&old, &blob, new.len()) {
                prop_assert_eq!(made.len(), new.len());
            }
        }
    }

    #[test]
    fn any_bytes_are_searched(mut bytes in proptest::collection::vec(any::<u8>(), 0..5000), places in proptest::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        let headers: [&[u8]; 3] = [b"PK\x03\x04\x14\0\x08\0\x08\0", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\0\0\x02\0IDAT\x78\x9c"];
        for (n, place) in places.iter().enumerate() {
            let at = place.index(bytes.len() + 1);
            bytes.splice(at..at, headers[n % 3].iter().copied());
        }
        let found = locate(&bytes);
        let size = bytes.len() as u64 * 8;
        let mut last = 0;
        for deflate in &found.deflates {
            prop_assert!(deflate.bits.offset >= last);
            last = deflate.bits.offset + deflate.bits.length;
        }
        prop_assert!(last <= size);
    }
}

#[test]
fn a_patch_by_tokens_is_far_smaller() {
    let old_members: Vec<_> = (0..6)
        .map(|n| (format!("{n}.so"), content(n + 7, 150_000)))
        .collect();
    let mut new_members = old_members.clone();
    for (_, content) in &mut new_members {
        content.splice(100..100, *b"put in near the beginning");
    }
    let (old, new) = (zip(&old_members, 6, false), zip(&new_members, 6, false));
    let by_bytes = encode::patch(&diff::diff(&old, &new).unwrap(), new.len()).unwrap();
    let by_tokens = puffdiff(&old, &new).unwrap().unwrap();
    assert!(judged(&old, &by_tokens, new.len()) == new);
    assert!(
        by_tokens.len() * 4 < by_bytes.len(),
        "{} {}",
        by_tokens.len(),
        by_bytes.len()
    );
}

#[test]
fn parts_of_a_file_are_widened_to_whole_deflate_and_patched_together() {
    let old_members: Vec<_> = (0..30)
        .map(|n| (format!("{n}.so"), content(n + 7, 150_000)))
        .collect();
    let new_members: Vec<_> = old_members
        .iter()
        .map(|(name, old)| (name.clone(), [&old[..500], b"put in", &old[500..]].concat()))
        .collect();
    let (old, new) = (zip(&old_members, 6, false), zip(&new_members, 6, false));
    let quarter = new.len() / 4 / BLOCK * BLOCK;
    let wanted = [
        BLOCK..2 * BLOCK,
        2 * quarter..2 * quarter + BLOCK,
        3 * quarter..3 * quarter + BLOCK,
    ];
    let limits = Limits {
        new: new.len(),
        old: old.len(),
        patch: new.len(),
    };
    let made = pieces(&old, &new, &wanted, limits).unwrap();
    let [piece] = made.as_slice() else {
        panic!("{} pieces", made.len());
    };
    assert!(piece.new.len() == 3 && piece.old.len() > 1, "{:?}", piece.old);
    let (from, to) = (joined(&old, &piece.old), joined(&new, &piece.new));
    assert!(to.len() < new.len() / 2);
    assert!(judged(&from, piece.patch.as_ref().unwrap(), to.len()) == to);
    for wanted in wanted {
        let inside = |range: &Range<usize>| range.start <= wanted.start && wanted.end <= range.end;
        let range = piece.new.iter().find(|range| inside(range)).unwrap();
        for deflate in locate(&new).deflates {
            let first = (deflate.bits.offset / 8) as usize;
            let end = (deflate.bits.offset + deflate.bits.length).div_ceil(8) as usize;
            let touches = first < wanted.end && end > wanted.start;
            assert!(
                !touches || range.start <= first && end <= range.end,
                "{wanted:?} {range:?}"
            );
        }
    }
}

/// Through the manifest and back, as a device does it.
#[test]
fn an_operation_is_written_and_applied() {
    let old_members = members(0x1234_5678, 5, 60_000);
    let (old, new) = (
        zip(&old_members, 6, false),
        zip(&edited(&old_members, 3), 6, false),
    );
    let blob = puffdiff(&old, &new).unwrap().unwrap();
    let info = |bytes: &[u8]| Info {
        size: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    let whole = |bytes: &[u8]| Extent {
        start: 0,
        blocks: (bytes.len() / BLOCK) as u64,
    };
    let operation = Operation {
        action: Action::Patch {
            kind: PatchKind::Puffin,
            source: Source {
                extents: vec![whole(&old)],
                sha256: sha256(&old),
            },
            blob: Blob {
                offset: 0,
                length: blob.len() as u64,
                sha256: sha256(&blob),
            },
        },
        destination: vec![whole(&new)],
    };
    let name: PartitionName = "system".parse().unwrap();
    let mut writer = PayloadWriter::new(MINOR_DELTA, &std::env::temp_dir()).unwrap();
    writer.partition(&name, Some(info(&old)), info(&new), 0);
    writer.operation(&operation, &blob).unwrap();
    let mut payload = Vec::new();
    let summary = writer.finish(&mut payload).unwrap();
    assert_eq!(summary.operations["PUFFDIFF"], (1, blob.len() as u64));
    let (head, mut blobs) = payload.split_at(summary.metadata_size as usize);
    let head = Head::parse(head).unwrap();
    let old = [Image { name, bytes: &old }];
    crate::verify(&head, &mut blobs, &old, &std::env::temp_dir(), &mut |_| ()).unwrap();
}

#[test]
fn all_formats_are_found() {
    let (content, mut file) = (content(1, 150_000), vec![0xee; 1000]);
    // With little memory blocks are short.
    let deflate = zlib(&content, 6, ZlibStrategy::Default, 2);
    let blocks = |file: &[u8]| locate(file).deflates.len();

    let plain = file.clone();
    file.extend(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03a name\0");
    file.extend(&deflate);
    file.extend([1, 2, 3, 4]);
    file.extend((content.len() as u32).to_le_bytes());
    assert!(blocks(&file) > 1);
    assert!(announces_deflate(&file));
    // A length that is not the content's: something else that looked like gzip.
    let length = file.len() - 4;
    file[length] ^= 1;
    assert_eq!(blocks(&file), 0);
    // Cut off, all blocks before the cut.
    file.truncate(length / 2);
    assert!(blocks(&file) > 0 && bits(&locate(&file).deflates) <= length as u64 * 4);

    let mut png = plain.clone();
    png.extend((deflate.len() as u32 + 6).to_be_bytes());
    png.extend(b"IDAT\x78\x9c");
    png.extend(&deflate);
    let in_png = blocks(&png);
    assert!(in_png > 1);
    // The next chunk's header stands in the middle of the stream.
    let chunk = plain.len();
    png[chunk..chunk + 4].copy_from_slice(&(deflate.len() as u32 / 2).to_be_bytes());
    assert!((1..in_png).contains(&blocks(&png)));

    let mut zip = zip(&[("name".to_owned(), content)], 6, false);
    assert!(blocks(&zip) > 0);
    zip[18] ^= 1;
    assert_eq!(blocks(&zip), 0);

    assert_eq!(blocks(&plain), 0);
    assert!(!announces_deflate(&plain));
    assert!(puffdiff(&plain, &plain).unwrap().is_none());
}

#[test]
fn stored_blocks_and_what_both_have_stay_bytes() {
    let noise: Vec<u8> = (0..40_000_u32)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9).rotate_left(n % 31).to_le_bytes())
        .collect();
    let stored = zip(&[("noise".to_owned(), noise)], 0, false);
    assert!(locate(&stored).deflates.is_empty() && locate(&stored).members.len() == 1);
    let members = members(3, 4, 50_000);
    let (old, mut new) = (zip(&members, 6, false), vec![0; BLOCK]);
    new.extend(&old);
    assert!(puffdiff(&old, &new).unwrap().is_none());
}

/// A stream whose puff makes other bits: 258 as 227 + 31 (RFC 1951, section 3.2.5).
#[test]
fn what_a_puff_does_not_bring_back_stays_bytes() {
    let mut bits = crate::puff::BitWriter::default();
    // The fixed code: literal 0, length symbol 284 with extra bits 31, distance symbol 0, end.
    for (value, width) in [
        (3, 3),
        (0b0000_1100, 8),
        (0b0010_0011, 8),
        (31, 5),
        (0, 5),
        (0, 7),
    ] {
        bits.put(value, width);
    }
    bits.put(0, 4);
    let mut file = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    file.extend(bits.whole_bytes());
    let mut found = locate(&file).deflates;
    assert_eq!(found.len(), 1);
    stream::keep_exact(&file, &mut found);
    assert!(found.is_empty());
}

#[test]
fn headers_without_streams_end_the_search() {
    // A match at the very beginning: the fixed code, length 3, distance 1.
    let mut bits = crate::puff::BitWriter::default();
    for (value, width) in [(3, 3), (0b0100_0000, 7), (0, 5), (0, 7)] {
        bits.put(value, width);
    }
    bits.put(0, 2);
    // A zip header with the lengths behind the data: nothing else tells that this is no stream.
    let mut file = b"PK\x03\x04\x14\0\x08\0\x08\0".to_vec();
    file.resize(30, 0);
    file.extend(bits.whole_bytes());
    file.extend(b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    file.extend(deflated(&content(5, 900), 9));
    assert_eq!(search(&file, 1).members.len(), 0);
    assert_eq!(locate(&file).members.len(), 1);
}
