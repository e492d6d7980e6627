//! Debian's bspatch applies our patches. Run with `--ignored` where it is installed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::process::Command;

use millet_payload::{Action, Extent, OnlyOperation, Options, PatchKind, write_delta};
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
