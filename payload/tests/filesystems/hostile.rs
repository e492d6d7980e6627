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

#[test]
fn clusters_without_blocks_are_refused() {
    let error = files(&shared_fragment(3, 16, 0)).unwrap_err();
    assert!(
        matches!(
            error.fault,
            Fault::Malformed("a compressed cluster has no blocks")
        ),
        "{error:?}"
    );
    assert_eq!(files(&shared_fragment(3, 16, 1)).unwrap().files.len(), 3);
}

#[test]
fn files_that_all_share_one_long_fragment_end_the_reading() {
    let error = files(&shared_fragment(800, 16_000, 1)).unwrap_err();
    assert!(
        matches!(
            error.fault,
            Fault::TooMuch {
                what: "bytes of metadata",
                ..
            }
        ),
        "{error:?}"
    );
}

/// An EROFS image whose files all have the whole packed inode for content, and that many clusters, all in one place.
fn shared_fragment(files: u64, clusters: u64, blocks_each: u16) -> Vec<u8> {
    const BLOCK: usize = 4096;
    const SLOT: usize = 32;
    const NAMES: usize = 200;
    let (size, packed) = (2 * clusters * BLOCK as u64, 2 + 3 * files);
    let inode = |layout: u16, mode: u16, size: u64, location: u32| {
        let mut inode = [0; 2 * SLOT];
        inode[..2].copy_from_slice(&(layout << 1 | 1).to_le_bytes());
        inode[4..6].copy_from_slice(&mode.to_le_bytes());
        inode[8..16].copy_from_slice(&size.to_le_bytes());
        inode[16..20].copy_from_slice(&location.to_le_bytes());
        inode
    };
    let mut metadata = vec![0; 2 * SLOT];
    for _ in 0..files {
        metadata.extend(inode(3, 0x81A4, size, 0));
        // Everything is in the packed inode, from its first byte on.
        metadata.extend((1_u64 << 63).to_le_bytes());
        metadata.resize(metadata.len().next_multiple_of(SLOT), 0);
    }
    metadata.extend(inode(3, 0x81A4, size, 0));
    // A header that speaks of big clusters, then packs of two indexes: a cluster begins; it has so many blocks.
    metadata.extend([0, 0, 0, 0, 2, 0, 0, 0]);
    for _ in 0..clusters {
        metadata.extend(
            [0x1000_u16, 0x2800 | blocks_each]
                .iter()
                .flat_map(|index| index.to_le_bytes()),
        );
        metadata.extend([0; 4]);
    }
    metadata.resize(metadata.len().next_multiple_of(BLOCK), 0);
    let mut directory = Vec::new();
    let numbers: Vec<u64> = (0..files).collect();
    for numbers in numbers.chunks(NAMES) {
        for (index, number) in numbers.iter().enumerate() {
            directory.extend((2 + 3 * number).to_le_bytes());
            directory.extend([((12 * numbers.len() + 4 * index) as u16).to_le_bytes(), [1, 0]].concat());
        }
        directory.extend(
            numbers
                .iter()
                .flat_map(|number| format!("{number:04}").into_bytes()),
        );
        directory.resize(directory.len().next_multiple_of(BLOCK), 0);
    }
    let behind = 1 + metadata.len() / BLOCK;
    metadata[..2 * SLOT].copy_from_slice(&inode(0, 0x41ED, directory.len() as u64, behind as u32));
    let mut image = vec![0; BLOCK];
    image[1024..1028].copy_from_slice(&0xE0F5_E1E2_u32.to_le_bytes());
    image[1024 + 12] = 12;
    image[1024 + 40] = 1;
    // Fragments and big clusters.
    image[1024 + 80] = 0x22;
    image[1024 + 96..1024 + 104].copy_from_slice(&packed.to_le_bytes());
    [image, metadata, directory].concat()
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
