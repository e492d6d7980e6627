//! Weekly builds out of nothing but a seed: the same bytes for the same seed and week on every machine.
//!
//! `system` and `vendor` are squashfs with libraries, pictures and texts; `boot` is a raw kernel with a ramdisk behind it.
//! A week rebuilds two libraries of five (a few functions change, everything behind them moves), draws some pictures
//! anew, edits texts, moves and replaces files, and always changes `build.prop` and the kernel.

mod code;
mod history;
mod picture;
mod random;
mod squashfs;
mod tree;
mod words;

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use random::Seed;
pub use squashfs::WRITER;

use crate::selftest;

/// Weeks that can be made: a hundred years.
pub const WEEKS: std::ops::RangeInclusive<u32> = 1..=5200;
/// Sizes that can be made, in MiB.
pub const SIZES: std::ops::RangeInclusive<u32> = 4..=16384;

/// 2026-01-05, the Monday of the first week.
const FIRST_WEEK: u32 = 1_767_571_200;
const WEEK_SECONDS: u32 = 7 * 24 * 60 * 60;
const MIB: u64 = 1 << 20;

/// Which build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The product: builds of one seed are weeks of one ROM.
    pub seed: u64,
    /// Which week, in [`WEEKS`].
    pub week: u32,
    /// All images together, in MiB, in [`SIZES`].
    pub mebibytes: u32,
}

/// A build could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// No such week.
    #[error("week {0} is outside {start} to {end}", start = WEEKS.start(), end = WEEKS.end())]
    Week(u32),
    /// No such size.
    #[error("{0} MiB is outside {start} to {end} MiB", start = SIZES.start(), end = SIZES.end())]
    Size(u32),
    /// A file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The filesystem's writer failed.
    #[error("make the filesystem {}", path.display())]
    Filesystem {
        /// Which image.
        path: PathBuf,
        /// Why.
        source: Box<backhand::BackhandError>,
    },
    /// Many weeks made the files outgrow their partition.
    #[error("the files take {length} bytes of {}, which has {size}", path.display())]
    Full {
        /// Which image.
        path: PathBuf,
        /// Bytes of the filesystem.
        length: u64,
        /// Bytes of the partition.
        size: u64,
    },
}

/// Writes `boot.img`, `system.img` and `vendor.img` into a folder; says the size of each.
pub fn write(build: Build, out: &Path) -> Result<[(PathBuf, u64); 3], SyntheticError> {
    let Build {
        seed,
        week,
        mebibytes,
    } = build;
    if !WEEKS.contains(&week) {
        return Err(SyntheticError::Week(week));
    }
    if !SIZES.contains(&mebibytes) {
        return Err(SyntheticError::Size(mebibytes));
    }
    fs::create_dir_all(out).map_err(writing(out))?;
    let all = u64::from(mebibytes) * MIB;
    let (boot_size, vendor_size) = (all / 8, all / 4);
    let system_size = all - boot_size - vendor_size;
    let seed = Seed::new(seed);

    let boot = out.join("boot.img");
    fs::write(
        &boot,
        boot_image(&seed.child("boot", 0), boot_size as usize, week),
    )
    .map_err(writing(&boot))?;
    let system = out.join("system.img");
    let properties = build_properties(build);
    filesystem(&seed.child("system", 0), week, properties, system_size, &system)?;
    let vendor = out.join("vendor.img");
    let properties = format!("ro.vendor.build.version.incremental={}\n", incremental(build));
    filesystem(&seed.child("vendor", 0), week, properties, vendor_size, &vendor)?;
    Ok([(boot, boot_size), (system, system_size), (vendor, vendor_size)])
}

fn filesystem(
    seed: &Seed,
    week: u32,
    properties: String,
    size: u64,
    path: &Path,
) -> Result<(), SyntheticError> {
    // A partition is never full: the rest is for the tables and for the weeks to come.
    let budget = (size / 100 * 94).saturating_sub(64 << 10);
    let mut files = tree::files(*seed, budget as usize, week);
    files.push(squashfs::File {
        path: "build.prop".to_owned(),
        executable: false,
        content: Box::new(move || properties.into_bytes()),
    });
    let file = fs::File::create(path).map_err(writing(path))?;
    let time = FIRST_WEEK + (week - 1) * WEEK_SECONDS;
    let length =
        squashfs::write(files, time, BufWriter::new(&file)).map_err(|source| SyntheticError::Filesystem {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
    if length > size {
        return Err(SyntheticError::Full {
            path: path.to_owned(),
            length,
            size,
        });
    }
    file.set_len(size).map_err(writing(path))
}

/// Three quarters kernel, then a compressed ramdisk: from the first file that changed on, all its bytes are new.
fn boot_image(seed: &Seed, size: usize, week: u32) -> Vec<u8> {
    let weeks: Vec<u32> = (2..=week).collect();
    let mut image = code::kernel(&seed.child("kernel", 0), size / 10 * 7, &weeks);
    let ramdisk_at = size / 4 * 3;
    image.resize(ramdisk_at, 0);
    image.resize(size / 16 * 15, 0);
    let ramdisk = &mut image[ramdisk_at..];
    let seed = seed.child("ramdisk", 0);
    seed.stream(0).fill(ramdisk);
    for week in weeks {
        let mut stream = seed.stream(week.into());
        let from = stream.below(ramdisk.len());
        stream.fill(&mut ramdisk[from..]);
    }
    image.resize(size, 0);
    image
}

fn incremental(build: Build) -> String {
    format!("{:x}.{}", build.seed, build.week)
}

fn build_properties(build: Build) -> String {
    let time = FIRST_WEEK + (build.week - 1) * WEEK_SECONDS;
    format!(
        "# begin build properties\n\
         ro.build.id=MILLET.W{week}\n\
         ro.build.version.incremental={incremental}\n\
         ro.build.date.utc={time}\n\
         ro.product.device=synthetic\n\
         {property}={pass}\n\
         # end build properties\n",
        week = build.week,
        incremental = incremental(build),
        property = selftest::PROPERTY,
        pass = selftest::PASS,
    )
}

fn writing(path: &Path) -> impl FnOnce(io::Error) -> SyntheticError {
    let path = path.to_owned();
    move |source| SyntheticError::Write { path, source }
}
