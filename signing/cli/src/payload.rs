//! `millet payload`: payloads as files, without a repository.

mod apply;
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
use millet_protocol::PartitionName;

use crate::edge::Edge;
use crate::images::Images;
use crate::progress::Meter;
use crate::{Usage, output};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Makes a full payload of images.
    Build(build::Args),
    /// Makes a delta payload from one build's images to another's.
    Delta(delta::Args),
    /// Shows what a payload makes and of which operations.
    Inspect(inspect::Args),
    /// Makes images of a payload, and for a delta of the images that it reads.
    #[command(visible_alias = "extract")]
    Apply(apply::Args),
    /// Applies a payload to files that vanish again, and compares the result.
    Verify(verify::Args),
}

pub fn run(command: &Command, edge: &Edge) -> anyhow::Result<()> {
    match command {
        Command::Build(args) => build::run(args, edge),
        Command::Delta(args) => delta::run(args, edge),
        Command::Inspect(args) => inspect::run(args, edge),
        Command::Apply(args) => apply::run(args, edge),
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

    /// The images that it reads; a delta without `from` is a mistake in the command.
    fn old_images(&self, file: &Path, from: Option<&Path>, edge: &Edge) -> anyhow::Result<Option<Images>> {
        if self.head.is_delta() && from.is_none() {
            return Err(Usage(format!(
                "{} is a delta: name the images that it reads with --from",
                file.display()
            ))
            .into());
        }
        // Padding was decided when the payload was made.
        from.map(|path| Images::open(path, true, edge)).transpose()
    }

    /// Applies it to files in `scratch` that vanish, and compares every partition with what the head promises.
    pub fn verify(&mut self, old: &[Image<'_>], scratch: &Path, label: &str) -> anyhow::Result<()> {
        let head = self.head.clone();
        let create = |_: &PartitionName| tempfile::tempfile_in(scratch);
        self.make(&head, 0, old, &create, label)
    }

    /// Makes the partitions of `head`, whose blobs begin `offset` bytes after the payload's first, and compares them
    /// with what it promises.
    fn make(
        &mut self,
        head: &Head,
        offset: u64,
        old: &[Image<'_>],
        create: &dyn Fn(&PartitionName) -> std::io::Result<File>,
        label: &str,
    ) -> anyhow::Result<()> {
        self.file
            .seek(SeekFrom::Start(self.head.blobs_offset().saturating_add(offset)))
            .context("cannot read the payload")?;
        let meter = Meter::new(label, head.blobs_length());
        let mut blobs = BufReader::with_capacity(1 << 20, &mut self.file);
        millet_payload::make_images(head, &mut blobs, old, create, &mut |done| meter.set(done))?;
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
