//! Images that lie.

use millet_payload::filesystem::{Fault, FilesystemError, Subject, files};

use super::fixture;
use super::maker::{RECIPES, next};

/// Bytes before which no fixture has content, only what describes it (and, in ext4, inode tables).
const METADATA: u64 = 400_000;

#[test]
fn damaged_images_end_with_an_error_or_a_listing() {
    let others = ["squashfs-gzip", "squashfs-xz", "squashfs-plain"];
    for name in RECIPES.iter().map(|recipe| recipe.name).chain(others) {
        let whole = fixture(name);
        let mut seed = 77;
        for round in 0..60 {
            let mut image = whole.clone();
            for _ in 0..1 + round {
                seed = next(seed);
                let at = seed % METADATA.min(image.len() as u64);
                image[at as usize] = match seed >> 60 {
                    0..4 => 0xFF,
                    4..8 => 0,
                    _ => (seed >> 40) as u8,
                };
            }
            let blocks = image.len().div_ceil(4096) as u64;
            for file in files(&image).map(|found| found.files).unwrap_or_default() {
                for extent in file.extents {
                    assert!(
                        extent.blocks > 0 && extent.end() <= blocks,
                        "{name}: {}: {extent:?}",
                        file.path
                    );
                }
            }
        }
        for length in [1024, 2047, 2048, 4096, 5000, 70_000] {
            let _ = files(&whole[..length.min(whole.len())].to_vec());
        }
    }
}

#[test]
fn a_directory_in_itself_is_refused_by_name() {
    let mut image = fixture("ext4");
    // The root's entry: inode and length of the record, then the name's length, the type and the name.
    let at = position(&image, b"\x03\x02bin\0").unwrap() - 6;
    image[at..at + 4].copy_from_slice(&2_u32.to_le_bytes());
    let error = files(&image).unwrap_err();
    assert!(
        matches!(&error, FilesystemError { fault: Fault::Malformed(what), .. } if what.contains("more than one place")),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "cannot read inode 2 (/bin) of the ext4 filesystem"
    );
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let mut image = fixture("erofs");
    let root = usize::from(u16::from_le_bytes([image[1024 + 14], image[1024 + 15]])) * 32;
    // i_mode of a regular file.
    image[root + 4..root + 6].copy_from_slice(&0x81A4_u16.to_le_bytes());
    let error = files(&image).unwrap_err();
    assert!(
        matches!(error.fault, Fault::Malformed("the root is not a directory")),
        "{error:?}"
    );
}

#[test]
fn an_extent_outside_the_image_names_its_file() {
    let mut image = fixture("ext4");
    let found = files(&image).unwrap();
    let file = found.files.iter().find(|file| file.path == "etc/tail").unwrap();
    // A leaf of the extent tree: logical block 0, two blocks, then where they lie.
    let leaf = [
        &[0, 0, 0, 0, 2, 0, 0, 0],
        (file.extents[0].start as u32).to_le_bytes().as_slice(),
    ]
    .concat();
    let at = position(&image, &leaf).unwrap();
    image[at + 8..at + 12].copy_from_slice(&0x00FF_FFFF_u32.to_le_bytes());
    let error = files(&image).unwrap_err();
    assert!(matches!(error.fault, Fault::Outside { .. }), "{error:?}");
    assert!(
        matches!(&error.subject, Subject::Inode { path, .. } if path == "etc/tail"),
        "{error:?}"
    );
}

#[test]
fn a_journal_that_was_not_replayed_is_refused() {
    let mut image = fixture("ext4");
    image[1024 + 0x60] |= 4;
    let error = files(&image).unwrap_err();
    assert!(
        matches!(error.fault, Fault::Unsupported(what) if what.contains("e2fsck")),
        "{error:?}"
    );
}

#[test]
fn a_size_that_no_image_has_costs_nothing() {
    // A compressed file of 2^63 bytes would have indexes far behind the image.
    let mut image = fixture("erofs-lz4hc");
    let found = files(&image).unwrap();
    let file = found
        .files
        .iter()
        .find(|file| file.path == "lib/libbig.so")
        .unwrap();
    let at = position(&image, &(file.size as u32).to_le_bytes()).unwrap();
    image[at..at + 4].copy_from_slice(&[0xFF; 4]);
    let error = files(&image).unwrap_err();
    assert!(matches!(error.fault, Fault::Outside { .. }), "{error:?}");
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
