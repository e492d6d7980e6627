//! Lessons of public advisories about other people's updaters, as far as a payload's reader and applier decide them;
//! `docs/advisories.md` has them all. Each names the line that, removed, turns it red.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::Write;

use bzip2::Compression;
use bzip2::write::BzEncoder;
use millet_payload::{ApplyError, Checkpoint, DecodeError, Head, apply};
use sha2::{Digest, Sha256};
use support::message::*;
use support::*;

/// The sign of bsdiff's integers, which are sign and magnitude.
const MINUS: u64 = 1 << 63;

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A `BSDIFF40` patch with these triples (length to add, length to copy, distance), which promises one block.
fn patch(triples: &[[u64; 3]]) -> Vec<u8> {
    let control: Vec<u8> = triples
        .as_flattened()
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let (control, bytes) = (bzip2(&control), bzip2(&[7; 2 * BLOCK]));
    let mut patch = b"BSDIFF40".to_vec();
    for number in [control.len(), bytes.len(), BLOCK] {
        patch.extend((number as u64).to_le_bytes());
    }
    patch.extend([control, bytes.clone(), bytes].concat());
    patch
}

/// Makes one block of four old ones; what was written around it must be as it was.
fn apply_patch(triples: &[[u64; 3]]) -> Result<Vec<u8>, ApplyError> {
    let old = images([("system", image(1, 4))]);
    let bytes = &old[&"system".parse().unwrap()];
    let info = |bytes: &[u8]| Info {
        size: Some(bytes.len() as u64),
        hash: Some(Sha256::digest(bytes).to_vec()),
    };
    let blob = patch(triples);
    let mut operation = replacement(SOURCE_BSDIFF, 0, &blob, extent(0, 1));
    operation.source = vec![extent(0, 4)];
    operation.source_hash = info(bytes).hash;
    let mut partition = system(1);
    partition.old = Some(info(bytes));
    partition.operations = vec![operation];
    let manifest = Manifest {
        minor_version: Some(6),
        partitions: vec![partition],
    };
    let payload = assemble(&manifest, &blob);
    let mut slots = MemorySlots::new(&old);
    slots.headroom = 4 * BLOCK;
    let applied = apply(
        &head(&payload),
        Checkpoint::default(),
        &mut blobs(&payload),
        &slots,
        &mut Journal::default(),
    );
    let behind = &slots.made("system", 4 * BLOCK)[BLOCK..];
    assert!(
        behind.iter().all(|byte| *byte == 0xa5),
        "written behind the image"
    );
    applied.map(|()| slots.made("system", BLOCK))
}

/// Red without `.is_none_or(|sum| sum > left)` in `decode_triple` (`apply/patch.rs`), or when its numbers are cast and
/// not converted: bspatch up to 4.3 wrote outside its buffer then (CVE-2014-9862, CVE-2020-14315).
#[test]
fn l20_control_triples_that_are_negative_or_overflow_are_refused() {
    let block = BLOCK as u64;
    let refused: [&[[u64; 3]]; 12] = [
        &[[MINUS | 1, block, 0]],
        &[[block, MINUS | 1, 0]],
        &[[MINUS | block, block + block, 0]],
        &[[MINUS | (MINUS - 1), MINUS - 1, 0]],
        &[[MINUS - 1, MINUS - 1, 0]],
        &[[MINUS - 1, 1, 0]],
        &[[1, MINUS - 1, 0]],
        &[[block + 1, 0, 0]],
        &[[block, 1, 0]],
        &[[block - 1, 0, 0], [2, 0, 0]],
        // The place in the old bytes overflows: by moving, and by adding after the move.
        &[[0, 1, MINUS - 1], [0, 1, MINUS - 1], [block, 0, 0]],
        &[[0, 1, MINUS - 1], [2, block - 3, 0], [0, 0, 0]],
    ];
    for triples in refused {
        let applied = apply_patch(triples);
        assert!(
            matches!(
                applied,
                Err(ApplyError::Refused {
                    error: DecodeError::Control,
                    ..
                })
            ),
            "{triples:?}: {applied:?}"
        );
    }
    // Before the old bytes and after them lie zeros, as for bspatch; it is no error to look there.
    for far in [MINUS | (2 * block), MINUS | (MINUS - 1), 4 * block, MINUS >> 1] {
        let made = apply_patch(&[[0, 1, far], [block - 1, 0, 0]]).unwrap();
        assert!(made[block as usize / 2] == 7, "{far:x}");
    }
}

