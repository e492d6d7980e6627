//! Weeks of files, in every filesystem that is known and in none.

use std::fs;
use std::path::Path;
use std::process::Command;

use millet_payload::filesystem::{File, Kind, files};
use millet_payload::{Action, Extent, Head, PatchKind};
use proptest::prelude::*;

use crate::maker::{find, run};
use crate::support::*;
use crate::trees::{CHANGED_ARCHIVE, MOVED, Tree, VERSIONED_ARCHIVE, tree, week};

/// How an image is made of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ext4,
    Erofs,
    ErofsLz4,
    Squashfs,
    SquashfsGzip,
    /// One file after the other: no filesystem.
    Bare,
}

impl Form {
    /// The image, or the name of the tool that is missing.
    fn image(self, tree: &Tree) -> Result<Vec<u8>, &'static str> {
        let folder = tempfile::tempdir().unwrap();
        let (root, image) = (folder.path().join("root"), folder.path().join("image"));
        for (path, content) in tree {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let tool = |name| find(name).map(Command::new).ok_or(name);
        match self {
            Self::Bare => return Ok(tree.values().flatten().copied().collect()),
            Self::Ext4 => run(tool("mke2fs")?
                .env("E2FSPROGS_FAKE_TIME", "1700000000")
                .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^has_journal"])
                .args(["-U", UUID, "-E"])
                .arg(format!("root_owner=0:0,hash_seed={UUID}"))
                .arg("-d")
                .args([&root, &image])
                .arg("12M")),
            Self::Erofs | Self::ErofsLz4 => run(tool("mkfs.erofs")?
                .args(["-T1700000000", "--all-root", "-x-1", "-U", UUID])
                .args((self == Self::ErofsLz4).then_some("-zlz4hc"))
                .args([&image, &root])),
            Self::Squashfs | Self::SquashfsGzip => run(squash(tool("mksquashfs")?, &root, &image).args(
                (self == Self::Squashfs)
                    .then_some(["-noD", "-noF"])
                    .into_iter()
                    .flatten(),
            )),
        };
        Ok(fs::read(image).unwrap())
    }

    fn kind(self) -> Kind {
        match self {
            Self::Ext4 => Kind::Ext4,
            Self::Erofs | Self::ErofsLz4 => Kind::Erofs,
            Self::Squashfs | Self::SquashfsGzip => Kind::Squashfs,
            Self::Bare => Kind::Unknown,
        }
    }

    /// Whether files lie in the image as they are, and begin on blocks.
    fn aligns_files(self) -> bool {
        matches!(self, Self::Ext4 | Self::Erofs)
    }
}

const UUID: &str = "01234567-89ab-4def-8123-456789abcdef";

fn squash(mut tool: Command, root: &Path, image: &Path) -> Command {
    tool.args([root, image])
        .args([
            "-noappend",
            "-all-root",
            "-no-xattrs",
            "-no-progress",
            "-comp",
            "gzip",
        ])
        .args(["-mkfs-time", "1700000000", "-all-time", "1700000000"]);
    tool
}

/// Makes two weeks of a tree and payloads of them, and applies those; the delta's head, with the files of the new image.
/// Nothing where a tool is not installed.
fn check(form: Form, seed: u64, weeks: u64) -> Option<(Head, Vec<File>)> {
    let old_tree = tree(seed);
    let new_tree = week(seed, &old_tree, weeks);
    let (old_image, new_image) = match (form.image(&old_tree), form.image(&new_tree)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(tool), _) | (_, Err(tool)) => {
            eprintln!("{form:?}: not tried, {tool} is not installed (.ci/install does that)");
            return None;
        }
    };
    let found = files(&new_image).unwrap();
    assert_eq!(found.kind, form.kind());
    let (old, new) = (images([("system", old_image)]), images([("system", new_image)]));
    assert_makes(&full(&new), &old, &new);
    let payload = delta(&old, &new);
    assert_makes(&payload, &old, &new);

    let head = head(&payload);
    let extents = |path: &str| &found.files.iter().find(|file| file.path == path).unwrap().extents;
    if form.aligns_files() {
        let copied = made_by(&head, |action| matches!(action, Action::Copy { .. }));
        for extent in extents(MOVED[1]) {
            let within = |by: &Extent| by.start <= extent.start && extent.end() <= by.end();
            assert!(
                copied.iter().any(within),
                "{form:?}: {extent:?} of a moved file is sent"
            );
        }
    }
    Some((head, found.files))
}

/// Of these weeks. Of others another patch may be smaller.
#[test]
fn archives_are_taken_apart() {
    for form in [Form::Ext4, Form::Erofs, Form::Squashfs] {
        let Some((head, files)) = check(form, 7, 8) else {
            continue;
        };
        let puffed = made_by(&head, |action| {
            matches!(
                action,
                Action::Patch {
                    kind: PatchKind::Puffin,
                    ..
                }
            )
        });
        for archive in [CHANGED_ARCHIVE, VERSIONED_ARCHIVE[1]] {
            let file = files.iter().find(|file| file.path == archive).unwrap();
            let is_puffed = touches(&puffed, &file.extents);
            assert!(is_puffed, "{form:?}: no PUFFDIFF for {archive}");
        }
    }
}

/// The blocks that some operations make.
fn made_by(head: &Head, is_meant: impl Fn(&Action) -> bool) -> Vec<Extent> {
    let operations = head.partitions().flat_map(|partition| &partition.operations);
    operations
        .filter(|operation| is_meant(&operation.action))
        .flat_map(|operation| operation.destination.clone())
        .collect()
}

fn touches(some: &[Extent], others: &[Extent]) -> bool {
    let overlap = |one: &Extent, other: &Extent| one.start < other.end() && other.start < one.end();
    some.iter()
        .any(|one| others.iter().any(|other| overlap(one, other)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn ext4_survives(seed in any::<u64>(), weeks in any::<u64>()) {
        check(Form::Ext4, seed, weeks);
    }

    #[test]
    fn erofs_survives(seed in any::<u64>(), weeks in any::<u64>(), packed in any::<bool>()) {
        check(if packed { Form::ErofsLz4 } else { Form::Erofs }, seed, weeks);
    }

    #[test]
    fn squashfs_survives(seed in any::<u64>(), weeks in any::<u64>(), packed in any::<bool>()) {
        check(if packed { Form::SquashfsGzip } else { Form::Squashfs }, seed, weeks);
    }

    #[test]
    fn no_filesystem_survives(seed in any::<u64>(), weeks in any::<u64>()) {
        check(Form::Bare, seed, weeks);
    }
}
