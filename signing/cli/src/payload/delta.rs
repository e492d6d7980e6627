use std::path::PathBuf;

use anyhow::Context;
use millet_payload::write_delta;

use super::{Making, Opened, refuse_input, say_summary};
use crate::edge::Edge;
use crate::images::Images;
use crate::output;
use crate::progress::PayloadMeter;

/// `millet payload delta`
#[derive(clap::Args)]
pub struct Args {
    /// The images that devices have: a folder, an OTA zip, a zip of images, or a full payload.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// The images that it makes: any of these.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
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
    refuse_input(&args.out, &[&args.from, &args.to])?;
    let old = Images::open(&args.from, args.making.pad, edge)?;
    let images = Images::open(&args.to, args.making.pad, edge)?;
    let mut new = edge.unfinished.create(&args.out)?;
    let options = args.making.options(edge);
    let meter = PayloadMeter::new("delta", args.json);
    let summary =
        write_delta(&old.list(), &images.list(), &options, &meter, new.file()).with_context(|| {
            format!(
                "cannot make a delta from {} to {}",
                args.from.display(),
                args.to.display()
            )
        })?;
    Opened::open(new.path(), &edge.scratch)?
        .verify(&old.list(), &edge.scratch, |total| meter.verifying(total))
        .context("the new delta does not make the images")?;
    new.finish()?;
    say_summary(&args.out, &summary, args.json)?;
    let (out, from) = (args.out.display(), args.from.display());
    output::next(&format!(
        "millet payload verify {out} --from {from} --images {}",
        args.to.display()
    ));
    Ok(())
}
