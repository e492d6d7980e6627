//! The folder that a server is given: its own, or one where it can begin. In anyone else's it changes nothing.
//!
//! A first start writes `instance` before all else, so that an interrupted one finds its own folder again.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("{operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else's files are there.
    #[error(
        "{folder} is not a data folder of millet-server, and not empty: it holds {holds:?}. Nothing was changed; \
         give --data a folder of its own, which need not be there yet"
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// One of its files.
        holds: String,
    },
    /// Another process has it.
    #[error("another millet-server is using {0}")]
    InUse(PathBuf),
}

/// What a folder is to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A server has begun here; of a backup there may be the database alone.
    Own,
    /// Nothing is there, or nothing but what comes before `instance`.
    New,
}

/// What comes before [`INSTANCE`], and the folder that a new file system has.
const BEFORE: [&str; 3] = ["instance.new", "lock", "lost+found"];
/// The file that makes a folder ours: the server's name among those that share a database.
pub const INSTANCE: &str = "instance";
/// The database.
pub const DATABASE: &str = "millet.db";
/// The online keys.
pub const KEYS: &str = "keys";

/// How many bytes the folder's disk still takes: none when it is mounted to be read only.
pub fn room(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(0);
    }
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Looks without changing anything. An error when the folder is somebody else's.
pub fn look(folder: &Path) -> Result<Found, DataError> {
    if [INSTANCE, DATABASE]
        .iter()
        .any(|name| folder.join(name).is_file())
    {
        return Ok(Found::Own);
    }
    let names = || -> io::Result<Vec<String>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let names = match names() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::New),
        names => names.map_err(failed("read", folder))?,
    };
    match names
        .into_iter()
        .filter(|name| !BEFORE.contains(&name.as_str()))
        .min()
    {
        Some(holds) => Err(DataError::Foreign {
            folder: folder.to_owned(),
            holds,
        }),
        None => Ok(Found::New),
    }
}

/// Takes a folder for this process, making it when it is not there. It is ours as long as the file lives: two servers on
/// one folder would fight over its files.
pub fn take(folder: &Path) -> Result<(Found, File), DataError> {
    let found = look(folder)?;
    make(folder)?;
    let path = folder.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok((found, file)),
        Err(TryLockError::WouldBlock) => Err(DataError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Makes a folder for the server's user alone.
pub fn make(folder: &Path) -> Result<(), DataError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(failed("create", folder))
}

/// Makes a folder without what a killed worker left there, which is of no use to anyone.
pub fn make_empty(folder: &Path) -> Result<(), DataError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("clear", folder)(error)),
        _ => {}
    }
    make(folder)
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io {
        operation,
        path: path.clone(),
        source,
    }
}
