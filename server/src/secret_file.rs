//! Files that only the server's own user may read: made once, then kept.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A secret could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file system refused.
    #[error("{operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is not what it should be: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// No secret of ours is longer.
const LONGEST: u64 = 64 * 1024;

/// The file's text, or what `make` says, written with mode 0600, when there is no file. True when it was made.
///
/// A crash leaves the file whole or not at all.
pub fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<String, SecretError>,
) -> Result<(String, bool), SecretError> {
    if let Some(text) = read(path)? {
        return Ok((text, false));
    }
    let text = make()?;
    draft(path, &text)?;
    keep(path)?;
    Ok((text, true))
}

/// The file's text; nothing when there is no file.
pub fn read(path: &Path) -> Result<Option<String>, SecretError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    found(read, "read", path).map(|found| found.map(|_| text))
}

/// Writes the text beside the file, with mode 0600, so that a power cut cannot take it away: [`keep`] puts it in place.
pub fn draft(path: &Path, text: &str) -> Result<(), SecretError> {
    let draft = draft_of(path);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        sync_folder(&draft)
    };
    write().map_err(failed("write", &draft))
}

/// Puts what [`draft`] wrote in the file's place. False when there is no draft.
pub fn keep(path: &Path) -> Result<bool, SecretError> {
    let kept = std::fs::rename(draft_of(path), path).and_then(|()| sync_folder(path));
    found(kept, "write", path).map(|found| found.is_some())
}

/// A name is durable once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    PathBuf::from(draft)
}

fn found<T>(result: io::Result<T>, operation: &'static str, path: &Path) -> Result<Option<T>, SecretError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(operation, path)(error)),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> SecretError {
    let path = path.to_owned();
    move |source| SecretError::Io {
        operation,
        path: path.clone(),
        source,
    }
}
