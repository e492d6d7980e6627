//! Two versions of an app partition: archives of machine code and resources, deflated member by member as in an APK.
//!
//! The archives are wheels for aarch64 from PyPI, neighbouring releases of the same packages, pinned by SHA-256. Each
//! lies where an app's archive would, `app/<name>/<name>.apk`, in an ext4 image.

use std::fs;
use std::path::{Path, PathBuf};

use crate::debian::{Age, DebianError, Tool, Tools, at, create, filesystem, run, tree};
use crate::digest;

/// Makes `out/older/app.img` and `out/newer/app.img`. Wheels stay in `cache` between runs.
pub fn make(out: &Path, cache: &Path, say: &mut dyn FnMut(&str)) -> Result<(), DebianError> {
    let tools = Tools::find()?;
    let trees = tempfile::Builder::new()
        .prefix(".trees-")
        .tempdir_in(create(out)?)
        .map_err(at("create a folder in", out))?;
    let mut surveyed = Vec::new();
    for age in Age::BOTH {
        let folder = cache.join(age.name());
        let wheels = pinned(age);
        if !wheels.iter().all(|wheel| wheel.is_in(&folder)) {
            say(&format!("downloading {} {} wheels", wheels.len(), age.name()));
            download(age, create(&folder)?)?;
        }
        let tree = trees.path().join(age.name());
        for wheel in &wheels {
            let app = tree.join("app").join(wheel.name);
            let archive = wheel.find(&folder)?;
            let apk = create(&app)?.join(format!("{}.apk", wheel.name));
            fs::copy(&archive, &apk).map_err(at("copy", &archive))?;
        }
        let (entries, demand) = tree::survey(&tree)?;
        surveyed.push((age, tree, entries, demand));
    }
    // A physical partition has one size, whichever build it holds.
    let demands = || surveyed.iter().map(|(_, _, _, demand)| *demand);
    let blocks = demands().map(filesystem::ext4_blocks).max().unwrap_or_default();
    let inodes = demands().map(filesystem::ext4_inodes).max().unwrap_or_default();
    for (age, tree, entries, _) in &surveyed {
        say(&format!("making the {} image", age.name()));
        let image = create(&out.join(age.name()))?.join("app.img");
        filesystem::ext4(&tools, tree, entries, (blocks, inodes), &image)?;
    }
    Ok(())
}

/// One line of a requirements file.
struct Wheel {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
}

impl Wheel {
    /// Its file in a folder of downloads, named as the binary distribution format says: `name-version-tags.whl`.
    fn find(&self, folder: &Path) -> Result<PathBuf, DebianError> {
        let prefix = format!("{}-{}-", self.name.replace('-', "_"), self.version);
        tree::find_file(folder, &prefix)
    }

    fn is_in(&self, folder: &Path) -> bool {
        let digest = self
            .find(folder)
            .ok()
            .and_then(|path| digest::of_file(&path).ok());
        digest.is_some_and(|digest| digest.to_string() == self.sha256)
    }
}

const OLDER: &str = include_str!("../wheels/older.txt");
const NEWER: &str = include_str!("../wheels/newer.txt");

fn requirements(age: Age) -> &'static str {
    match age {
        Age::Older => OLDER,
        Age::Newer => NEWER,
    }
}

fn pinned(age: Age) -> Vec<Wheel> {
    let wheel = |line: &'static str| {
        let (requirement, sha256) = line.split_once(" --hash=sha256:")?;
        let (name, version) = requirement.split_once("==")?;
        Some(Wheel {
            name,
            version,
            sha256,
        })
    };
    requirements(age).lines().filter_map(wheel).collect()
}

/// Has pip download what CPython 3.11 takes on aarch64; pip checks the hashes too.
fn download(age: Age, folder: &Path) -> Result<(), DebianError> {
    let missing = || DebianError::MissingTools("python3 (packages python3 and python3-pip)".to_owned());
    let python = Tool::find("python3").ok_or_else(missing)?;
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements(age)).map_err(at("write", &list))?;
    let mut command = python.command();
    command
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--require-hashes", "--only-binary=:all:"])
        .args([
            "--implementation=cp",
            "--python-version=3.11",
            "--abi=cp311",
            "--abi=abi3",
        ])
        .args([
            "--platform=manylinux2014_aarch64",
            "--platform=manylinux_2_17_aarch64",
        ])
        .arg("--dest")
        .arg(folder)
        .arg("--requirement")
        .arg(&list);
    run(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_pin_the_same_packages_in_two_versions() {
        let (older, newer) = (pinned(Age::Older), pinned(Age::Newer));
        assert_eq!(older.len(), OLDER.lines().count());
        assert_eq!(newer.len(), older.len());
        for (old, new) in older.iter().zip(&newer) {
            assert_eq!(old.name, new.name);
            assert_ne!((old.version, old.sha256), (new.version, new.sha256));
            assert_eq!((old.sha256.len(), new.sha256.len()), (64, 64));
        }
    }
}
