//! Where a repository's files lie: behind an address, or in a folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use millet_protocol::Sha256Digest;
use millet_signing::metadata::TargetFile;
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::StatusCode;

use crate::progress::Meter;

/// A copy of a repository: `metadata/` and `targets/` under one address or folder.
pub enum Place {
    /// Behind HTTP.
    Address {
        /// Without a `/` at its end.
        base: String,
        /// Asks there.
        agent: Agent,
    },
    /// On this machine.
    Folder(PathBuf),
}

impl Place {
    /// An address begins with `http://` or `https://`; all else is a folder.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        if name.starts_with("http://") || name.starts_with("https://") {
            let agent = Agent::config_builder()
                .http_status_as_error(false)
                .timeout_connect(Some(Duration::from_secs(20)))
                .timeout_recv_response(Some(Duration::from_secs(60)))
                .timeout_per_read(Some(Duration::from_secs(60)))
                .max_redirects(0)
                .user_agent(concat!("millet/", env!("CARGO_PKG_VERSION")))
                .build()
                .new_agent();
            return Ok(Self::Address {
                base: name.trim_end_matches('/').to_owned(),
                agent,
            });
        }
        let folder = PathBuf::from(name);
        if !folder.join("metadata").is_dir() {
            bail!("{name} is neither an address nor a folder with metadata/ in it");
        }
        Ok(Self::Folder(folder))
    }

    /// A metadata file; `None` when it is not there.
    pub fn metadata(&self, name: &str, max_length: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(reader) = self.open(&format!("metadata/{name}"))? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let taken = reader.take(max_length.saturating_add(1)).read_to_end(&mut bytes);
        taken.with_context(|| format!("cannot read {}", self.name(&format!("metadata/{name}"))))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > max_length) {
            bail!("metadata/{name} is longer than the {max_length} bytes that are accepted");
        }
        Ok(Some(bytes))
    }

    /// The first bytes of a target, at most `max_length`; `None` when it is not there.
    pub fn beginning(
        &self,
        path: &str,
        file: &TargetFile,
        max_length: u64,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let stored = stored_name(path, file)?;
        let Some(reader) = self.open(&stored)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = reader.take(max_length).read_to_end(&mut bytes);
        read.with_context(|| format!("cannot read {}", self.name(&stored)))?;
        Ok(Some(bytes))
    }

    /// Length and SHA-256 of a whole target; `None` when it is not there.
    pub fn digest(
        &self,
        path: &str,
        file: &TargetFile,
        meter: &Meter,
    ) -> anyhow::Result<Option<(u64, Sha256Digest)>> {
        let stored = stored_name(path, file)?;
        let Some(reader) = self.open(&stored)? else {
            return Ok(None);
        };
        // One byte more than signed is enough to know that it is too long.
        let mut reader = reader.take(file.length.saturating_add(1));
        let (mut hasher, mut length) = (Sha256::new(), 0_u64);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = reader
                .read(&mut buffer)
                .with_context(|| format!("cannot read {}", self.name(&stored)))?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            hasher.update(bytes);
            length = length.saturating_add(u64::try_from(read)?);
            meter.set(length);
        }
        Ok(Some((length, Sha256Digest(hasher.finalize().into()))))
    }

    /// The length of a target; `None` when it is not there, or when nobody says.
    pub fn length(&self, path: &str, file: &TargetFile) -> anyhow::Result<Option<u64>> {
        let stored = stored_name(path, file)?;
        match self {
            Self::Folder(folder) => Ok(fs::metadata(folder.join(&stored)).ok().map(|file| file.len())),
            Self::Address { base, agent } => {
                let address = format!("{base}/{stored}");
                let response = agent
                    .head(&address)
                    .call()
                    .with_context(|| format!("cannot ask for {address}"))?;
                let length = response.headers().get("content-length");
                Ok(length
                    .filter(|_| response.status() == StatusCode::OK)
                    .and_then(|length| length.to_str().ok()?.parse().ok()))
            }
        }
    }

    /// The files of `targets/`, by their stored names; `None` where nobody lists them.
    pub fn stored(&self) -> anyhow::Result<Option<BTreeSet<String>>> {
        let Self::Folder(folder) = self else {
            return Ok(None);
        };
        let mut found = BTreeSet::new();
        let mut folders = vec![folder.join("targets")];
        while let Some(next) = folders.pop() {
            let entries = match fs::read_dir(&next) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.with_context(|| format!("cannot read {}", next.display()))?,
            };
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot read {}", next.display()))?;
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                } else if let Ok(path) = entry.path().strip_prefix(folder) {
                    found.insert(path.to_string_lossy().into_owned());
                }
            }
        }
        Ok(Some(found))
    }

    fn open(&self, path: &str) -> anyhow::Result<Option<Box<dyn Read>>> {
        match self {
            Self::Folder(folder) => match File::open(folder.join(path)) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("cannot read {}", self.name(path))),
            },
            Self::Address { base, agent } => {
                let address = format!("{base}/{path}");
                let response = agent
                    .get(&address)
                    .call()
                    .with_context(|| format!("cannot get {address}"))?;
                match response.status() {
                    StatusCode::OK => {
                        let body = response.into_body().into_with_config().limit(u64::MAX);
                        Ok(Some(Box::new(body.reader())))
                    }
                    StatusCode::NOT_FOUND => Ok(None),
                    status => bail!("cannot get {address}: the answer is {status}"),
                }
            }
        }
    }

    fn name(&self, path: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(Path::new(path)).display().to_string(),
            Self::Address { base, .. } => format!("{base}/{path}"),
        }
    }
}

/// Where a consistent snapshot holds a target: its SHA-256 before its name (specification, 5.7).
pub fn stored_name(path: &str, file: &TargetFile) -> anyhow::Result<String> {
    let sha256 = file
        .sha256()
        .with_context(|| format!("signed metadata names no SHA-256 for {path}"))?;
    // A path that signers chose must not lead out of the folder.
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        bail!("{path} is not a path below targets/");
    }
    Ok(match path.rsplit_once('/') {
        Some((folder, name)) => format!("targets/{folder}/{sha256}.{name}"),
        None => format!("targets/{sha256}.{path}"),
    })
}
