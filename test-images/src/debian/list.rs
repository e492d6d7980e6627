use std::fmt;

/// The package list that is part of the program.
pub const PACKAGES: &str = include_str!("../../debian/packages.txt");

/// Where a package's files go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// The ext4 image.
    System,
    /// The erofs image.
    Vendor,
    /// The kernel becomes the boot image, its modules join the vendor image.
    Kernel,
}

impl Partition {
    fn from_name(name: &str) -> Option<Self> {
        [Self::System, Self::Vendor, Self::Kernel]
            .into_iter()
            .find(|partition| partition.name() == name)
    }

    /// As written in the list and in the lock file.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Vendor => "vendor",
            Self::Kernel => "kernel",
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl std::str::FromStr for Partition {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::from_name(name).ok_or(())
    }
}

/// A line of the package list that breaks its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the package list: {reason}")]
pub struct ListError {
    line: usize,
    reason: String,
}

/// Packages by partition, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageList {
    /// The entries.
    pub packages: Vec<(Partition, String)>,
}

impl PackageList {
    /// Reads `[partition]` headings, one package name per line, and `#` comments. The kernel's section names exactly
    /// one package: the one that depends on the current kernel.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut packages: Vec<(Partition, String)> = Vec::new();
        let mut section = None;
        for (index, line) in text.lines().enumerate() {
            let refuse = |reason: String| ListError {
                line: index + 1,
                reason,
            };
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let found =
                    Partition::from_name(name).ok_or_else(|| refuse(format!("no partition {name:?}")))?;
                section = Some(found);
                continue;
            }
            let partition =
                section.ok_or_else(|| refuse("a package before the first [partition]".to_owned()))?;
            if !is_package_name(line) {
                return Err(refuse(format!("{line:?} is not a package name")));
            }
            if packages.iter().any(|(_, name)| name == line) {
                return Err(refuse(format!("{line} stands here twice")));
            }
            packages.push((partition, line.to_owned()));
        }
        let kernels = packages
            .iter()
            .filter(|(partition, _)| *partition == Partition::Kernel);
        match kernels.count() {
            1 => Ok(Self { packages }),
            count => Err(ListError {
                line: text.lines().count(),
                reason: format!("the kernel's section names {count} packages, not 1"),
            }),
        }
    }
}

/// Debian Policy 5.6.7: at least two of lower-case letters, digits, `+`, `-`, `.`, beginning with a letter or digit.
pub(super) fn is_package_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    name.len() >= 2 && name.bytes().all(allowed) && name.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_ships_is_well_formed() {
        let list = PackageList::parse(PACKAGES).unwrap();
        let count = |wanted| {
            list.packages
                .iter()
                .filter(|(partition, _)| *partition == wanted)
                .count()
        };
        assert!(count(Partition::System) >= 35);
        assert!(count(Partition::Vendor) >= 1);
    }

    #[test]
    fn an_error_names_its_line() {
        let refused = |text: &str| PackageList::parse(text).unwrap_err().to_string();
        assert!(refused("[system]\nbash\nbash\n[kernel]\nlinux\n").contains("line 3"));
        assert!(refused("bash\n").contains("line 1"));
        assert!(refused("[sytem]\n").contains("no partition \"sytem\""));
        assert!(refused("[system]\n--help\n").contains("not a package name"));
        assert!(refused("[system]\nbash\n").contains("names 0 packages"));
    }
}
