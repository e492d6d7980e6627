//! squashfs images. Their tools say nothing of places, so the content is looked for where the blocks are said to be.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use millet_payload::filesystem::{Kind, files};

use super::maker::{find, regular_files, run, write_tree};
use super::{BLOCK, fixture_path};

/// Data is not compressed, so that it can be found; metadata is, in three ways.
const RECIPES: [(&str, &[&str]); 3] = [
    ("squashfs-gzip", &["-comp", "gzip", "-noD", "-noF"]),
    ("squashfs-xz", &["-comp", "xz", "-noD", "-noF"]),
    (
        "squashfs-plain",
        &["-comp", "gzip", "-noD", "-noF", "-noI", "-noId", "-no-fragments"],
    ),
];

/// Bytes that mksquashfs makes a data block of.
const DATA_BLOCK: usize = 16 * 1024;

#[test]
fn blocks_of_fixtures_hold_the_content() {
    let tree = Tree::new();
    for (name, _) in RECIPES {
        tree.compare(name, &super::fixture(name));
    }
}

#[test]
fn blocks_of_fresh_images_hold_the_content() {
    let tree = Tree::new();
    for (name, arguments) in RECIPES {
        match tree.make(arguments) {
            Some(image) => tree.compare(name, &image),
            None => eprintln!("{name}: not tried, mksquashfs is not installed (.ci/install does that)"),
        }
    }
    // Compressed data: the same files, and fewer blocks.
    let blocks = |image: &Vec<u8>| -> u64 {
        let mut files = files(image).unwrap().files;
        // Each of the small ones counts the whole block in which they are compressed together.
        files.retain(|file| file.size > 2 * DATA_BLOCK as u64);
        files
            .iter()
            .flat_map(|file| &file.extents)
            .map(|extent| extent.blocks)
            .sum()
    };
    let plain = ["-comp", "gzip", "-noD", "-noF"];
    if let (Some(plain), Some(packed)) = (tree.make(&plain), tree.make(&["-comp", "xz"])) {
        tree.compare_names("compressed", &packed);
        assert!(blocks(&packed) < blocks(&plain));
    }
}

#[test]
fn compressors_that_are_not_read_are_named() {
    let mut image = super::fixture("squashfs-gzip");
    image[20] = 6;
    let error = files(&image).unwrap_err();
    assert_eq!(error.kind, Kind::Squashfs);
    assert!(error.fault.to_string().contains("Zstandard"), "{error:?}");
}

#[test]
#[ignore = "writes into the source tree"]
fn make_fixtures() {
    let tree = Tree::new();
    for (name, arguments) in RECIPES {
        let image = tree.make(arguments).unwrap();
        let mut compressed = Vec::new();
        liblzma::read::XzEncoder::new(image.as_slice(), 9)
            .read_to_end(&mut compressed)
            .unwrap();
        fs::write(fixture_path(name, "img.xz"), compressed).unwrap();
    }
}

/// The tree that all images are made of, as it lies in a folder.
struct Tree {
    folder: tempfile::TempDir,
    content: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_tree(folder.path());
        let mut paths = Vec::new();
        regular_files(folder.path(), Path::new(""), &mut paths);
        let mut content: BTreeMap<_, _> = paths
            .into_iter()
            .map(|path| (path.clone(), fs::read(folder.path().join(path)).unwrap()))
            .collect();
        content.retain(|_, bytes| !bytes.is_empty());
        // The second name of a file, see `write_tree`.
        content.remove("bin/hello").unwrap();
        Self { folder, content }
    }

    fn make(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let tool = find("mksquashfs")?;
        let image = tempfile::NamedTempFile::new().unwrap();
        let common = [
            "-noappend",
            "-all-root",
            "-no-xattrs",
            "-no-progress",
            "-mkfs-time",
            "1700000000",
        ];
        run(std::process::Command::new(tool)
            .arg(self.folder.path())
            .arg(image.path())
            .args(common)
            .args(["-all-time", "1700000000", "-b", &DATA_BLOCK.to_string()])
            .args(arguments));
        Some(fs::read(image.path()).unwrap())
    }

    fn compare_names(&self, name: &str, image: &[u8]) {
        let found = files(&image).unwrap();
        assert_eq!(found.kind, Kind::Squashfs);
        let found: Vec<_> = found
            .files
            .iter()
            .map(|file| (file.path.clone(), file.size))
            .collect();
        let expected = self
            .content
            .iter()
            .map(|(path, bytes)| (path.clone(), bytes.len() as u64));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{name}");
    }

    fn compare(&self, name: &str, image: &[u8]) {
        self.compare_names(name, image);
        for file in files(&image).unwrap().files {
            let content = &self.content[&file.path];
            let mut held = Vec::new();
            for extent in &file.extents {
                let end = (extent.end() as usize * BLOCK).min(image.len());
                held.extend_from_slice(&image[extent.start as usize * BLOCK..end]);
            }
            let mut rest = held.as_slice();
            for piece in content
                .chunks(DATA_BLOCK)
                .filter(|piece| piece.iter().any(|byte| *byte != 0))
            {
                let at = memchr::memmem::find(rest, piece);
                rest = &rest[at.unwrap_or_else(|| panic!("{name}: {} is elsewhere", file.path))..];
            }
            // Both ends of the data and of the fragment may share a block with something else.
            assert!(
                held.len() <= content.len() + 4 * BLOCK,
                "{name}: {} has too many blocks",
                file.path
            );
        }
    }
}
