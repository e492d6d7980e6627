use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use millet_test_images::digest;
use millet_test_images::fleet::measure::{self, Cost};
use millet_test_images::fleet::{Programs, run};

use crate::pairs::Pair;

/// Reads the old image and the new one, writes their diff; the third argument is the compression.
const HDIFFPATCH_DIFF: &str = "
import sys, hdiffpatch
old, new, patch = sys.argv[1:4]
coder = {'zstd': hdiffpatch.ZStdConfig(level=21, window=27), 'lzma2': hdiffpatch.Lzma2Config(level=9, window=25)}[sys.argv[4]]
open(patch, 'wb').write(hdiffpatch.diff(open(old, 'rb').read(), open(new, 'rb').read(), coder, validate=False))
";

/// Reads the old image and a diff, writes the new image.
const HDIFFPATCH_APPLY: &str = "
import sys, hdiffpatch
old, patch, out = sys.argv[1:4]
open(out, 'wb').write(hdiffpatch.apply(open(old, 'rb').read(), open(patch, 'rb').read()))
";

/// A way to make a delta and to apply it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// `millet payload delta`.
    Millet,
    /// PyPI's hdiffpatch with zstd.
    HdiffpatchZstd,
    /// PyPI's hdiffpatch with lzma2.
    HdiffpatchLzma2,
    /// Debian's bsdiff.
    Bsdiff,
    /// Debian's xdelta3.
    Xdelta3,
    /// Debian's zstd.
    Zstd,
}

/// What one method needed for one pair.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Of the delta.
    pub bytes: u64,
    /// Of making it.
    pub made: Cost,
    /// Of applying it.
    pub applied: Cost,
}

