use std::fs;
use std::path::{Path, PathBuf};

use millet_signing::Files;

use super::{names, replace};
use crate::error::Error;

const ROOT: &str = "root.json";

/// A folder of metadata files, each as it was served, under its name without a version.
#[derive(Debug, Clone)]
pub struct MetadataFolder {
    path: PathBuf,
}

impl MetadataFolder {
    /// The folder at `path`, which is made when something is to be kept in it.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it.
    pub fn load(&self) -> Result<Files, Error> {
        let mut files = Files::new();
        for name in names(&self.path)?
            .into_iter()
            .filter(|name| name.ends_with(".json"))
        {
            let path = self.path.join(&name);
            files.insert(name, fs::read(&path).map_err(Error::file("read", &path))?);
        }
        Ok(files)
    }

    /// Keeps these files and no others; the root is written last, so that a loss of power never pairs a new root with a
    /// timestamp that its rotation meant to delete.
    pub fn save(&self, files: &Files) -> Result<(), Error> {
        self.make()?;
        let kept = self.load()?;
        let changed = |name: &str, bytes: &[u8]| kept.get(name).is_none_or(|kept| kept != bytes);
        for (name, bytes) in files
            .iter()
            .filter(|(name, bytes)| *name != ROOT && changed(name, bytes))
        {
            replace(&self.path.join(name), bytes, 0o644)?;
        }
        for name in kept.keys().filter(|name| !files.contains_key(*name)) {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
        match files.get(ROOT) {
            Some(bytes) if changed(ROOT, bytes) => self.save_root(bytes),
            _ => Ok(()),
        }
    }

    /// Keeps a root and leaves the other files as they are: nothing in them is believed unless it verifies.
    pub fn save_root(&self, root: &[u8]) -> Result<(), Error> {
        self.make()?;
        replace(&self.path.join(ROOT), root, 0o644)
    }

    fn make(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.path).map_err(Error::file("make the folder", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[(&str, &str)]) -> Files {
        names
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn metadata_is_replaced_as_a_whole() {
        let place = tempfile::tempdir().unwrap();
        let folder = MetadataFolder::new(&place.path().join("metadata"));
        let first = files(&[
            ("root.json", "1"),
            ("timestamp.json", "1"),
            ("builds.cube.json", "1"),
        ]);
        folder.save(&first).unwrap();
        assert_eq!(folder.load().unwrap(), first);
        let second = files(&[("root.json", "1"), ("timestamp.json", "2")]);
        folder.save(&second).unwrap();
        assert_eq!(folder.load().unwrap(), second);
    }
}
