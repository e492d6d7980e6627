//! The agent's own folder: every file is replaced whole or not at all, and only one agent works in it.

mod metadata;
mod remembered;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use millet_machine::Journal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::edge::Edge;
use crate::error::Error;

pub use metadata::MetadataFolder;
pub use remembered::{Kept, LastLook, Phase};

/// The folder. Reading needs no lock; whoever changes anything holds a [`Lock`].
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
}

/// Held by the one agent that works here; let go by the kernel however the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl StateDirectory {
    /// Makes the folder if it is not there, and removes what an interrupted write left.
    pub fn open(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::file("make the folder", path))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock, or says who has it after a second.
    ///
    /// A program that a killed agent was just starting shares its files until it has begun, and so the lock: that passes in
    /// a moment, another agent does not.
    pub fn lock(&self) -> Result<Lock, Error> {
        const TRIES: u32 = 50;
        const BETWEEN: Duration = Duration::from_millis(20);
        for _ in 1..TRIES {
            match self.try_lock() {
                Err(Error::Held { .. }) => thread::sleep(BETWEEN),
                other => return other,
            }
        }
        self.try_lock()
    }

    fn try_lock(&self) -> Result<Lock, Error> {
        let path = self.path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                return Err(Error::Held {
                    holder: holder.trim().to_owned(),
                    directory: self.path.clone(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path)(source)),
        }
        // For people only: the lock is the kernel's, so a stale number harms nobody.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock { _file: file })
    }

    /// The journal; a new one when there is none.
    pub fn journal(&self) -> Result<Journal, Error> {
        let journal: Journal = self.read_json("journal.json", "a journal")?.unwrap_or_default();
        if journal.format == Journal::FORMAT {
            return Ok(journal);
        }
        Err(Error::Form {
            path: self.path.join("journal.json"),
            what: "a journal of this version",
            source: format!("its format is {}, not {}", journal.format, Journal::FORMAT).into(),
        })
    }

    /// Makes the journal durable.
    pub fn save_journal(&self, journal: &Journal) -> Result<(), Error> {
        self.write_json("journal.json", journal)
    }

    /// The floors.
    pub fn kept(&self) -> Result<Kept, Error> {
        Ok(self
            .read_json("floors.json", "a file of floors")?
            .unwrap_or_default())
    }

    /// Makes the floors durable.
    pub fn save_kept(&self, kept: &Kept) -> Result<(), Error> {
        self.write_json("floors.json", kept)
    }

    /// The last look.
    pub fn last_look(&self) -> Result<LastLook, Error> {
        Ok(self
            .read_json("look.json", "a note of the last look")?
            .unwrap_or_default())
    }

    /// Remembers a look.
    pub fn save_last_look(&self, look: &LastLook) -> Result<(), Error> {
        self.write_json("look.json", look)
    }

    /// The metadata of the last refresh, in a folder of its own.
    pub fn metadata(&self) -> MetadataFolder {
        MetadataFolder::new(&self.path.join("metadata"))
    }

    /// A document that was kept under its hash.
    pub fn document(&self, sha256: &str) -> Option<Vec<u8>> {
        fs::read(self.path.join("documents").join(sha256)).ok()
    }

    /// Keeps a document under its hash.
    pub fn save_document(&self, sha256: &str, bytes: &[u8]) -> Result<(), Error> {
        let folder = self.path.join("documents");
        fs::create_dir_all(&folder).map_err(Error::file("make the folder", &folder))?;
        replace(&folder.join(sha256), bytes, 0o644)
    }

    /// Forgets documents that `wanted` does not want.
    pub fn prune_documents(&self, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
        let folder = self.path.join("documents");
        for name in names(&folder)?.into_iter().filter(|name| !wanted(name)) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
        Ok(())
    }

    /// Secret bytes that are made at their first use and never leave the device: `seed` draws its positions, `secret`
    /// its pseudonyms, `device.key` is the seed of its ed25519 key.
    pub fn secret(&self, name: &str, edge: &dyn Edge) -> Result<[u8; 32], Error> {
        let path = self.path.join(name);
        if let Some(bytes) = read_secret(&path)? {
            return Ok(bytes);
        }
        // `feedback` may come while `run` begins: two that made one each would go on with different ones.
        let folder = File::open(&self.path).map_err(Error::file("open", &self.path))?;
        folder.lock().map_err(Error::file("lock", &self.path))?;
        if let Some(bytes) = read_secret(&path)? {
            return Ok(bytes);
        }
        let mut bytes = [0; 32];
        edge.fill(&mut bytes)?;
        replace(&path, &bytes, 0o600)?;
        Ok(bytes)
    }

    /// Says what the agent is doing. It is for observers, so it is neither flushed nor an error when it fails.
    pub fn set_phase(&self, phase: Phase) {
        let _ = fs::write(self.path.join("phase"), phase.name());
    }

    /// What the agent is doing, or did last.
    pub fn phase(&self) -> Option<String> {
        fs::read_to_string(self.path.join("phase")).ok()
    }

    /// A JSON file of ours, if it is there.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str, what: &'static str) -> Result<Option<T>, Error> {
        let path = self.path.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| Error::Form {
                path,
                what,
                source: source.into(),
            })
    }

    /// Replaces a JSON file of ours.
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let path = self.path.join(name);
        let bytes = serde_json::to_vec_pretty(value).map_err(|source| Error::Form {
            path: path.clone(),
            what: "JSON",
            source: source.into(),
        })?;
        replace(&path, &bytes, 0o600)
    }

    /// Adds a line to a file of ours, durably.
    pub fn append(&self, name: &str, line: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        // A line that was cut off, by a full disk or a power cut, must not take this one with it.
        let start = if ends_a_line(&mut file).map_err(Error::file("read", &path))? {
            ""
        } else {
            "\n"
        };
        // One write, so that two processes never share a line.
        file.write_all(format!("{start}{line}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(Error::file("write", &path))
    }

    /// The lines of a file of ours; none when it is not there.
    pub fn lines(&self, name: &str) -> Result<Vec<String>, Error> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::file("read", &path)(error)),
        }
    }
}