impl Method {
    /// In the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Millet,
        Self::HdiffpatchZstd,
        Self::HdiffpatchLzma2,
        Self::Bsdiff,
        Self::Xdelta3,
        Self::Zstd,
    ];

    /// What all others are compared with.
    pub const REFERENCE: Self = Self::HdiffpatchZstd;

    /// How the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Millet => "millet",
            Self::HdiffpatchZstd => "HDiffPatch, zstd",
            Self::HdiffpatchLzma2 => "HDiffPatch, lzma2",
            Self::Bsdiff => "bsdiff",
            Self::Xdelta3 => "xdelta3",
            Self::Zstd => "zstd",
        }
    }

    /// The commands, for who wants to run them again.
    pub fn commands(self) -> [&'static str; 2] {
        match self {
            Self::Millet => [
                "millet payload delta --from OLDER --to NEWER --out PATCH",
                "millet payload apply PATCH --from OLDER --out FOLDER",
            ],
            Self::HdiffpatchZstd => [
                "hdiffpatch.diff(old, new, ZStdConfig(level=21, window=27), validate=False)",
                "hdiffpatch.apply(old, patch)",
            ],
            Self::HdiffpatchLzma2 => [
                "hdiffpatch.diff(old, new, Lzma2Config(level=9, window=25), validate=False)",
                "hdiffpatch.apply(old, patch)",
            ],
            Self::Bsdiff => ["bsdiff OLD NEW PATCH", "bspatch OLD OUT PATCH"],
            Self::Xdelta3 => ["xdelta3 -9 -e -s OLD NEW PATCH", "xdelta3 -d -s OLD PATCH OUT"],
            Self::Zstd => [
                "zstd -19 --long=31 --patch-from=OLD NEW -o PATCH",
                "zstd -d --long=31 --patch-from=OLD PATCH -o OUT",
            ],
        }
    }

    /// Refuses a method whose program this machine lacks, and says how to get it.
    pub fn is_there(self, python: &Path) -> Result<()> {
        let (mut probe, remedy) = match self {
            Self::Millet => return Ok(()),
            Self::HdiffpatchZstd | Self::HdiffpatchLzma2 => {
                let mut probe = Command::new(python);
                probe.args(["-c", "import hdiffpatch"]);
                (probe, "`pip install hdiffpatch==2.6.0`, or name another --python")
            }
            // bsdiff has no option that succeeds.
            Self::Bsdiff => (which("bsdiff"), "`apt-get install bsdiff`"),
            Self::Xdelta3 => (which("xdelta3"), "`apt-get install xdelta3`"),
            Self::Zstd => (which("zstd"), "`apt-get install zstd`"),
        };
        let found = run(&mut probe, false).and_then(|finished| finished.success(self.name()));
        found
            .map(drop)
            .with_context(|| format!("{} is not there: {remedy}", self.name()))
    }

    /// Makes the delta, applies it, and compares the result with the image before any figure is believed. `None` when
    /// one of the two took longer than `patience`.
    pub fn measure(
        self,
        pair: &Pair,
        programs: &Programs,
        python: &Path,
        scratch: &Path,
        patience: Duration,
    ) -> Result<Option<Measured>> {
        let folder = tempfile::tempdir_in(scratch)?;
        let (patch, out) = (folder.path().join("patch"), folder.path().join("out.img"));
        let (make, apply) = self.command_lines(pair, programs, python, folder.path(), &patch, &out)?;
        let Some(made) = cost(make, patience)? else {
            return Ok(None);
        };
        let Some(applied) = cost(apply, patience)? else {
            return Ok(None);
        };
        let out = match self {
            Self::Millet => folder.path().join(format!("{}.img", pair.partition)),
            _ => out,
        };
        ensure!(
            digest::of_file(&out)? == digest::of_file(&pair.newer())?,
            "what {} made of {} is not the new image",
            self.name(),
            pair.name
        );
        Ok(Some(Measured {
            bytes: fs::metadata(&patch)?.len(),
            made,
            applied,
        }))
    }

    fn command_lines(
        self,
        pair: &Pair,
        programs: &Programs,
        python: &Path,
        folder: &Path,
        patch: &Path,
        out: &Path,
    ) -> Result<(Command, Command)> {
        let (old, new) = (pair.older(), pair.newer());
        Ok(match self {
            Self::Millet => {
                // A folder that holds one partition of the pair: both sides see the same bytes and no more.
                let (older, newer) = (
                    alone(&old, &folder.join("older"))?,
                    alone(&new, &folder.join("newer"))?,
                );
                let mut make = Command::new(&programs.millet);
                make.args(["payload", "delta", "--from"]).arg(&older);
                make.arg("--to").arg(&newer).arg("--out").arg(patch);
                let mut apply = Command::new(&programs.millet);
                apply
                    .args(["payload", "apply"])
                    .arg(patch)
                    .arg("--from")
                    .arg(&older);
                apply.arg("--out").arg(folder);
                (make, apply)
            }
            Self::HdiffpatchZstd | Self::HdiffpatchLzma2 => {
                let coder = if self == Self::HdiffpatchZstd {
                    "zstd"
                } else {
                    "lzma2"
                };
                let mut make = Command::new(python);
                make.args(["-c", HDIFFPATCH_DIFF])
                    .args([&old, &new, patch])
                    .arg(coder);
                let mut apply = Command::new(python);
                apply.args(["-c", HDIFFPATCH_APPLY]).args([&old, patch, out]);
                (make, apply)
            }
            Self::Bsdiff => {
                let (mut make, mut apply) = (Command::new("bsdiff"), Command::new("bspatch"));
                make.args([&old, &new, patch]);
                apply.args([&old, out, patch]);
                (make, apply)
            }
            Self::Xdelta3 => {
                let (mut make, mut apply) = (Command::new("xdelta3"), Command::new("xdelta3"));
                make.args(["-9", "-e", "-s"]).args([&old, &new, patch]);
                apply.args(["-d", "-s"]).args([&old, patch, out]);
                (make, apply)
            }
            Self::Zstd => {
                let from = |path: &Path| {
                    let mut option = std::ffi::OsString::from("--patch-from=");
                    option.push(path);
                    option
                };
                let (mut make, mut apply) = (Command::new("zstd"), Command::new("zstd"));
                make.args(["-q", "-19", "--long=31"])
                    .arg(from(&old))
                    .arg(&new)
                    .arg("-o")
                    .arg(patch);
                apply
                    .args(["-q", "-d", "--long=31"])
                    .arg(from(&old))
                    .arg(patch)
                    .arg("-o")
                    .arg(out);
                (make, apply)
            }
        })
    }
}

fn which(name: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "command -v \"$0\"", name]);
    command
}

fn alone(image: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir(folder)?;
    let name = image.file_name().context("an image without a name")?;
    std::os::unix::fs::symlink(image.canonicalize()?, folder.join(name))?;
    Ok(folder.to_owned())
}

fn cost(mut command: Command, patience: Duration) -> Result<Option<Cost>> {
    let program = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let talk = child.stderr.take();
    let listener = std::thread::spawn(move || talk.map(std::io::read_to_string));
    let cost = measure::wait_at_most(&mut child, patience)?;
    let talk = listener.join().ok().flatten().transpose()?.unwrap_or_default();
    if let Some(cost) = cost
        && !cost.status.success()
    {
        bail!("{program} ended with {}\n{talk}", cost.status);
    }
    Ok(cost)
}
