//! Debian's bspatch applies our patches, its veritysetup makes the hash trees and FEC that a device makes. Run with
//! `--ignored` where they are installed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::process::Command;

use millet_payload::{Action, Extent, OnlyOperation, Options, PatchKind, write_delta};
use millet_protocol::Sha256Digest;
use sha2::{Digest, Sha256};
use support::verity::CASES;
use support::*;

#[test]
#[ignore = "needs Debian's bspatch"]
fn bspatch_applies_every_source_bsdiff() {
    let names = ["boot", "system", "vendor"];
    let old = images(
        names
            .into_iter()
            .zip(21..)
            .map(|(name, seed)| (name, image(seed, 400))),
    );
    let weeks = names.into_iter().zip(31..);
    let new = images(weeks.map(|(name, seed)| (name, week(&old[&name.parse().unwrap()], seed, 400))));
    let options = Options {
        only: Some(OnlyOperation::SourceBsdiff),
        ..options(2)
    };
    let mut payload = Vec::new();
    write_delta(&borrowed(&old), &borrowed(&new), &options, &(), &mut payload).unwrap();

    let (head, folder) = (head(&payload), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name);
    let mut judged = 0;
    for partition in head.partitions() {
        let joined = |images: &Images, extents: &[Extent]| -> Vec<u8> {
            let image = padded(images[&partition.name].clone());
            let bytes = |extent: &Extent| {
                image[extent.start as usize * BLOCK..extent.end() as usize * BLOCK].to_vec()
            };
            extents.iter().flat_map(bytes).collect()
        };
        for operation in &partition.operations {
            let Action::Patch { kind, source, blob } = &operation.action else {
                continue;
            };
            assert_eq!(*kind, PatchKind::Bsdiff);
            let patch = &blobs(&payload)[blob.offset as usize..(blob.offset + blob.length) as usize];
            fs::write(path("old"), joined(&old, &source.extents)).unwrap();
            fs::write(path("patch"), patch).unwrap();
            let status = Command::new("bspatch")
                .args([path("old"), path("new"), path("patch")])
                .status()
                .unwrap();
            assert!(status.success());
            assert!(fs::read(path("new")).unwrap() == joined(&new, &operation.destination));
            judged += 1;
        }
    }
    println!("bspatch judged {judged} patches");
    assert!(judged >= 3, "{judged}");
}

#[test]
#[ignore = "needs Debian's veritysetup"]
fn veritysetup_makes_the_same_hash_trees_and_fec() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut digests = Vec::new();
    for case in CASES {
        fs::write(path("data"), case.data()).unwrap();
        for made in ["tree", "fec"] {
            fs::write(path(made), []).unwrap();
        }
        let salt = if case.salt.is_empty() { "-" } else { case.salt };
        let output = Command::new(veritysetup())
            .args(["format", "--no-superblock", "--format=1"])
            .args(["--data-block-size=4096", "--hash-block-size=4096"])
            .args([format!("--hash={}", case.algorithm), format!("--salt={salt}")])
            .args([
                format!("--fec-roots={}", case.roots),
                format!("--fec-device={}", path("fec").display()),
            ])
            .args([path("data"), path("tree")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let (tree, fec) = (fs::read(path("tree")).unwrap(), fs::read(path("fec")).unwrap());
        println!(
            "{} blocks: tree {}, FEC {}",
            case.blocks,
            sha256(&tree),
            sha256(&fec)
        );
        let (our_tree, our_fec) = case.made();
        assert!(our_tree == tree, "the tree of {} blocks", case.blocks);
        assert!(our_fec == fec, "the FEC of {} blocks", case.blocks);
        digests.push([sha256(&tree), sha256(&fec)]);
    }
    let known = CASES.map(|case| [case.tree, case.fec]);
    assert_eq!(digests, known);
    println!("veritysetup judged {} hash trees", CASES.len());
}

/// Debian has it in a folder that is not everyone's.
fn veritysetup() -> &'static str {
    let path = "/usr/sbin/veritysetup";
    if fs::exists(path).unwrap() {
        path
    } else {
        "veritysetup"
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256Digest(Sha256::digest(bytes).into()).to_string()
}
