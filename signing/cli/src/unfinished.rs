use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tempfile::{NamedTempFile, TempPath};

/// Files that are being made beside their final place. They vanish with an error, a panic or an interrupt.
#[derive(Default)]
pub struct Unfinished {
    paths: Mutex<BTreeSet<PathBuf>>,
}

/// Nothing unfinished lies anywhere as long as this is held.
#[must_use]
pub struct Removed<'a> {
    _paths: MutexGuard<'a, BTreeSet<PathBuf>>,
}

/// A file that has its name only once it is whole.
pub struct NewFile<'a> {
    owner: &'a Unfinished,
    file: File,
    temporary: TempPath,
    path: PathBuf,
}

/// What happens to an older file of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The new one takes its place.
    Replaced,
    /// It stays, and the new one is not written: an error.
    Kept,
}

impl Unfinished {
    /// Begins a file that shall be `path`.
    pub fn create(&self, path: &Path) -> anyhow::Result<NewFile<'_>> {
        let begin = || {
            // Locked before the file is there: an interrupt comes before it or after its name is known.
            let mut paths = self.lock();
            let (file, temporary) = tempfile::Builder::new()
                .prefix(".millet-")
                .tempfile_in(folder_of(path))
                .map(NamedTempFile::into_parts)?;
            paths.insert(temporary.to_path_buf());
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

    /// Removes what is left, when nobody will finish it. No thread begins another file while what it gives is held.
    pub fn remove(&self) -> Removed<'_> {
        let paths = self.lock();
        for path in paths.iter() {
            let _ = std::fs::remove_file(path);
        }
        Removed { _paths: paths }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
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
        // A temporary file is for its owner only; a finished one is an ordinary file.
        self.finish_as(0o644, Existing::Replaced)
    }

    /// The same with the file's mode, and with what happens to an older file.
    pub fn finish_as(self, mode: u32, existing: Existing) -> anyhow::Result<()> {
        let temporary = self.temporary.to_path_buf();
        let finish = || {
            self.file.set_permissions(Permissions::from_mode(mode))?;
            self.file.sync_all()?;
            let named = match existing {
                Existing::Replaced => self.temporary.persist(&self.path),
                Existing::Kept => self.temporary.persist_noclobber(&self.path),
            };
            named.map_err(|error| error.error)?;
            // The name is part of what must survive a power cut.
            File::open(folder_of(&self.path))?.sync_all()
        };
        let finished = finish().with_context(|| format!("cannot write {}", self.path.display()));
        self.owner.lock().remove(&temporary);
        finished
    }
}

/// Writes a small file whole or not at all.
pub fn write_whole(unfinished: &Unfinished, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_whole_as(unfinished, path, bytes, 0o644, Existing::Replaced)
}

/// The same with the file's mode, and with what happens to an older file.
pub fn write_whole_as(
    unfinished: &Unfinished,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    existing: Existing,
) -> anyhow::Result<()> {
    let mut new = unfinished.create(path)?;
    io::Write::write_all(new.file(), bytes).with_context(|| format!("cannot write {}", path.display()))?;
    new.finish_as(mode, existing)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
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
        drop(unfinished.remove());
        assert_eq!(count(), 0);
        drop(interrupted);
        write_whole(&unfinished, &path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        drop(unfinished.remove());
        assert!(path.exists());
        write_whole_as(&unfinished, &path, b"other", 0o600, Existing::Kept).unwrap_err();
        assert_eq!((std::fs::read(&path).unwrap(), count()), (b"whole".to_vec(), 1));
        write_whole_as(&unfinished, &path, b"other", 0o600, Existing::Replaced).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(
            (std::fs::read(&path).unwrap(), mode & 0o777),
            (b"other".to_vec(), 0o600)
        );
    }

    #[test]
    fn a_file_that_has_just_begun_is_removed_too() {
        let folder = tempfile::tempdir().unwrap();
        let count = || std::fs::read_dir(folder.path()).unwrap().count();
        for _ in 0..500 {
            let unfinished = Unfinished::default();
            std::thread::scope(|scope| {
                let making = scope.spawn(|| {
                    let first = unfinished.create(&folder.path().join("first")).unwrap();
                    (first, unfinished.create(&folder.path().join("second")).unwrap())
                });
                while count() == 0 && !making.is_finished() {}
                let removed = unfinished.remove();
                assert_eq!(count(), 0);
                drop(removed);
                drop(making.join().unwrap());
            });
        }
    }
}
