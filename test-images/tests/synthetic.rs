//! Synthetic builds as their users see them: the same everywhere, and one week like another but for what a week changes.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here is the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use millet_test_images::synthetic::{self, Build, SyntheticError};
use millet_test_images::{images, selftest};
use sha2::{Digest, Sha256};

fn build(seed: u64, week: u32, mebibytes: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    synthetic::write(
        Build {
            seed,
            week,
            mebibytes,
        },
        folder.path(),
    )
    .unwrap();
    folder
}

fn digests(folder: &Path) -> Vec<(String, String)> {
    let digest = |path: &Path| hex::encode(Sha256::digest(fs::read(path).unwrap()));
    let found = images(folder).unwrap();
    found
        .iter()
        .map(|image| (image.partition.to_string(), digest(&image.path)))
        .collect()
}

/// Share of a partition's blocks that stand nowhere in the older image, in per cent.
fn new_blocks(older: &Path, newer: &Path, partition: &str) -> usize {
    let read = |folder: &Path| fs::read(folder.join(format!("{partition}.img"))).unwrap();
    let (older, newer) = (read(older), read(newer));
    let known: BTreeSet<&[u8]> = older.chunks(4096).collect();
    let new = newer.chunks(4096).filter(|block| !known.contains(block)).count();
    100 * new / (newer.len() / 4096)
}

/// Whoever gets other bytes has another build: published hashes, benchmarks and bug reports name builds by seed and week.
#[test]
fn the_bytes_are_pinned() {
    let pinned = [
        (
            1,
            "boot",
            "2f1f929c242edb6d55b686f44cfded5992feecc9e56f9f3647dc5af993b9f1a2",
        ),
        (
            1,
            "system",
            "41ec139f4ebaf1b992e16b2502bc2f1e2e30f6f377cb1880ce2385818eb93e93",
        ),
        (
            1,
            "vendor",
            "afd81710eb725c57d99c2f9b9899bce3e214b7aedb3cf43eabe28e0adf41d338",
        ),
        (
            2,
            "boot",
            "742f3b236eba8ab6228234587df34909dea3a6256456063c3430de3b3bbe31bb",
        ),
        (
            2,
            "system",
            "a7f56fcea8567e89112a0c062976f6bbd345d814ba60a0cc045ad96cc92db67f",
        ),
        (
            2,
            "vendor",
            "b0ee7ebd0552465cf89eba338470cd0e35a99c6f02846bd522971216ebcec4ef",
        ),
    ];
    let mut found = Vec::new();
    for week in [1, 2] {
        for (partition, digest) in digests(build(1, week, 4).path()) {
            found.push((week, partition, digest));
        }
    }
    let pinned = pinned.map(|(week, partition, digest)| (week, partition.to_owned(), digest.to_owned()));
    assert_eq!(found, pinned);
}

#[test]
fn seeds_and_weeks_differ_and_sizes_do_not() {
    let (one, other_seed, other_week) = (build(1, 1, 4), build(2, 1, 4), build(1, 2, 4));
    for ((partition, digest), other) in digests(one.path())
        .iter()
        .zip(digests(other_seed.path()))
        .chain(digests(one.path()).iter().zip(digests(other_week.path())))
    {
        assert_ne!(*digest, other.1, "{partition}");
    }
    let sizes =
        |folder: &Path| -> Vec<u64> { images(folder).unwrap().iter().map(|image| image.size).collect() };
    assert_eq!(sizes(one.path()), [4 << 17, 5 << 19, 1 << 20]);
    assert_eq!(sizes(one.path()), sizes(other_week.path()));
}

#[test]
fn a_week_changes_a_part() {
    let (one, two, nine) = (build(1, 1, 16), build(1, 2, 16), build(1, 9, 16));
    for partition in ["system", "vendor"] {
        let (week, weeks) = (
            new_blocks(one.path(), two.path(), partition),
            new_blocks(one.path(), nine.path(), partition),
        );
        assert!(
            (5..60).contains(&week),
            "{partition}: {week} % of the blocks are new after a week"
        );
        assert!(
            weeks > week,
            "{partition}: {weeks} % after eight weeks, {week} % after one"
        );
    }
    let other = build(2, 1, 16);
    let strange = new_blocks(one.path(), other.path(), "system");
    assert!(strange > 85, "{strange} % of another product's blocks are new");
}

#[test]
fn the_system_is_healthy_and_can_be_broken() {
    let healthy = build(3, 5, 4);
    let system = healthy.path().join("system.img");
    assert_eq!(selftest::find(&system).unwrap().unwrap().value, "pass");
    assert_eq!(selftest::find(&healthy.path().join("vendor.img")).unwrap(), None);
    let broken = tempfile::tempdir().unwrap();
    selftest::break_images(healthy.path(), broken.path()).unwrap();
    assert_eq!(
        selftest::find(&broken.path().join("system.img"))
            .unwrap()
            .unwrap()
            .value,
        "fail"
    );
}

#[test]
fn the_filesystem_has_the_files_of_a_rom() {
    let folder = build(1, 3, 4);
    let file = fs::File::open(folder.path().join("system.img")).unwrap();
    let reader = backhand::FilesystemReader::from_reader(std::io::BufReader::new(file)).unwrap();
    let mut paths = Vec::new();
    for node in reader.files() {
        if let backhand::InnerNode::File(file) = &node.inner {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader.file(file).reader(), &mut content).unwrap();
            let path = node.fullpath.to_str().unwrap().to_owned();
            let start: &[u8] = match path.rsplit('.').next().unwrap() {
                "so" => b"\x7fELF",
                "png" => b"\x89PNG",
                "prop" => {
                    b"# begin build properties\nro.build.id=MILLET.W3\nro.build.version.incremental=1.3\n"
                }
                _ => b"",
            };
            assert!(content.starts_with(start), "{path}");
            paths.push(path);
        }
    }
    let count = |ending: &str| paths.iter().filter(|path| path.ends_with(ending)).count();
    assert!(
        count(".so") > 5 && count(".png") > 5 && count(".conf") > 5 && count("/build.prop") == 1,
        "{paths:?}"
    );
}

#[test]
fn weeks_and_sizes_outside_their_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |week, mebibytes| {
        synthetic::write(
            Build {
                seed: 1,
                week,
                mebibytes,
            },
            folder.path(),
        )
        .unwrap_err()
    };
    assert!(matches!(refused(0, 64), SyntheticError::Week(0)));
    assert!(matches!(refused(5201, 64), SyntheticError::Week(5201)));
    assert_eq!(refused(1, 3).to_string(), "3 MiB is outside 4 to 16384 MiB");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
