//! What engineers hand over, opened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod archive;
mod sparse;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use archive::{Entry, deflated, stored, zip};
use millet_payload::input::{ImageForm, Input, InputError, InputKind, ZipError};
use millet_payload::{Image, Options, ReadAt, ReadHeadError, write_delta, write_full};

const BLOCK: usize = 4096;

#[test]
fn a_folder_of_raw_and_sparse_images() {
    let folder = tempfile::tempdir().unwrap();
    let system = image(1, 300);
    write(folder.path(), "system.img", &sparse::of(&system));
    write(folder.path(), "boot.img", &image(2, 3)[..5000]);
    write(folder.path(), "notes.txt", b"nothing");
    let input = open(folder.path()).unwrap();
    assert_eq!(input.kind(), InputKind::Folder);
    assert!(sparse::of(&system).len() < system.len() / 2);
    assert!(content(&input, "system") == system);
    assert!(content(&input, "boot") == image(2, 3)[..5000]);
    let forms: Vec<_> = input
        .members()
        .iter()
        .map(|(name, member)| (name.as_str(), member.form))
        .collect();
    assert_eq!(forms, [("boot", ImageForm::Raw), ("system", ImageForm::Sparse)]);
    assert_eq!(input.images().len(), 2);
}

#[test]
fn a_full_payload_makes_its_images() {
    let folder = tempfile::tempdir().unwrap();
    let (system, boot) = (image(1, 300), image(2, 3));
    let images = [named("boot", &boot), named("system", &system)];
    let options = Options::default();
    let mut full = Vec::new();
    write_full(&images, &options, &(), &mut full).unwrap();
    write(folder.path(), "full.bin", &full);
    let input = open(&folder.path().join("full.bin")).unwrap();
    assert_eq!(input.kind(), InputKind::Payload);
    assert!(content(&input, "system") == system && content(&input, "boot") == boot);
    assert!(
        input
            .members()
            .values()
            .all(|member| member.form == ImageForm::Made)
    );

    let refused = |name: &str, payload: &[u8]| {
        write(folder.path(), name, payload);
        open(&folder.path().join(name)).err().unwrap()
    };
    let mut delta = Vec::new();
    write_delta(&images, &images, &options, &(), &mut delta).unwrap();
    let error = refused("delta.bin", &delta);
    assert!(matches!(error, InputError::Delta(_)) && error.to_string().contains("take the full payload"));
    let cut = refused("cut.bin", &full[..full.len() - 1]);
    assert!(
        matches!(cut, InputError::Head { error: ReadHeadError::CutOff { needs, .. }, .. } if needs == full.len() as u64),
        "{cut:?}"
    );
    assert!(matches!(
        refused("head.bin", &full[..100]),
        InputError::Head {
            error: ReadHeadError::CutOff { .. },
            ..
        }
    ));
    assert!(matches!(
        refused("prefix.bin", &full[..20]),
        InputError::Head {
            error: ReadHeadError::CutOff { .. },
            ..
        }
    ));
    let mut flipped = full.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(
        refused("flipped.bin", &flipped),
        InputError::Make { .. }
    ));
}

#[test]
fn a_zip_of_images_or_with_a_payload() {
    let (system, boot) = (image(1, 300), image(2, 3));
    let mut large = stored("boot.img", &boot);
    large.zip64 = true;
    let images = zip(&[
        deflated("system.img", &system),
        large,
        deflated("vendor.img", &sparse::of(&system)),
        stored("android-info.txt", b"board=x"),
        stored("IMAGES/system.img", b"another"),
    ]);
    let input = read(images).unwrap();
    assert_eq!(input.kind(), InputKind::Zip);
    assert!(content(&input, "system") == system && content(&input, "vendor") == system);
    assert!(content(&input, "boot") == boot);
    assert_eq!(
        input.members()[&"boot".parse().unwrap()].origin,
        "a.zip: boot.img"
    );
    let input = read(zip(&[stored("META/x", b""), deflated("IMAGES/boot.img", &boot)])).unwrap();
    assert!(content(&input, "boot") == boot);

    let mut full = Vec::new();
    write_full(&[named("system", &system)], &Options::default(), &(), &mut full).unwrap();
    for payload in [stored("payload.bin", &full), deflated("payload.bin", &full)] {
        let package = zip(&[stored("META-INF/com/android/metadata", b"ota-type=AB"), payload]);
        let input = read(package).unwrap();
        assert_eq!(input.kind(), InputKind::Package);
        assert!(content(&input, "system") == system);
    }
}

/// Red without `!names.insert(name)` in `Zip::open` (`input/zip.rs`): one reader would see the first, another the last
/// (CVE-2013-4787, Android's "master key").
#[test]
fn l24_an_archive_with_one_name_twice_is_refused() {
    let (boot, other) = (image(2, 3), image(4, 3));
    for twice in [
        [deflated("boot.img", &boot), deflated("boot.img", &boot)],
        [deflated("boot.img", &boot), stored("boot.img", &other)],
        // Also a name that nobody asks for.
        [stored("x", b"1"), stored("x", b"2")],
    ] {
        let name = twice[0].name.clone();
        let archive = [stored("system.img", &boot)].into_iter().chain(twice);
        let refused = zip_error(zip(&archive.collect::<Vec<_>>()));
        assert!(matches!(refused, ZipError::Twice(twice) if twice == name));
    }
}

