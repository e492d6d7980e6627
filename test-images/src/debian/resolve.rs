use super::DebianError;
use super::apt::{Available, Candidate};
use super::list::{PackageList, Partition};
use super::lock::{Age, Lock, Locked};
use super::sources::SUITES;

/// Something the caller's user must see: what was pinned is not what will be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Which tree.
    pub age: Age,
    /// The package now used.
    pub package: String,
    /// What the lock pinned, if it pinned anything.
    pub pinned: Option<String>,
    /// The version now used.
    pub version: String,
}

impl std::fmt::Display for Departure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            age,
            package,
            pinned,
            version,
        } = self;
        let age = age.name();
        match pinned {
            Some(pinned) => write!(
                out,
                "{age} {package}: {pinned} has left the mirror, using {version}"
            ),
            None => write!(out, "{age} {package}: not pinned yet, using {version}"),
        }
    }
}

/// Keeps every pinned package that can still be had (`at_hand` or on the mirror, with the pinned hash) and resolves the
/// others anew.
pub fn resolve(
    list: &PackageList,
    pinned: &Lock,
    available: &Available,
    at_hand: &dyn Fn(&Locked) -> bool,
) -> Result<(Lock, Vec<Departure>), DebianError> {
    let mut lock = Lock::default();
    let mut departures = Vec::new();
    for age in Age::BOTH {
        for (partition, name) in &list.packages {
            let pin = pinned.find(age, *partition, name);
            if let Some(pin) = pin.filter(|pin| at_hand(pin) || is_available(available, pin)) {
                lock.packages.push(pin.clone());
                continue;
            }
            let (package, candidate) = match partition {
                Partition::Kernel => kernel(available, name, age)?,
                _ => (name.clone(), choose(available, name, age)?),
            };
            departures.push(Departure {
                age,
                package: package.clone(),
                pinned: pin.map(|pin| pin.version.clone()),
                version: candidate.version.clone(),
            });
            lock.packages.push(Locked {
                age,
                partition: *partition,
                package,
                version: candidate.version.clone(),
                sha256: candidate.sha256,
            });
        }
    }
    lock.packages.sort();
    Ok((lock, departures))
}

/// The package that the kernel's metapackage depends on: `linux-image-6.1.0-50-arm64 (= 6.1.176-1)`.
pub fn kernel_package<'a>(
    available: &'a Available,
    metapackage: &str,
    age: Age,
) -> Result<&'a str, DebianError> {
    let depends = &choose(available, metapackage, age)?.depends;
    let first = depends.split([',', ' ']).next().unwrap_or_default();
    match first.starts_with("linux-image-") {
        true => Ok(first),
        false => Err(DebianError::NoKernel {
            metapackage: metapackage.to_owned(),
            depends: depends.clone(),
        }),
    }
}

fn kernel<'a>(
    available: &'a Available,
    metapackage: &str,
    age: Age,
) -> Result<(String, &'a Candidate), DebianError> {
    let package = kernel_package(available, metapackage, age)?;
    // The kernel itself may stand in one suite only, whichever age asks: its name pins it.
    let candidate = available.get(package).and_then(|candidates| candidates.first());
    let candidate = candidate.ok_or_else(|| DebianError::NoSuchPackage(package.to_owned()))?;
    Ok((package.to_owned(), candidate))
}

fn choose<'a>(available: &'a Available, name: &str, age: Age) -> Result<&'a Candidate, DebianError> {
    let refuse = || DebianError::NoSuchPackage(name.to_owned());
    let mut candidates = available.get(name).ok_or_else(refuse)?.iter();
    let chosen = match age {
        Age::Older => candidates.find(|candidate| candidate.suites.iter().any(|suite| suite == SUITES[0])),
        Age::Newer => candidates.next(),
    };
    chosen.ok_or_else(refuse)
}

