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
    let failed = |operation| {
        move |source| SecretError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    match File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(LONGEST)
                .read_to_string(&mut text)
                .map_err(failed("read"))?;
            return Ok((text, false));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error)),
    }
    let text = make()?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(failed("write"))?;
    Ok((text, true))
}
