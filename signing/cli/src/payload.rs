//! `millet payload`: payloads as files, without a repository.

mod apply;
mod build;
mod delta;
mod inspect;
mod key;
mod properties;
mod verify;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail};
use millet_payload::input::{Sequence, open_payload};
use millet_payload::{Head, Image, OnlyOperation, ReadAt, Summary};
use millet_protocol::{PartitionEntry, PartitionName, Sha256Digest};
use serde::Serialize;

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
    /// Prints the payload_properties.txt that Android's update_engine asks for.
    Properties(properties::Args),
    /// Makes images of a payload, and for a delta of the images that it reads.
    #[command(visible_alias = "extract")]
    Apply(apply::Args),
    /// Applies a payload to files that vanish again, and compares the result.
    Verify(verify::Args),
    /// Makes the OTA zip that an Android phone's own update_engine takes, signed if you name a key.
    Zip(Box<zip::Args>),
}

pub fn run(command: &Command, edge: &Edge) -> anyhow::Result<()> {
    match command {
        Command::Build(args) => build::run(args, edge),
        Command::Delta(args) => delta::run(args, edge),
        Command::Inspect(args) => inspect::run(args, edge),
        Command::Properties(args) => properties::run(args, edge),
        Command::Apply(args) => apply::run(args, edge),
        Command::Verify(args) => verify::run(args, edge),
        Command::Zip(args) => zip::run(args, edge),
    }
}

/// Options of the commands that make payloads.
#[derive(clap::Args)]
pub struct Making {
    /// Operations that are compressed at the same time; one for each processor by default.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory to stay below, as in 512M or 4G; at least 256M for each thread.
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = size)]
    memory: u64,
    /// Preset of the xz encoder: 0 is fastest, 9 smallest.
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u32).range(0..=9))]
    xz_level: Option<u32>,
    /// Sends changed blocks by this type of operation only, for tests of other appliers.
    #[arg(long, value_name = "TYPE", value_enum, hide = true)]
    only_op: Option<OnlyOp>,
    /// Adds zeros to images that are not a multiple of 4096 bytes.
    #[arg(long)]
    pub pad: bool,
}

/// The types that `--only-op` names, as AOSP writes them.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OnlyOp {
    #[value(name = "REPLACE")]
    Replace,
    #[value(name = "REPLACE_BZ")]
    ReplaceBz,
    #[value(name = "REPLACE_XZ")]
    ReplaceXz,
    #[value(name = "SOURCE_BSDIFF")]
    SourceBsdiff,
    #[value(name = "BROTLI_BSDIFF")]
    BrotliBsdiff,
    #[value(name = "PUFFDIFF")]
    Puffdiff,
}

impl From<OnlyOp> for OnlyOperation {
    fn from(only: OnlyOp) -> Self {
        match only {
            OnlyOp::Replace => Self::Replace,
            OnlyOp::ReplaceBz => Self::ReplaceBz,
            OnlyOp::ReplaceXz => Self::ReplaceXz,
            OnlyOp::SourceBsdiff => Self::SourceBsdiff,
            OnlyOp::BrotliBsdiff => Self::BrotliBsdiff,
            OnlyOp::Puffdiff => Self::Puffdiff,
        }
    }
}

/// Bytes, or with a suffix kibi-, mebi- or gibibytes.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size is a number, with K, M or G after it if you like")?;
    let size = number
        .checked_mul(1 << shift)
        .ok_or("that is more than any memory")?;
    if size < 256 << 20 {
        return Err("it takes 256M at least".to_owned());
    }
    Ok(size)
}

impl Making {
    /// What the payload's maker needs to know.
    pub fn options(&self, edge: &Edge) -> millet_payload::Options {
        let defaults = millet_payload::Options::default();
        millet_payload::Options {
            threads: self.threads.map_or(defaults.threads, usize::from),
            memory: self.memory,
            xz_level: self.xz_level.unwrap_or(defaults.xz_level),
            only: self.only_op.map(OnlyOperation::from),
            scratch: edge.scratch.clone(),
        }
    }
}

/// A payload whose head has been read and checked.
pub struct Opened {
    /// The head.
    pub head: Head,
    /// The bytes of the head.
    pub head_bytes: Vec<u8>,
    /// Bytes in all.
    pub size: u64,
    /// Its bytes.
    pub bytes: Box<dyn ReadAt>,
}

impl Opened {
    /// Opens a payload, or the one inside an OTA zip; what is neither, or is cut off, is refused.
    pub fn open(path: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let what = || format!("cannot read {}", path.display());
        let bytes = open_payload(path, scratch)?;
        let size = bytes.size().with_context(what)?;
        let (head, head_bytes) = Head::read(&*bytes)
            .with_context(|| format!("{} is not a payload that Millet reads", path.display()))?;
        Ok(Self {
            head,
            head_bytes,
            size,
            bytes,
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
    ///
    /// `meter` makes a meter for so many bytes.
    pub fn verify(
        &self,
        old: &[Image<'_>],
        scratch: &Path,
        meter: impl FnOnce(u64) -> Meter,
    ) -> anyhow::Result<()> {
        let meter = meter(self.head.blobs_length());
        let create = |_: &PartitionName| tempfile::tempfile_in(scratch);
        self.make(&self.head, 0, old, &create, &meter)
    }

    /// Makes the partitions of `head`, whose blobs begin `offset` bytes after the payload's first, and compares them
    /// with what it promises.
    fn make(
        &self,
        head: &Head,
        offset: u64,
        old: &[Image<'_>],
        create: &dyn Fn(&PartitionName) -> std::io::Result<File>,
        meter: &Meter,
    ) -> anyhow::Result<()> {
        let start = self.head.blobs_offset().saturating_add(offset);
        let mut blobs = BufReader::new(Sequence::new(&*self.bytes, start, head.blobs_length()));
        millet_payload::make_images(head, &mut blobs, old, create, &mut |done| meter.set(done))?;
        Ok(())
    }
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Made<'a> {
    event: &'static str,
    size: u64,
    metadata_size: u64,
    metadata_sha256: Sha256Digest,
    partitions: &'a [PartitionEntry],
}

/// Refuses an output that is one of the files to read: they would be gone. A folder's are its images.
fn refuse_input(out: &Path, inputs: &[&Path]) -> anyhow::Result<()> {
    // What is not there yet is nobody's input.
    let Ok(real) = out.canonicalize() else {
        return Ok(());
    };
    let is_image = real.extension().is_some_and(|extension| extension == "img");
    for input in inputs.iter().filter_map(|input| input.canonicalize().ok()) {
        if real == input || (is_image && real.parent() == Some(&input)) {
            bail!(
                "{} is read for this and would be replaced: name another --out",
                out.display()
            );
        }
    }
    Ok(())
}

/// Says of what a new payload consists.
fn say_summary(path: &Path, summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        output::print_line(&Made {
            event: "made",
            size: summary.size,
            metadata_size: summary.metadata_size,
            metadata_sha256: summary.metadata_sha256,
            partitions: &summary.partitions,
        })?;
    }
    let operations = describe_operations(&summary.operations);
    output::say(&format!(
        "{}: {} ({operations})",
        path.display(),
        output::bytes(summary.size)
    ));
    Ok(())
}

fn describe_operations(operations: &BTreeMap<&'static str, (u64, u64)>) -> String {
    let describe = |(name, (count, bytes)): (&&str, &(u64, u64))| match bytes {
        0 => format!("{count} {name}"),
        bytes => format!("{count} {name} {}", output::bytes(*bytes)),
    };
    operations.iter().map(describe).collect::<Vec<_>>().join(", ")
}
