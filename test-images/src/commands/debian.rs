use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use millet_test_images::debian::{self, Age, Lock, Options, PACKAGES, PackageList, VERSIONS};
use millet_test_images::output::{print, say};

/// Make the real pair from Debian's arm64 packages: OUT/older and OUT/newer.
///
/// Needs apt, dpkg, e2fsprogs and erofs-utils, and a machine whose apt gets Debian 12; no root, and the machine's own
/// apt stays as it is.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder that receives both image folders
    #[arg(long)]
    out: PathBuf,
    /// Where package files and indexes stay between runs
    #[arg(long, default_value = "target/debian-cache")]
    cache: PathBuf,
    /// Another lock file than the one that is part of this program
    #[arg(long)]
    lock: Option<PathBuf>,
    /// Resolve every version anew and write it to the lock file that --lock names
    #[arg(long, requires = "lock")]
    update_lock: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let packages = PackageList::parse(PACKAGES)?;
    let pinned = match (&arguments.lock, arguments.update_lock) {
        (_, true) => Lock::default(),
        (Some(path), false) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            Lock::parse(&text).with_context(|| format!("read {}", path.display()))?
        }
        (None, false) => Lock::parse(VERSIONS)?,
    };
    let options = Options {
        packages: &packages,
        pinned: &pinned,
        out: &arguments.out,
        cache: &arguments.cache,
    };
    let pair = debian::make(&options, &mut |line| say(line))?;
    if let (Some(path), true) = (&arguments.lock, arguments.update_lock) {
        std::fs::write(path, pair.lock.to_text()).with_context(|| format!("write {}", path.display()))?;
    }

    let (changed, unchanged) = pair.lock.changed_and_unchanged();
    print(format_args!(
        "{changed} packages changed, {unchanged} are the same"
    ))?;
    for age in Age::BOTH {
        for image in ["boot.img", "system.img", "vendor.img"] {
            let path = arguments.out.join(age.name()).join(image);
            let size = path
                .metadata()
                .with_context(|| format!("read {}", path.display()))?
                .len();
            print(format_args!("{}\t{size}", path.display()))?;
        }
    }
    say(format_args!(
        "next: millet payload delta --from {0}/older --to {0}/newer --out pair.payload",
        arguments.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
