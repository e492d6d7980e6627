use std::fs::{self, File};
use std::path::Path;

use super::{InputError, Members, insert};

/// Opens every `<partition>.img` of a folder, raw or sparse; other files do not matter.
pub(super) fn open(folder: &Path) -> Result<Members, InputError> {
    let shown = folder.display().to_string();
    let mut members = Members::new();
    for entry in fs::read_dir(folder).map_err(InputError::open(&shown))? {
        let path = entry.map_err(InputError::read(&shown))?.path();
        if path.extension().is_some_and(|extension| extension == "img") {
            let origin = path.display().to_string();
            // A name that is not UTF-8 is no partition's name either.
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            let file = File::open(&path).map_err(InputError::open(&origin))?;
            insert(&mut members, stem, origin, Box::new(file))?;
        }
    }
    Ok(members)
}
