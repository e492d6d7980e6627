//! `millet payload`: payloads as files, without a repository.

mod build;
mod delta;
mod inspect;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail};
use millet_payload::{Head, Image, PREFIX, Summary};

use crate::edge::Edge;
use crate::output;
use crate::progress::Meter;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Makes a full payload of images.
    Build(build::Args),
    /// Makes a delta payload from one build's images to another's.
    Delta(delta::Args),
    /// Shows what a payload makes and of which operations.
    Inspect(inspect::Args),
    /// Applies a payload to files that vanish again, and compares the result.
    Verify(verify::Args),
}

pub fn run(command: &Command, edge: &Edge) -> anyhow::Result<()> {
    match command {
        Command::Build(args) => build::run(args, edge),
        Command::Delta(args) => delta::run(args, edge),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args, edge),
    }
}

/// Options of the commands that make payloads.
#[derive(clap::Args)]
pub struct Making {
    /// Operations that are compressed at the same time; one for each processor by default.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Preset of the xz encoder: 0 is fastest, 9 smallest.
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u32).range(0..=9))]
    xz_level: Option<u32>,
    /// Adds zeros to images that are not a multiple of 4096 bytes.
    #[arg(long)]
    pub pad: bool,
}

impl Making {
    /// What the payload's maker needs to know.
    pub fn options(&self, edge: &Edge) -> millet_payload::Options {
        let defaults = millet_payload::Options::default();
        millet_payload::Options {
            threads: self.threads.map_or(defaults.threads, usize::from),
            xz_level: self.xz_level.unwrap_or(defaults.xz_level),
            scratch: edge.scratch.clone(),
        }
    }
}

/// A payload file whose head has been read and checked.
pub struct Opened {
    /// The head.
    pub head: Head,
    /// The bytes of the head.
    pub head_bytes: Vec<u8>,
    /// Bytes of the file.
    pub size: u64,
    file: File,
}

impl Opened {
    /// Opens a payload; what is not one, or is cut off, is refused.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(what)?;
        let size = file.metadata().with_context(what)?.len();
        let mut prefix = [0; PREFIX];
        if size < u64::try_from(PREFIX)? {
            bail!("{} has {size} bytes, too few for a payload", path.display());
        }
        file.read_exact(&mut prefix).with_context(what)?;
        let no_payload = || format!("{} is not a payload that Millet reads", path.display());
        let length = millet_payload::metadata_size(&prefix).with_context(no_payload)?;
        if length > size {
            bail!(
                "{} is cut off: its head alone has {length} bytes, the file {size}",
                path.display()
            );
        }
        let mut head_bytes = vec![0; usize::try_from(length)?];
        file.rewind().with_context(what)?;
        file.read_exact(&mut head_bytes).with_context(what)?;
        let head = Head::parse(&head_bytes).with_context(no_payload)?;
        let needed = head.blobs_offset().saturating_add(head.blobs_length());
        if needed > size {
            bail!(
                "{} is cut off: it should have {needed} bytes and has {size}",
                path.display()
            );
        }
        Ok(Self {
            head,
            head_bytes,
            size,
            file,
        })
    }

    /// Applies it to files in `scratch` that vanish, and compares every partition with what the head promises.
    pub fn verify(&mut self, old: &[Image<'_>], scratch: &Path, label: &str) -> anyhow::Result<()> {
        self.file
            .seek(SeekFrom::Start(self.head.blobs_offset()))
            .context("cannot read the payload")?;
        let meter = Meter::new(label, self.head.blobs_length());
        let mut blobs = BufReader::with_capacity(1 << 20, &mut self.file);
        millet_payload::verify(&self.head, &mut blobs, old, scratch, &mut |done| meter.set(done))?;
        Ok(())
    }
}

/// Says of what a new payload consists.
fn say_summary(path: &Path, summary: &Summary) {
    let operations = describe_operations(&summary.operations);
    output::say(&format!(
        "{}: {} ({operations})",
        path.display(),
        output::bytes(summary.size)
    ));
}

fn describe_operations(operations: &BTreeMap<&'static str, (u64, u64)>) -> String {
    let describe = |(name, (count, bytes)): (&&str, &(u64, u64))| match bytes {
        0 => format!("{count} {name}"),
        bytes => format!("{count} {name} {}", output::bytes(*bytes)),
    };
    operations.iter().map(describe).collect::<Vec<_>>().join(", ")
}
