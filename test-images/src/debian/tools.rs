use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::DebianError;

/// A program of the machine that this needs, found and ready.
#[derive(Debug, Clone)]
pub struct Tool {
    path: PathBuf,
}

/// Every program that a pair needs.
#[derive(Debug, Clone)]
pub struct Tools {
    pub(super) apt_get: Tool,
    pub(super) apt_cache: Tool,
    pub(super) dpkg_deb: Tool,
    pub(super) mke2fs: Tool,
    pub(super) debugfs: Tool,
    pub(super) mkfs_erofs: Tool,
}

impl Tools {
    /// Looks for all of them and names all that are missing, with the package that has each.
    pub fn find() -> Result<Self, DebianError> {
        let mut missing = Vec::new();
        let mut find = |name: &str, package: &str| {
            Tool::find(name).unwrap_or_else(|| {
                missing.push(format!("{name} (package {package})"));
                Tool { path: PathBuf::new() }
            })
        };
        let tools = Self {
            apt_get: find("apt-get", "apt"),
            apt_cache: find("apt-cache", "apt"),
            dpkg_deb: find("dpkg-deb", "dpkg"),
            mke2fs: find("mke2fs", "e2fsprogs"),
            debugfs: find("debugfs", "e2fsprogs"),
            mkfs_erofs: find("mkfs.erofs", "erofs-utils"),
        };
        match missing.is_empty() {
            true => Ok(tools),
            false => Err(DebianError::MissingTools(missing.join(", "))),
        }
    }
}

impl Tool {
    /// Ordinary users often have no sbin in their search path.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let starts = |path: &Path| {
            let mut command = Command::new(path);
            command
                .arg("-V")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok()
        };
        let candidates = [
            PathBuf::from(name),
            Path::new("/usr/sbin").join(name),
            Path::new("/sbin").join(name),
        ];
        candidates
            .into_iter()
            .find(|path| starts(path))
            .map(|path| Self { path })
    }

    /// A command whose output does not depend on the machine's language or zone.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end and gives back what it printed.
    pub(super) fn run<I, S>(&self, args: I) -> Result<String, DebianError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command();
        command.args(args);
        run(command)
    }
}

/// Runs a command to its end and gives back what it printed; a failure carries the end of what it complained of.
pub(crate) fn run(mut command: Command) -> Result<String, DebianError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| DebianError::Start {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = complaint.lines().collect();
    Err(DebianError::Command {
        program,
        status: output.status,
        complaint: lines[lines.len().saturating_sub(5)..].join("\n"),
    })
}