/// Red without the comparison of `entry.size` with `most` in `Zip::content`, and without `read as u64 > left` in `pump`
/// (`input/zip.rs`).
#[test]
fn l28_an_entry_cannot_unpack_to_more_than_it_says() {
    let boot = image(2, 3);
    let entry = || deflated("boot.img", &boot);
    let bomb = Entry {
        size: 1 << 40,
        zip64: true,
        ..entry()
    };
    assert!(matches!(zip_error(zip(&[bomb])), ZipError::Size { .. }));
    let shorter = Entry {
        size: boot.len() as u64 - 1,
        ..entry()
    };
    assert!(matches!(zip_error(zip(&[shorter])), ZipError::Length { .. }));
}

#[test]
fn an_archive_that_lies_is_refused() {
    let boot = image(2, 3);
    let entry = || deflated("boot.img", &boot);
    let refused = |entries: &[Entry]| zip_error(zip(entries));
    let other_name = Entry {
        local_name: "misc.img".into(),
        ..entry()
    };
    assert!(matches!(refused(&[other_name]), ZipError::OtherName { .. }));
    let mut overlapping = zip(&[stored("one.img", &boot), stored("two.img", &boot)]);
    let first = 30 + 7 + boot.len();
    // The first entry's size in the directory grows over the second one.
    let directory = overlapping.len() - 22 - 2 * (46 + 7);
    let size = (boot.len() as u32 + 100).to_le_bytes();
    overlapping[directory + 20..directory + 24].copy_from_slice(&size);
    overlapping[directory + 24..directory + 28].copy_from_slice(&size);
    assert!(directory > first);
    assert!(matches!(zip_error(overlapping), ZipError::Overlap(name) if name == "two.img"));
    let longer = Entry {
        size: boot.len() as u64 + 1,
        ..entry()
    };
    assert!(matches!(refused(&[longer]), ZipError::Length { .. }));
    for damaged in [entry(), stored("boot.img", &boot)] {
        let damaged = Entry {
            checksum: 1,
            ..damaged
        };
        assert!(matches!(refused(&[damaged]), ZipError::Checksum(_)));
    }
    assert!(matches!(
        refused(&[Entry { flags: 1, ..entry() }]),
        ZipError::Encrypted(_)
    ));
    assert!(matches!(
        refused(&[Entry {
            method: 12,
            ..entry()
        }]),
        ZipError::Method { method: 12, .. }
    ));
    let mut uncounted = zip(&[entry(), stored("a", b"")]);
    let end = uncounted.len() - 22;
    uncounted[end + 8..end + 12].copy_from_slice(&[1, 0, 1, 0]);
    assert!(matches!(
        zip_error(uncounted),
        ZipError::Entries { says: 1, has: 2 }
    ));
    let whole = zip(&[entry(), stored("a", b"")]);
    for length in 4..whole.len() {
        zip_error(whole[..length].to_vec());
    }
    let twice = [stored("system.img", &boot), stored("misc.img", &boot)];
    assert!(matches!(read(zip(&twice)), Err(InputError::Name { origin, .. }) if origin == "a.zip: misc.img"));
    assert!(matches!(
        read(zip(&[stored("a", b"")])),
        Err(InputError::NoImages { .. })
    ));
}

#[test]
fn what_is_no_input_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| open(&folder.path().join(name)).err().unwrap();
    assert!(matches!(refused("nowhere"), InputError::Open { .. }));
    write(folder.path(), "empty/notes.txt", b"");
    assert!(matches!(refused("empty"), InputError::NoImages { .. }));
    write(folder.path(), "zero/boot.img", b"");
    assert!(refused("zero").to_string().ends_with("zero/boot.img is empty"));
    write(folder.path(), "name/system_a.img", b"1");
    assert!(
        refused("name")
            .to_string()
            .contains("system_a.img does not name a partition")
    );
    write(
        folder.path(),
        "broken/system.img",
        &sparse::of(&image(1, 9))[..100],
    );
    let error = refused("broken");
    assert!(
        error.to_string().contains("sparse image") && error.source().is_some(),
        "{error:?}"
    );
    write(folder.path(), "alone.img", &image(1, 1));
    assert!(matches!(refused("alone.img"), InputError::Unknown(_)));
    write(folder.path(), "short", b"Cr");
    assert!(matches!(refused("short"), InputError::Unknown(_)));
}

fn open(path: &Path) -> Result<Input, InputError> {
    Input::open(path, &std::env::temp_dir(), &mut |done, total| {
        assert!(done <= total);
    })
}

fn read(archive: Vec<u8>) -> Result<Input, InputError> {
    let mut progress = |done, total| assert!(done <= total);
    Input::read(
        Arc::new(archive),
        "a.zip".into(),
        &std::env::temp_dir(),
        &mut progress,
    )
}

fn zip_error(archive: Vec<u8>) -> ZipError {
    match read(archive).err().unwrap() {
        InputError::Zip { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn content(input: &Input, name: &str) -> Vec<u8> {
    let bytes = &input.members()[&name.parse().unwrap()].bytes;
    let mut content = vec![0; bytes.size().unwrap() as usize];
    bytes.read_exact_at(&mut content, 0).unwrap();
    content
}

fn named<'a>(name: &str, bytes: &'a Vec<u8>) -> Image<'a> {
    Image {
        name: name.parse().unwrap(),
        bytes,
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Blocks of a seed: some zero, some of one byte, some of noise.
fn image(seed: u64, blocks: usize) -> Vec<u8> {
    let mut state = seed;
    let mut image = Vec::with_capacity(blocks * BLOCK);
    for _ in 0..blocks {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match state >> 61 {
            0..4 => image.extend([0; BLOCK]),
            4 => image.extend([state as u8; BLOCK]),
            _ => image.extend((0..BLOCK as u64).map(|at| (at.wrapping_mul(state | 1) >> 32) as u8)),
        }
    }
    image
}
