//! Whether a build is healthy: a line of `build.prop`, found in the raw system image whatever its filesystem.
//!
//! Every image made here stores `build.prop` uncompressed, so the line stands in the image as it is, and a broken
//! build can be made by changing four bytes in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::device::{self, DeviceError};
use crate::image_folder::{ImageFolderError, images};

/// The property whose value says whether a build is healthy.
pub const PROPERTY: &str = "ro.millet.selftest";
/// The value of a healthy build.
pub const PASS: &str = "pass";
/// The value of a broken one: as long as [`PASS`], so that the image keeps its size.
pub const FAIL: &str = "fail";

const SYSTEM: &str = "system";
/// Bytes looked at together.
const WINDOW: usize = 1 << 20;
/// Bytes that a value may have.
const LONGEST_VALUE: usize = 64;

/// A health check that could not be made, or did not pass.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// Which slot runs is not known.
    #[error("find the running slot")]
    Device(#[from] DeviceError),
    /// The images cannot be used.
    #[error("use the images")]
    Images(#[from] ImageFolderError),
    /// A file cannot be read or written.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The image has no such line.
    #[error("{} has no line {PROPERTY}=…", .0.display())]
    NoLine(PathBuf),
    /// The line says that the build is broken.
    #[error("{} says {PROPERTY}={value}", path.display())]
    Failed {
        /// The image.
        path: PathBuf,
        /// What the line says.
        value: String,
    },
    /// Breaking a folder in place would leave no healthy build.
    #[error("{} holds the healthy images", .0.display())]
    SameFolder(PathBuf),
}

/// Where the value of [`PROPERTY`] stands in an image, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Bytes from the start of the image to the value.
    pub offset: u64,
    /// The value.
    pub value: String,
}

/// Checks the running slot's system image. `Ok` means healthy.
pub fn check(device: &Path) -> Result<(), SelftestError> {
    let slot = device::running(device)?;
    let path = device.join(format!("{SYSTEM}{}", slot.suffix()));
    let found = find(&path)?.ok_or_else(|| SelftestError::NoLine(path.clone()))?;
    match found.value == PASS {
        true => Ok(()),
        false => Err(SelftestError::Failed {
            path,
            value: found.value,
        }),
    }
}

/// Copies images into another folder and turns the system's [`PASS`] into [`FAIL`].
pub fn break_images(folder: &Path, out: &Path) -> Result<(), SelftestError> {
    fs::create_dir_all(out).map_err(at("create", out))?;
    let same = |path: &Path| fs::canonicalize(path).map_err(at("find", path));
    if same(folder)? == same(out)? {
        return Err(SelftestError::SameFolder(out.to_owned()));
    }
    for image in images(folder)? {
        let copy = out.join(format!("{}.img", image.partition));
        fs::copy(&image.path, &copy).map_err(at("copy", &image.path))?;
    }
    let system = out.join(format!("{SYSTEM}.img"));
    let found = find(&system)?.filter(|found| found.value == PASS);
    let found = found.ok_or_else(|| SelftestError::NoLine(system.clone()))?;
    let file = OpenOptions::new()
        .write(true)
        .open(&system)
        .map_err(at("open", &system))?;
    file.write_all_at(FAIL.as_bytes(), found.offset)
        .map_err(at("write", &system))
}

/// Looks for the line through a window of fixed size; the first one counts.
pub fn find(image: &Path) -> Result<Option<Found>, SelftestError> {
    let file = File::open(image).map_err(at("open", image))?;
    find_in(file).map_err(at("read", image))
}