fn is_available(available: &Available, pin: &Locked) -> bool {
    let candidates = available.get(&pin.package).into_iter().flatten();
    candidates
        .into_iter()
        .any(|known| known.version == pin.version && known.sha256 == pin.sha256)
}

#[cfg(test)]
mod tests {
    use millet_protocol::Sha256Digest;

    use super::*;

    fn candidate(version: &str, suite: &str, byte: u8, depends: &str) -> Candidate {
        Candidate {
            version: version.to_owned(),
            suites: vec![suite.to_owned()],
            sha256: Sha256Digest([byte; 32]),
            depends: depends.to_owned(),
        }
    }

    fn mirror() -> Available {
        Available::from([
            ("bash".to_owned(), vec![candidate("5.2", "bookworm", 1, "")]),
            (
                "libssl3".to_owned(),
                vec![
                    candidate("3.0.22", "bookworm-security", 3, ""),
                    candidate("3.0.20", "bookworm", 2, ""),
                ],
            ),
            (
                "linux-image-arm64".to_owned(),
                vec![
                    candidate(
                        "6.1.192",
                        "bookworm-security",
                        4,
                        "linux-image-56-arm64 (= 6.1.192), x",
                    ),
                    candidate("6.1.176", "bookworm", 5, "linux-image-50-arm64"),
                ],
            ),
            (
                "linux-image-50-arm64".to_owned(),
                vec![candidate("6.1.176", "bookworm", 6, "")],
            ),
            (
                "linux-image-56-arm64".to_owned(),
                vec![candidate("6.1.192", "bookworm-security", 7, "")],
            ),
        ])
    }

    fn list() -> PackageList {
        PackageList::parse("[system]\nbash\nlibssl3\n[kernel]\nlinux-image-arm64\n").unwrap()
    }

    #[test]
    fn older_is_the_release_and_newer_is_the_highest() {
        let (lock, departures) = resolve(&list(), &Lock::default(), &mirror(), &|_| false).unwrap();
        let version = |age, partition, name: &str| lock.find(age, partition, name).unwrap().version.as_str();
        assert_eq!(version(Age::Older, Partition::System, "libssl3"), "3.0.20");
        assert_eq!(version(Age::Newer, Partition::System, "libssl3"), "3.0.22");
        assert_eq!(
            lock.find(Age::Newer, Partition::Kernel, "").unwrap().package,
            "linux-image-56-arm64"
        );
        assert_eq!(lock.changed_and_unchanged(), (2, 1));
        assert_eq!(departures.len(), 6);
    }

    #[test]
    fn a_pin_holds_as_long_as_it_can_be_had() {
        let (pinned, _) = resolve(&list(), &Lock::default(), &mirror(), &|_| false).unwrap();
        let mut moved_on = mirror();
        moved_on.get_mut("libssl3").unwrap()[0] = candidate("3.0.23", "bookworm-security", 9, "");

        let (lock, departures) = resolve(&list(), &pinned, &moved_on, &|_| true).unwrap();
        assert_eq!((lock, departures.len()), (pinned.clone(), 0));

        let (lock, departures) = resolve(&list(), &pinned, &moved_on, &|_| false).unwrap();
        assert_eq!(
            lock.find(Age::Newer, Partition::System, "libssl3")
                .unwrap()
                .version,
            "3.0.23"
        );
        assert_eq!(
            departures[0].to_string(),
            "newer libssl3: 3.0.22 has left the mirror, using 3.0.23"
        );
        assert_eq!(departures.len(), 1);
    }

    #[test]
    fn the_same_version_with_another_hash_is_not_the_pinned_file() {
        let (pinned, _) = resolve(&list(), &Lock::default(), &mirror(), &|_| false).unwrap();
        let mut rebuilt = mirror();
        rebuilt.get_mut("bash").unwrap()[0].sha256 = Sha256Digest([99; 32]);
        let (_, departures) = resolve(&list(), &pinned, &rebuilt, &|_| false).unwrap();
        assert_eq!(departures.len(), 2);
    }
}
