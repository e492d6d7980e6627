//! The real pair: two trees of arm64 Debian packages a few weeks apart, made into partition images.
//!
//! `system` is ext4, `vendor` is erofs with lz4hc and holds the kernel's modules, `boot` is the raw kernel. Which
//! packages is fixed by a list, which versions by a lock file; a package file that is in the cache with the pinned hash
//! needs no mirror, so a pair stays the same pair for whoever keeps the cache.

mod apt;
pub(crate) mod filesystem;
mod list;
mod lock;
mod resolve;
mod sources;
mod tools;
pub(crate) mod tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use apt::Apt;
pub use list::{ListError, PACKAGES, PackageList, Partition};
pub use lock::{Age, Lock, LockError, Locked, VERSIONS};
pub use resolve::Departure;
pub use tools::Tools;
pub(crate) use tools::{Tool, run};

use crate::selftest;

/// What to make, and where.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The packages.
    pub packages: &'a PackageList,
    /// Their pinned versions; empty pins nothing.
    pub pinned: &'a Lock,
    /// Receives `older/` and `newer/` with three images each, and `versions.lock`.
    pub out: &'a Path,
    /// Keeps package files and indexes between runs.
    pub cache: &'a Path,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The package files that were used.
    pub lock: Lock,
    /// Where they are not the pinned ones.
    pub departures: Vec<Departure>,
}

/// A pair could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// The machine lacks programs.
    #[error("real images need programs that are not here: {0}")]
    MissingTools(String),
    /// The machine's apt gets no Debian 12.
    #[error("no source in /etc/apt serves {0}, which the debian pair is made from")]
    MissingSuites(String),
    /// apt's configuration cannot name such a folder.
    #[error("the cache folder {} has a name that apt's configuration cannot hold", .0.display())]
    CachePath(PathBuf),
    /// A listed package is not on the mirrors.
    #[error("the mirrors have no package {0}")]
    NoSuchPackage(String),
    /// The kernel's metapackage leads nowhere.
    #[error("{metapackage} depends on {depends:?}, which begins with no kernel")]
    NoKernel {
        /// The listed package.
        metapackage: String,
        /// Its dependencies.
        depends: String,
    },
    /// A package file that is not what the signed index says.
    #[error("the package file of {package} {version} does not have the SHA-256 of its index")]
    WrongPackage {
        /// Its name.
        package: String,
        /// Its version.
        version: String,
    },
    /// A package lacks a file.
    #[error("there is no {}", .0.display())]
    NoSuchFile(PathBuf),
    /// A program could not be started.
    #[error("start {program}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}): {complaint}")]
    Command {
        /// Which.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its standard error.
        complaint: String,
    },
    /// A file could not be used.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Makes the pair. `say` gets a line for each step.
