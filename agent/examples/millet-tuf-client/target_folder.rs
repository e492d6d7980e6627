use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use millet_signing::file_stem;
use millet_signing::metadata::TargetFile;
use sha2::{Digest, Sha256};

/// Longest file name that every file system takes, with room for what is beside it, in bytes.
const LONGEST: usize = 200;

/// A flat folder of targets: whatever a target is called, its file lies in the folder itself.
pub struct TargetFolder {
    path: PathBuf,
}

impl TargetFolder {
    /// The folder at `path`, which is made when something is stored.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Whether the target lies there as `file` describes it. What a link points to does not count.
    pub fn has(&self, target: &str, file: &TargetFile) -> bool {
        let path = self.path.join(file_name(target));
        let fits = |about: fs::Metadata| about.is_file() && about.len() == file.length;
        fs::symlink_metadata(&path).is_ok_and(fits) && fs::read(&path).is_ok_and(|bytes| file.matches(&bytes))
    }

    /// Stores a target whole or not at all; a link in its place is replaced and not followed.
    pub fn store(&self, target: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path.join(file_name(target));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.path)?;
            let mut beside = tempfile::NamedTempFile::new_in(&self.path)?;
            beside.write_all(bytes)?;
            beside.as_file().sync_all()?;
            beside.persist(&path)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Different for different targets, the same for the same, and never a path.
fn file_name(target: &str) -> String {
    let stem = file_stem(target);
    match stem.as_str() {
        // No encoded name begins so: after a % come two hexadecimal digits.
        "" => "%empty".to_owned(),
        "." | ".." => stem.replace('.', "%2E"),
        _ if stem.len() > LONGEST => format!("%sha256-{}", hex::encode(Sha256::digest(target))),
        _ => stem,
    }
}
