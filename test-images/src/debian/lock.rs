use std::fmt::Write as _;

use millet_protocol::Sha256Digest;

use super::list::{Partition, is_package_name};

/// The versions that the last update of the lock found.
pub const VERSIONS: &str = include_str!("../../debian/versions.lock");

/// Which of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Age {
    /// From `bookworm` alone.
    Older,
    /// With `bookworm-updates` and `bookworm-security`.
    Newer,
}

impl Age {
    /// Both, older first.
    pub const BOTH: [Self; 2] = [Self::Older, Self::Newer];

    /// As written in the lock file, and the name of the tree's folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::Newer => "newer",
        }
    }
}

/// One package file, pinned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// The tree it is unpacked into.
    pub age: Age,
    /// The partition of that tree.
    pub partition: Partition,
    /// Its name; for the kernel that of the kernel itself, which carries a version.
    pub package: String,
    /// Its Debian version.
    pub version: String,
    /// SHA-256 of the package file.
    pub sha256: Sha256Digest,
}

/// Every package of both trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Sorted, so that a change shows as few lines.
    pub packages: Vec<Locked>,
}

/// A line of the lock file that breaks its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the lock file: {reason}")]
pub struct LockError {
    line: usize,
    reason: String,
}

impl Lock {
    /// Reads lines of `age partition package version sha256` and `#` comments.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let mut packages = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse = |reason: &str| LockError {
                line: index + 1,
                reason: reason.to_owned(),
            };
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [age, partition, package, version, sha256] = fields[..] else {
                return Err(refuse("not `age partition package version sha256`"));
            };
            let age = Age::BOTH
                .into_iter()
                .find(|known| known.name() == age)
                .ok_or_else(|| refuse("the age is older or newer"))?;
            let partition = partition.parse().map_err(|()| refuse("no such partition"))?;
            if !is_package_name(package) {
                return Err(refuse("not a package name"));
            }
            if !is_version(version) {
                return Err(refuse("not a Debian version"));
            }
            packages.push(Locked {
                age,
                partition,
                package: package.to_owned(),
                version: version.to_owned(),
                sha256: sha256.parse().map_err(|_| refuse("not a SHA-256"))?,
            });
        }
        packages.sort();
        Ok(Self { packages })
    }

    /// The text that [`Lock::parse`] reads.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# The package files behind the `debian` pair, written by `millet-test-images debian --update-lock`.\n\
             # age partition package version sha256\n",
        );
        for locked in &self.packages {
            let Locked {
                age,
                partition,
                package,
                version,
                sha256,
            } = locked;
            // Writing to a String does not fail.
            let _ = writeln!(text, "{} {partition} {package} {version} {sha256}", age.name());
        }
        text
    }

    /// The pinned file of a listed package. The kernel is found by its partition: its own name changes.
    pub fn find(&self, age: Age, partition: Partition, package: &str) -> Option<&Locked> {
        self.packages.iter().find(|locked| {
            locked.age == age
                && locked.partition == partition
                && (partition == Partition::Kernel || locked.package == package)
        })
    }

    /// The packages of a tree's partition, in the lock's order.
    pub fn of(&self, age: Age, partition: Partition) -> impl Iterator<Item = &Locked> {
        self.packages
            .iter()
            .filter(move |locked| locked.age == age && locked.partition == partition)
    }

    /// How many packages differ between the trees, and how many are the same file.
    pub fn changed_and_unchanged(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for older in self.packages.iter().filter(|locked| locked.age == Age::Older) {
            let newer = self.find(Age::Newer, older.partition, &older.package);
            match newer.is_some_and(|newer| newer.sha256 == older.sha256) {
                true => counts.1 += 1,
                false => counts.0 += 1,
            }
        }
        counts
    }
}

/// The characters of Debian Policy 5.6.12; enough to be safe as an argument and in a file name.
pub(super) fn is_version(version: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+-~:".contains(&byte);
    version.bytes().all(allowed) && version.as_bytes().first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(age: Age, partition: Partition, package: &str, byte: u8) -> Locked {
        Locked {
            age,
            partition,
            package: package.to_owned(),
            version: "1:2.0~rc1-1+b2".to_owned(),
            sha256: Sha256Digest([byte; 32]),
        }
    }

    fn example() -> Lock {
        Lock {
            packages: vec![
                locked(Age::Older, Partition::System, "bash", 1),
                locked(Age::Older, Partition::System, "libssl3", 2),
                locked(Age::Older, Partition::Kernel, "linux-image-1", 3),
                locked(Age::Newer, Partition::System, "bash", 1),
                locked(Age::Newer, Partition::System, "libssl3", 4),
                locked(Age::Newer, Partition::Kernel, "linux-image-2", 5),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Lock::parse(&example().to_text()), Ok(example()));
    }

    #[test]
    fn counts_by_content_and_finds_a_renamed_kernel() {
        assert_eq!(example().changed_and_unchanged(), (2, 1));
    }

    #[test]
    fn an_error_names_its_line() {
        let refused = |text: &str| Lock::parse(text).unwrap_err().to_string();
        assert!(refused("# x\nolder system bash 1\n").starts_with("line 2"));
        assert!(refused("old system bash 1 00\n").contains("older or newer"));
        assert!(refused("older system bash 1;rm 00\n").contains("Debian version"));
        assert!(refused("older system bash 1 00\n").contains("SHA-256"));
    }

    #[test]
    fn the_lock_that_ships_has_enough_of_each_kind() {
        let lock = Lock::parse(VERSIONS).unwrap();
        let (changed, unchanged) = lock.changed_and_unchanged();
        assert!(
            changed >= 25 && unchanged >= 10,
            "{changed} changed, {unchanged} unchanged"
        );
    }
}