pub fn make(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Pair, DebianError> {
    let tools = Tools::find()?;
    let (lock, departures) = packages(&tools, options, say)?;
    for departure in &departures {
        say(&format!("WARNING: {departure}"));
    }

    let trees = tempfile::Builder::new()
        .prefix(".trees-")
        .tempdir_in(create(options.out)?)
        .map_err(at("create a folder in", options.out))?;
    let mut systems = Vec::new();
    for age in Age::BOTH {
        say(&format!("unpacking the {} packages", age.name()));
        let tree = trees.path().join(age.name());
        unpack(&tools, options.cache, &lock, age, &tree)?;
        let (entries, demand) = tree::survey(&tree.join("system"))?;
        systems.push((age, tree, entries, demand));
    }
    // A physical partition has one size, whichever build it holds.
    let demands = || systems.iter().map(|(_, _, _, demand)| *demand);
    let blocks = demands().map(filesystem::ext4_blocks).max().unwrap_or_default();
    let inodes = demands().map(filesystem::ext4_inodes).max().unwrap_or_default();
    for (age, tree, entries, _) in &systems {
        say(&format!("making the {} images", age.name()));
        let out = options.out.join(age.name());
        create(&out)?;
        filesystem::ext4(
            &tools,
            &tree.join("system"),
            entries,
            (blocks, inodes),
            &out.join("system.img"),
        )?;
        filesystem::erofs(&tools, &tree.join("vendor"), &out.join("vendor.img"))?;
        let vmlinuz = tree::find_file(&tree.join("kernel/boot"), "vmlinuz-")?;
        filesystem::kernel(&vmlinuz, &out.join("boot.img"))?;
    }
    let used = options.out.join("versions.lock");
    fs::write(&used, lock.to_text()).map_err(at("write", &used))?;
    Ok(Pair { lock, departures })
}

/// Sees to it that every package file of both trees is in the cache and is what it should be.
fn packages(
    tools: &Tools,
    options: &Options,
    say: &mut dyn FnMut(&str),
) -> Result<(Lock, Vec<Departure>), DebianError> {
    let at_hand = |locked: &Locked| is_at_hand(options.cache, locked);
    let listed: Vec<&str> = options
        .packages
        .packages
        .iter()
        .map(|(_, name)| name.as_str())
        .collect();
    let nothing = apt::Available::new();
    if let Ok((lock, departures)) = resolve::resolve(options.packages, options.pinned, &nothing, &at_hand) {
        say("every pinned package is in the cache");
        return Ok((lock, departures));
    }

    let apt = Apt::prepare(tools, options.cache)?;
    say("fetching Debian's package indexes for arm64");
    apt.update()?;
    let mut names = listed;
    names.extend(
        options
            .pinned
            .packages
            .iter()
            .map(|locked| locked.package.as_str()),
    );
    names.sort_unstable();
    names.dedup();
    let mut available = apt.available(&names)?;
    for (_, metapackage) in options
        .packages
        .packages
        .iter()
        .filter(|(place, _)| *place == Partition::Kernel)
    {
        for age in Age::BOTH {
            let kernel = resolve::kernel_package(&available, metapackage, age)?.to_owned();
            available.extend(apt.available(&[&kernel])?);
        }
    }
    let (lock, departures) = resolve::resolve(options.packages, options.pinned, &available, &at_hand)?;

    for age in Age::BOTH {
        let of_age = lock.packages.iter().filter(|locked| locked.age == age);
        let wanted: Vec<&Locked> = of_age.filter(|locked| !at_hand(locked)).collect();
        if wanted.is_empty() {
            continue;
        }
        say(&format!("downloading {} {} packages", wanted.len(), age.name()));
        for stale in wanted
            .iter()
            .filter_map(|locked| apt::package_file(options.cache, locked))
        {
            fs::remove_file(&stale).map_err(at("remove", &stale))?;
        }
        apt.download(&wanted)?;
    }
    match lock.packages.iter().find(|locked| !at_hand(locked)) {
        None => Ok((lock, departures)),
        Some(Locked { package, version, .. }) => Err(DebianError::WrongPackage {
            package: package.clone(),
            version: version.clone(),
        }),
    }
}

fn is_at_hand(cache: &Path, locked: &Locked) -> bool {
    apt::package_file(cache, locked)
        .and_then(|path| crate::digest::of_file(&path).ok())
        .is_some_and(|digest| digest == locked.sha256)
}

fn unpack(tools: &Tools, cache: &Path, lock: &Lock, age: Age, tree: &Path) -> Result<(), DebianError> {
    for partition in [Partition::System, Partition::Vendor, Partition::Kernel] {
        let folder = tree.join(partition.name());
        create(&folder)?;
        for locked in lock.of(age, partition) {
            let missing = || DebianError::NoSuchPackage(locked.package.clone());
            let file = apt::package_file(cache, locked).ok_or_else(missing)?;
            tools
                .dpkg_deb
                .run(["-x".as_ref(), file.as_os_str(), folder.as_os_str()])?;
        }
    }
    let modules = tree.join("kernel/lib/modules");
    let into = tree.join("vendor/lib");
    create(&into)?;
    fs::rename(&modules, into.join("modules")).map_err(at("move", &modules))?;

    let properties = tree.join("system/system/build.prop");
    create(&tree.join("system/system"))?;
    let text = format!(
        "# begin build properties\n\
         ro.build.id=DEBIAN12\n\
         ro.build.version.incremental={}\n\
         ro.product.device=debian-arm64\n\
         {}=pass\n\
         # end build properties\n",
        age.name(),
        selftest::PROPERTY,
    );
    fs::write(&properties, text).map_err(at("write", &properties))
}

pub(crate) fn create(folder: &Path) -> Result<&Path, DebianError> {
    fs::create_dir_all(folder)
        .map_err(at("create", folder))
        .map(|()| folder)
}

/// Names what was tried and on which file.
pub(crate) fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DebianError {
    let path = path.to_owned();
    move |source| DebianError::File {
        operation,
        path,
        source,
    }
}
