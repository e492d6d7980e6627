use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use millet_protocol::PartitionName;

/// One `<partition>.img` of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// The partition it is for.
    pub partition: PartitionName,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// A folder that should hold images does not.
#[derive(Debug, thiserror::Error)]
pub enum ImageFolderError {
    /// A file or the folder cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file's name cannot be a partition's.
    #[error("{} is no partition's image", path.display())]
    Name {
        /// Which.
        path: PathBuf,
        /// Which rule it breaks.
        source: millet_protocol::NameError,
    },
    /// Not one image.
    #[error("there is no <partition>.img in {}", .0.display())]
    Empty(PathBuf),
}

/// The images of a folder, by name. Files that do not end in `.img` are left alone.
pub fn images(folder: &Path) -> Result<Vec<ImageFile>, ImageFolderError> {
    let reading = |path: &Path| {
        let path = path.to_owned();
        move |source| ImageFolderError::Read { path, source }
    };
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).map_err(reading(folder))? {
        let path = entry.map_err(reading(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "img") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let partition = name.parse().map_err(|source| ImageFolderError::Name {
            path: path.clone(),
            source,
        })?;
        let size = fs::metadata(&path).map_err(reading(&path))?.len();
        images.push(ImageFile {
            partition,
            path,
            size,
        });
    }
    images.sort_by(|one, other| one.partition.cmp(&other.partition));
    match images.is_empty() {
        true => Err(ImageFolderError::Empty(folder.to_owned())),
        false => Ok(images),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_by_name_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(images(folder.path()), Err(ImageFolderError::Empty(_))));
        for (name, size) in [("system.img", 10), ("boot.img", 20), ("versions.lock", 1)] {
            fs::write(folder.path().join(name), vec![0; size]).unwrap();
        }
        let found: Vec<_> = images(folder.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|image| (image.partition.as_str(), image.size))
            .collect();
        assert_eq!(names, [("boot", 20), ("system", 10)]);

        fs::write(folder.path().join("misc.img"), "").unwrap();
        let error = images(folder.path()).unwrap_err();
        assert!(matches!(error, ImageFolderError::Name { .. }), "{error}");
    }
}
