use std::path::PathBuf;

use anyhow::{Context, bail};
use millet_payload::Head;

use super::Opened;
use crate::edge::Edge;
use crate::images::Images;
use crate::output;
use crate::progress::Meter;

/// `millet payload verify`
#[derive(clap::Args)]
pub struct Args {
    /// The payload, or an OTA zip that holds it.
    file: PathBuf,
    /// The images that a delta reads: a folder, an OTA zip, a zip of images, or a full payload.
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// The images that it should make, in any of these forms; without it, what it makes is compared with its own head only.
    #[arg(long, value_name = "PATH")]
    images: Option<PathBuf>,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    let opened = Opened::open(&args.file, &edge.scratch)?;
    let old = opened.old_images(&args.file, args.from.as_deref(), edge)?;
    let old = old.as_ref().map(Images::list).unwrap_or_default();
    if let Some(path) = &args.images {
        compare(&opened.head, &Images::open(path, true, edge)?)?;
    }
    opened
        .verify(&old, &edge.scratch, |total| Meter::new("verifying", total))
        .with_context(|| format!("{} does not verify", args.file.display()))?;
    for partition in opened.head.partitions() {
        output::print(&format!("{}  {}", partition.new.sha256, partition.name))?;
    }
    output::say("every partition was made and has the SHA-256 that the payload promises");
    output::next("millet publish, or flash it");
    Ok(())
}

/// The head promises exactly these images.
fn compare(head: &Head, images: &Images) -> anyhow::Result<()> {
    for partition in head.partitions() {
        let image = images.get(&partition.name)?;
        let (name, size) = (&partition.name, image.size()?);
        let padded = size
            .checked_next_multiple_of(millet_protocol::BLOCK_SIZE)
            .unwrap_or(size);
        if padded != partition.new.size {
            bail!(
                "the payload makes {name} of {} bytes, and the image has {size}",
                partition.new.size
            );
        }
        let sha256 = millet_payload::hash(image, padded, &mut |_| ())
            .with_context(|| format!("cannot read the image of {name}"))?;
        if sha256 != partition.new.sha256 {
            bail!(
                "the payload makes {name} with SHA-256 {}, and the image has {sha256}",
                partition.new.sha256
            );
        }
    }
    let made: Vec<_> = head.partitions().map(|partition| &partition.name).collect();
    match images.names().find(|name| !made.contains(name)) {
        Some(name) => bail!("the payload does not make {name}"),
        None => Ok(()),
    }
}
