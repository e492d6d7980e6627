//! Files found in images, beside what the filesystems' own tools say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod hostile;
mod maker;
mod squashfs;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use maker::{Listing, RECIPES, judge, make, text, write_tree};
use millet_payload::filesystem::{Files, Kind, files};

const BLOCK: usize = 4096;

#[test]
fn fixtures_hold_what_their_makers_said() {
    for recipe in &RECIPES {
        let image = fixture(recipe.name);
        let expected = read_listing(recipe.name);
        assert!(!expected.is_empty());
        compare(recipe.name, &files(&image).unwrap(), &expected);
    }
}

#[test]
fn fresh_images_hold_what_their_makers_say() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    write_tree(&tree);
    for recipe in &RECIPES {
        let image = folder.path().join(recipe.name);
        if !make(recipe, &tree, &image) {
            eprintln!(
                "{}: not tried, its tool is not installed (.ci/install does that)",
                recipe.name
            );
            continue;
        }
        let found = files(&fs::File::open(&image).unwrap()).unwrap();
        compare(recipe.name, &found, &judge(recipe, &tree, &image));
    }
}

/// Makes the fixtures anew: `cargo test -p millet-payload --test filesystems -- --ignored make_fixtures`.
#[test]
#[ignore = "writes into the source tree"]
fn make_fixtures() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    write_tree(&tree);
    for recipe in &RECIPES {
        let image = folder.path().join(recipe.name);
        assert!(
            make(recipe, &tree, &image),
            "{}: its tool is not installed",
            recipe.name
        );
        let mut listing = String::new();
        for (path, (size, blocks)) in judge(recipe, &tree, &image) {
            let blocks: Vec<String> = blocks.iter().map(u64::to_string).collect();
            listing += &format!("{path}\t{size}\t{}\n", blocks.join(" "));
        }
        fs::write(fixture_path(recipe.name, "files"), listing).unwrap();
        let image = fs::read(image).unwrap();
        let mut compressed = Vec::new();
        liblzma::read::XzEncoder::new(image.as_slice(), 9)
            .read_to_end(&mut compressed)
            .unwrap();
        fs::write(fixture_path(recipe.name, "img.xz"), compressed).unwrap();
    }
}

#[test]
fn blocks_hold_the_content() {
    let image = fixture("ext4");
    let found = files(&image).unwrap();
    let content = |path: &str| {
        let file = found.files.iter().find(|file| file.path == path).unwrap();
        let mut bytes = Vec::new();
        for extent in &file.extents {
            bytes.extend_from_slice(&image[extent.start as usize * BLOCK..extent.end() as usize * BLOCK]);
        }
        bytes.truncate(file.size as usize);
        bytes
    };
    let long = text(1, 48_000);
    assert!(content("lib/libbig.so") == long.repeat(8));
    assert!(content("etc/exact") == long[..8192]);
    assert!(content("etc/tail") == long[..4097]);
    assert!(content("ünïcode/naïve") == long[..200]);
    assert_eq!(
        content("app/a-package-with-quite-a-long-name-149.apk"),
        b"package 149\n"
    );
    // A hole has no blocks, nor has what was only reserved.
    assert!(content("etc/sparse")[..5000] == long[..5000]);
    assert!(content("etc/sparse").len() < 5 * BLOCK);
}

#[test]
fn kinds_are_recognised() {
    let kind = |image: Vec<u8>| files(&image).unwrap();
    assert_eq!(kind(fixture("ext2")).kind, Kind::Ext4);
    assert_eq!(kind(fixture("erofs")).kind, Kind::Erofs);
    for image in [Vec::new(), vec![0; 100], vec![0; 100_000], text(3, 100_000)] {
        let unknown = Files {
            kind: Kind::Unknown,
            files: Vec::new(),
        };
        assert_eq!(kind(image), unknown);
    }
}

fn compare(name: &str, found: &Files, expected: &Listing) {
    let found: Listing = found
        .files
        .iter()
        .map(|file| {
            let mut blocks: Vec<u64> = file
                .extents
                .iter()
                .flat_map(|extent| extent.start..extent.end())
                .collect();
            blocks.dedup();
            (file.path.clone(), (file.size, blocks))
        })
        .collect();
    let paths = |listing: &Listing| listing.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&found), paths(expected), "{name}");
    for (path, (size, blocks)) in expected {
        assert_eq!(found[path], (*size, blocks.clone()), "{name}: {path}");
    }
}

/// The image that a tool made once.
fn fixture(name: &str) -> Vec<u8> {
    let compressed = fs::read(fixture_path(name, "img.xz")).unwrap();
    let mut image = Vec::new();
    liblzma::read::XzDecoder::new(compressed.as_slice())
        .read_to_end(&mut image)
        .unwrap();
    image
}

/// What the tool said of it then.
fn read_listing(name: &str) -> Listing {
    let listing = fs::read_to_string(fixture_path(name, "files")).unwrap();
    let entry = |line: &str| {
        let [path, size, blocks] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let blocks = blocks.split(' ').map(|block| block.parse().unwrap()).collect();
        (path.to_owned(), (size.parse().unwrap(), blocks))
    };
    listing.lines().map(entry).collect()
}

fn fixture_path(name: &str, extension: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/filesystems");
    folder.join(format!("{name}.{extension}"))
}