/// Red without `.ok_or(OperationFault::NoHash("data"))?` in `read/check.rs`; that the hashes are compared is for
/// `l23_a_flipped_byte_of_a_blob_is_refused_before_a_decoder_sees_it`.
#[test]
fn l23_a_blob_or_source_without_a_hash_is_refused() {
    let block = [7; BLOCK];
    let parse = |minor_version, operation: Operation| {
        let mut partition = system(1);
        partition.old = (minor_version > 0).then(|| system(1).new.unwrap());
        partition.operations = vec![operation];
        let manifest = Manifest {
            minor_version: Some(minor_version),
            partitions: vec![partition],
        };
        let payload = assemble(&manifest, &block);
        let size = millet_payload::metadata_size(payload[..millet_payload::PREFIX].try_into().unwrap());
        Head::parse(&payload[..size.unwrap() as usize])
    };
    let whole = || replacement(REPLACE, 0, &block, extent(0, 1));
    parse(0, whole()).unwrap();
    for hash in [None, Some(Vec::new()), Some(vec![0; 31]), Some(vec![0; 33])] {
        let unhashed = Operation {
            data_hash: hash.clone(),
            ..whole()
        };
        assert!(parse(0, unhashed).is_err(), "data {hash:?}");
        for kind in [SOURCE_COPY, SOURCE_BSDIFF] {
            let mut unhashed = Operation {
                kind,
                source: vec![extent(0, 1)],
                source_hash: hash.clone(),
                ..whole()
            };
            if kind == SOURCE_COPY {
                (unhashed.data_offset, unhashed.data_length, unhashed.data_hash) = (None, None, None);
            }
            assert!(parse(6, unhashed).is_err(), "source of {kind} {hash:?}");
        }
    }
}

/// Applies one replacement that makes one block.
fn replace(kind: i32, blob: &[u8]) -> ApplyError {
    let mut partition = system(1);
    partition.operations = vec![replacement(kind, 0, blob, extent(0, 1))];
    let payload = payload(vec![partition], blob);
    let mut slots = MemorySlots::new(&Images::new());
    slots.headroom = BLOCK;
    let applied = apply(
        &head(&payload),
        Checkpoint::default(),
        &mut blobs(&payload),
        &slots,
        &mut Journal::default(),
    );
    assert!(
        slots.made("system", 2 * BLOCK)[BLOCK..]
            .iter()
            .all(|byte| *byte == 0xa5)
    );
    applied.unwrap_err()
}

/// Red without `read as u64 <= writer.left()` in `apply/replace.rs`; for zstd see
/// `l28_a_bomb_ends_where_its_destination_does`, for zips `l28_an_entry_cannot_unpack_to_more_than_it_says`.
#[test]
fn l28_bzip2_and_xz_stop_where_their_destination_ends() {
    let zeros = vec![0; 64 << 20];
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&zeros).unwrap();
    for (kind, bomb) in [(REPLACE_BZ, bzip2(&zeros)), (REPLACE_XZ, xz.finish().unwrap())] {
        assert!(bomb.len() < zeros.len() / 1000);
        let refused = replace(kind, &bomb);
        assert!(
            matches!(
                refused,
                ApplyError::Refused {
                    error: DecodeError::Length("data"),
                    ..
                }
            ),
            "{kind}: {refused:?}"
        );
    }
}

/// Red without the memory limit of `XzReader::new_mem_limit` in `apply/replace.rs`.
#[test]
fn l28_xz_that_asks_for_a_large_dictionary_is_refused() {
    let filters = |dictionary: u32| {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(dictionary);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream =
            liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
        let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        // The dictionary's size stands in the header, however little it would hold.
        xz.write_all(&[7; 2 * BLOCK]).unwrap();
        xz.finish().unwrap()
    };
    let refused = |dictionary| match replace(REPLACE_XZ, &filters(dictionary)) {
        ApplyError::Refused { error, .. } => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(8 << 20), DecodeError::Length("data")));
    for dictionary in [16 << 20, 256 << 20] {
        let error = refused(dictionary);
        assert!(
            matches!(error, DecodeError::Stream { stream: "data", .. }),
            "{error:?}"
        );
    }
}

/// Red without `idle > MOST_IDLE_TRIPLES` in `apply/patch.rs`: a few bytes of bzip2 hold millions of triples that do
/// nothing.
#[test]
fn l28_a_patch_of_idle_triples_is_refused() {
    let refused = apply_patch(&vec![[0, 0, 0]; 1 << 20]);
    assert!(
        matches!(
            refused,
            Err(ApplyError::Refused {
                error: DecodeError::Control,
                ..
            })
        ),
        "{refused:?}"
    );
}