/// Whether a file is empty or its last line is whole.
fn read_secret(path: &Path) -> Result<Option<[u8; 32]>, Error> {
    let mut bytes = [0; 32];
    match File::open(path) {
        Ok(mut file) => file.read_exact(&mut bytes).map_err(Error::file("read", path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("open", path)(error)),
    }
    Ok(Some(bytes))
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Whole or not at all: a file beside it, flushed, renamed over it, and the folder flushed.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let beside = path.with_added_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(Error::file("write", path)(error));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::file("flush", folder))
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", folder)(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(Error::file("read", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::pin::Pin;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use millet_protocol::Sequence;

    use super::*;

    #[test]
    fn the_second_agent_hears_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let held = state.lock().unwrap();
        let error = state.lock().unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(held);
        state.lock().unwrap();
    }

    #[test]
    fn a_lock_that_is_let_go_in_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let held = state.lock().unwrap();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(held);
        });
        state.lock().unwrap();
        other.join().unwrap();
    }

    /// Gives every byte the same value, after a while.
    struct Slow(u8);

    impl Edge for Slow {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
        fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
            thread::sleep(Duration::from_millis(20));
            bytes.fill(self.0);
            Ok(())
        }
        fn zone(&self) -> TimeZone {
            TimeZone::UTC
        }
        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn who_needs_a_secret_at_the_same_time_gets_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let made = thread::scope(|scope| {
            let two = [1, 2].map(|value| {
                let state = &state;
                scope.spawn(move || state.secret("secret", &Slow(value)).unwrap())
            });
            two.map(|one| one.join().unwrap())
        });
        assert_eq!(made[0], made[1]);
        assert_eq!(state.secret("secret", &Slow(3)).unwrap(), made[0]);
    }

    #[test]
    fn a_line_that_was_cut_off_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        state.append("ledger", "one").unwrap();
        fs::write(folder.path().join("ledger"), "one\nhal").unwrap();
        state.append("ledger", "three").unwrap();
        state.append("ledger", "four").unwrap();
        assert_eq!(state.lines("ledger").unwrap(), ["one", "hal", "three", "four"]);
    }

    #[test]
    fn a_journal_that_is_damaged_or_newer_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        assert_eq!(state.journal().unwrap(), Journal::new());
        fs::write(folder.path().join("journal.json"), "{").unwrap();
        assert!(
            state
                .journal()
                .unwrap_err()
                .to_string()
                .ends_with("journal.json is not a journal")
        );
        let newer = Journal {
            format: 2,
            ..Journal::new()
        };
        state.save_journal(&newer).unwrap();
        assert!(state.journal().is_err());
    }

    #[test]
    fn floors_only_rise() {
        let moment = |text: &str| text.parse::<Timestamp>().ok();
        let kept = Kept {
            sequence: Some(Sequence(5)),
            data_epoch: Some(2),
            time: moment("2026-11-20T00:00:00Z"),
        };
        assert_eq!(kept.raised_to(moment("2026-11-19T00:00:00Z")), kept);
        assert_eq!(kept.raised_to(None), kept);
        assert!(kept.raised_to(moment("2026-11-21T00:00:00Z")).time > kept.time);
    }

    /// Red without `.mode(mode)` in `replace`.
    #[test]
    fn l18_secrets_are_made_once_and_are_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        assert_eq!(state.secret("seed", &Slow(7)).unwrap(), [7; 32]);
        fs::write(folder.path().join("seed"), [8; 32]).unwrap();
        assert_eq!(state.secret("seed", &Slow(7)).unwrap(), [8; 32]);
        let other = state.secret("secret", &Slow(7)).unwrap();
        assert_eq!(other, [7; 32]);
        let mode = fs::metadata(folder.path().join("secret"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
