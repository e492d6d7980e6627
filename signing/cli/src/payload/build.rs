use std::path::PathBuf;

use anyhow::Context;
use millet_payload::write_full;

use super::{Making, Opened, refuse_input, say_summary};
use crate::edge::Edge;
use crate::images::Images;
use crate::output;
use crate::progress::PayloadMeter;

/// `millet payload build`
#[derive(clap::Args)]
pub struct Args {
    /// Folder of <partition>.img, raw or Android sparse; an OTA zip, a zip of images, or a full payload.
    #[arg(long, value_name = "PATH")]
    images: PathBuf,
    /// The payload to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Writes progress and the result as one JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    making: Making,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    refuse_input(&args.out, &[&args.images])?;
    let images = Images::open(&args.images, args.making.pad, edge)?;
    let mut new = edge.unfinished.create(&args.out)?;
    let meter = PayloadMeter::new("payload", args.json);
    let summary = write_full(&images.list(), &args.making.options(edge), &meter, new.file())
        .with_context(|| format!("cannot make a payload of {}", args.images.display()))?;
    Opened::open(new.path(), &edge.scratch)?
        .verify(&[], &edge.scratch, |total| meter.verifying(total))
        .context("the new payload does not make the images")?;
    new.finish()?;
    say_summary(&args.out, &summary, args.json)?;
    output::next(&format!("millet payload inspect {}", args.out.display()));
    Ok(())
}
