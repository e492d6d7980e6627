//! A zip with a payload, or with images.

use std::path::Path;
use std::sync::Arc;

use super::zip::{Entry, Zip};
use super::{InputError, InputKind, Members, ZipError, insert, payload};
use crate::storage::ReadAt;

/// The payload of an OTA package.
const PAYLOAD: &str = "payload.bin";

/// Where the archives from which OTA packages are made ("target files") keep their images.
const IMAGES_FOLDER: &str = "IMAGES/";

/// Opens an OTA package, or a zip of `<partition>.img`, raw or sparse: those at its top, or else those in `IMAGES/`.
pub(super) fn open(
    file: Arc<dyn ReadAt>,
    origin: &str,
    scratch: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(InputKind, Members), InputError> {
    let refused = |error: ZipError| InputError::Zip {
        origin: origin.to_owned(),
        error,
    };
    let zip = Zip::open(file).map_err(refused)?;
    if let Some(entry) = zip.entries.iter().find(|entry| entry.name == PAYLOAD) {
        // Stored in every OTA package; whatever it makes is compared with hashes of its own.
        let content = zip.content(entry, scratch, &mut |_| ()).map_err(refused)?;
        let members = payload::open(&*content, &format!("{origin}: {PAYLOAD}"), scratch, progress)?;
        return Ok((InputKind::Package, members));
    }
    let top = images(&zip, "");
    let images = if top.is_empty() {
        images(&zip, IMAGES_FOLDER)
    } else {
        top
    };
    let total = images
        .iter()
        .map(|(_, entry)| entry.size)
        .fold(0, u64::saturating_add);
    let mut members = Members::new();
    let mut before: u64 = 0;
    for (stem, entry) in images {
        let mut progress = |done| progress(before.saturating_add(done), total);
        let content = zip.content(entry, scratch, &mut progress).map_err(refused)?;
        zip.check(entry, &*content, &mut progress).map_err(refused)?;
        before = before.saturating_add(entry.size);
        insert(&mut members, stem, format!("{origin}: {}", entry.name), content)?;
    }
    Ok((InputKind::Zip, members))
}

/// The payload of an OTA package, in place if it is stored, as it should be.
pub(super) fn payload(
    file: Arc<dyn ReadAt>,
    origin: &str,
    scratch: &Path,
) -> Result<Box<dyn ReadAt>, InputError> {
    let refused = |error: ZipError| InputError::Zip {
        origin: origin.to_owned(),
        error,
    };
    let zip = Zip::open(file).map_err(refused)?;
    let entry = zip.entries.iter().find(|entry| entry.name == PAYLOAD);
    let entry = entry.ok_or_else(|| InputError::NoPayload(origin.to_owned()))?;
    zip.content(entry, scratch, &mut |_| ()).map_err(refused)
}

/// Entries of a folder that end in `.img`, without that.
fn images<'a>(zip: &'a Zip, folder: &str) -> Vec<(&'a str, &'a Entry)> {
    let image = |entry: &'a Entry| {
        let stem = entry.name.strip_prefix(folder)?.strip_suffix(".img")?;
        (!stem.contains('/')).then_some((stem, entry))
    };
    zip.entries.iter().filter_map(image).collect()
}