fn find_in(mut image: impl Read) -> io::Result<Option<Found>> {
    let line = format!("\n{PROPERTY}=");
    let finder = memmem::Finder::new(&line);
    // What a line that a window's end cuts in two still needs of it.
    let keep = line.len() + LONGEST_VALUE;
    let mut window = Vec::with_capacity(WINDOW + keep);
    let mut start = 0_u64;
    loop {
        let before = window.len();
        image.by_ref().take(WINDOW as u64).read_to_end(&mut window)?;
        for at in finder.find_iter(&window) {
            let from = at + line.len();
            let value = &window[from..window.len().min(from + LONGEST_VALUE)];
            if let Some(end) = memchr::memchr(b'\n', value) {
                return Ok(Some(Found {
                    offset: start + from as u64,
                    value: String::from_utf8_lossy(&value[..end]).into_owned(),
                }));
            }
        }
        if window.len() == before {
            return Ok(None);
        }
        let done = window.len().saturating_sub(keep);
        window.drain(..done);
        start += done as u64;
    }
}

fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SelftestError {
    let path = path.to_owned();
    move |source| SelftestError::File {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use millet_protocol::Slot;

    use super::*;

    fn image(offset: usize, text: &str) -> Vec<u8> {
        let mut image = vec![b'x'; 3 * WINDOW];
        image[offset..offset + text.len()].copy_from_slice(text.as_bytes());
        image
    }

    #[test]
    fn finds_the_line_wherever_a_window_ends() {
        let text = "\nro.millet.selftest=pass\n";
        let around = WINDOW - 100..WINDOW + 100;
        for offset in around.chain([0, 2 * WINDOW - 5, 3 * WINDOW - text.len()]) {
            let found = find_in(image(offset, text).as_slice()).unwrap();
            let expected = Found {
                offset: (offset + text.len() - 5) as u64,
                value: "pass".to_owned(),
            };
            assert_eq!(found, Some(expected), "at {offset}");
        }
    }

    #[test]
    fn only_a_whole_line_counts() {
        for text in [
            "#ro.millet.selftest=pass\n",
            "\nro.millet.selftest=pass",
            "\nro.millet.selftes",
        ] {
            assert_eq!(find_in(image(WINDOW, text).as_slice()).unwrap(), None, "{text:?}");
        }
    }

    #[test]
    fn a_broken_copy_fails_on_the_device_and_differs_in_four_bytes() {
        let images = tempfile::tempdir().unwrap();
        let healthy = image(5000, "\nro.millet.selftest=pass\n");
        fs::write(images.path().join("system.img"), &healthy).unwrap();
        fs::write(images.path().join("boot.img"), b"kernel").unwrap();
        let broken = tempfile::tempdir().unwrap();
        break_images(images.path(), broken.path()).unwrap();
        let bytes = fs::read(broken.path().join("system.img")).unwrap();
        assert_eq!(bytes.len(), healthy.len());
        // p/f and s/i, s/l: the a stays.
        assert_eq!(
            bytes
                .iter()
                .zip(&healthy)
                .filter(|(one, other)| one != other)
                .count(),
            3
        );
        assert_eq!(fs::read(broken.path().join("boot.img")).unwrap(), b"kernel");

        let device = tempfile::tempdir().unwrap();
        device::create(device.path(), images.path(), 0).unwrap();
        assert!(matches!(check(device.path()), Err(SelftestError::NoLine(_))));
        device::flash(device.path(), Slot::A, images.path()).unwrap();
        check(device.path()).unwrap();
        device::flash(device.path(), Slot::A, broken.path()).unwrap();
        assert!(
            check(device.path())
                .unwrap_err()
                .to_string()
                .ends_with("system_a says ro.millet.selftest=fail")
        );
    }

    #[test]
    fn what_is_broken_already_or_in_place_is_refused() {
        let images = tempfile::tempdir().unwrap();
        fs::write(
            images.path().join("system.img"),
            image(9, "\nro.millet.selftest=fail\n"),
        )
        .unwrap();
        let out = tempfile::tempdir().unwrap();
        assert!(matches!(
            break_images(images.path(), out.path()),
            Err(SelftestError::NoLine(_))
        ));
        assert!(matches!(
            break_images(images.path(), images.path()),
            Err(SelftestError::SameFolder(_))
        ));
    }
}
