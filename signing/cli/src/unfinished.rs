use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use tempfile::{NamedTempFile, TempPath};

/// Files that are being made beside their final place. They vanish with an error, a panic or an interrupt.
#[derive(Default)]
pub struct Unfinished {
    paths: Mutex<BTreeSet<PathBuf>>,
}

/// A file that has its name only once it is whole.
pub struct NewFile<'a> {
    owner: &'a Unfinished,
    file: File,
    temporary: TempPath,
    path: PathBuf,
}

impl Unfinished {
    /// Begins a file that shall be `path`.
    pub fn create(&self, path: &Path) -> anyhow::Result<NewFile<'_>> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let begin = || {
            let (file, temporary) = tempfile::Builder::new()
                .prefix(".millet-")
                .tempfile_in(folder)
                .map(NamedTempFile::into_parts)?;
            self.lock().insert(temporary.to_path_buf());
            io::Result::Ok((file, temporary))
        };
        let (file, temporary) = begin().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(NewFile {
            owner: self,
            file,
            temporary,
            path: path.to_owned(),
        })
    }

    /// Removes what is left, when nobody will finish it.
    pub fn remove(&self) {
        for path in self.lock().iter() {
            let _ = std::fs::remove_file(path);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NewFile<'_> {
    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it lies until it is finished.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Makes it durable and gives it its name, in the place of an older file.
    pub fn finish(self) -> anyhow::Result<()> {
        let temporary = self.temporary.to_path_buf();
        let finish = || {
            // A temporary file is for its owner only; a finished one is an ordinary file.
            use std::os::unix::fs::PermissionsExt;
            self.file
                .set_permissions(std::fs::Permissions::from_mode(0o644))?;
            self.file.sync_all()?;
            self.temporary.persist(&self.path).map_err(|error| error.error)
        };
        let finished = finish().with_context(|| format!("cannot write {}", self.path.display()));
        self.owner.lock().remove(&temporary);
        finished
    }
}

/// Writes a small file whole or not at all.
pub fn write_whole(unfinished: &Unfinished, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut new = unfinished.create(path)?;
    io::Write::write_all(new.file(), bytes).with_context(|| format!("cannot write {}", path.display()))?;
    new.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let unfinished = Unfinished::default();
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut dropped = unfinished.create(&path).unwrap();
        dropped.file().write_all(b"half").unwrap();
        assert!(!path.exists() && count() == 1);
        drop(dropped);
        assert_eq!(count(), 0);
        let interrupted = unfinished.create(&path).unwrap();
        unfinished.remove();
        assert_eq!(count(), 0);
        drop(interrupted);
        write_whole(&unfinished, &path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        unfinished.remove();
        assert!(path.exists());
    }
}
