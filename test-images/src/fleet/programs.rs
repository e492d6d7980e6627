use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Where the four programs of a build lie.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The release engineer's command.
    pub millet: PathBuf,
    /// The server.
    pub server: PathBuf,
    /// The device's agent.
    pub agent: PathBuf,
    /// Images, test device and bootloader.
    pub test_images: PathBuf,
}

impl Programs {
    /// Builds the four with cargo, in the profile that this program was built in, and returns where they lie.
    ///
    /// A test binary of one package cannot ask cargo for the programs of another, so it builds them itself; when
    /// nothing changed this takes well under a second. The whole workspace is named, as everywhere, and beside tests a test:
    /// cargo then chooses the same features of every dependency as it did before, and builds none of them twice.
    pub fn build() -> Result<Self> {
        let release = !cfg!(debug_assertions);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--workspace", "--bins"]);
        if release {
            cargo.arg("--release");
        } else {
            cargo.args(["--test", "whole_way"]);
        }
        // What cargo told this program of its own package would make ring's build script run again, and all above ring.
        for (name, _) in std::env::vars_os() {
            let known = name.to_string_lossy();
            if known.starts_with("CARGO_PKG_") || known.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let status = cargo.current_dir(&root).status().context("cannot start cargo")?;
        if !status.success() {
            bail!("cargo build of the programs failed");
        }
        // This program lies in `<profile>/` or, when it is a test, in `<profile>/deps/`.
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        let target = own
            .ancestors()
            .find(|folder| folder.join("debug").is_dir() || folder.join("release").is_dir())
            .with_context(|| format!("{} does not lie in a cargo target folder", own.display()))?;
        Self::in_folder(&target.join(if release { "release" } else { "debug" }))
    }

    /// A `millet-test-images` command, ready to run.
    pub fn test_images(&self) -> Command {
        Command::new(&self.test_images)
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                bail!("{} is not there", path.display())
            }
        };
        Ok(Self {
            millet: find("millet")?,
            server: find("millet-server")?,
            agent: find("millet-agent")?,
            test_images: find("millet-test-images")?,
        })
    }
}

/// A program's arguments without the `--` that people write between `cargo demo` and its options.
///
/// The aliases end in `--` themselves, so that `cargo demo --keep` works as well as `cargo demo -- --keep`.
pub fn drop_separator(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut position = 0;
    arguments.filter(move |argument| {
        position += 1;
        position != 2 || argument != "--"
    })
}

/// What a finished process said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote on stdout.
    pub stdout: String,
    /// What it wrote on stderr, unless that went straight through.
    pub stderr: String,
}

impl Finished {
    fn new(output: Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The process if it exited 0, else an error with everything it said.
    pub fn success(self, what: &str) -> Result<Self> {
        let Self {
            status,
            stdout,
            stderr,
        } = &self;
        if !status.success() {
            bail!("{what} ended with {status}\n{stdout}{stderr}");
        }
        Ok(self)
    }
}

/// Runs a command to its end. With `show`, its talk and progress on stderr go straight to the person.
pub fn run(command: &mut Command, show: bool) -> Result<Finished> {
    let stderr = if show { Stdio::inherit() } else { Stdio::piped() };
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok(Finished::new(output))
}
