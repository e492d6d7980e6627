use std::path::PathBuf;

use anyhow::Context;
use millet_payload::PayloadProperties;
use millet_protocol::Sha256Digest;
use sha2::{Digest, Sha256};

use super::Opened;
use crate::edge::Edge;
use crate::output;
use crate::progress::Meter;

/// `millet payload properties`
#[derive(clap::Args)]
pub struct Args {
    /// The payload, or an OTA zip that holds it.
    file: PathBuf,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    let opened = Opened::open(&args.file, &edge.scratch)?;
    let meter = Meter::new("hashing", opened.size);
    let file_sha256 = millet_payload::hash(&*opened.bytes, opened.size, &mut |done| meter.set(done))
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    drop(meter);
    let properties = PayloadProperties {
        file_sha256,
        file_size: opened.size,
        metadata_sha256: Sha256Digest(Sha256::digest(&opened.head_bytes).into()),
        metadata_size: opened.head.metadata_size(),
    };
    output::print(properties.lines().trim_end())?;
    output::next("hand these lines and the payload to update_engine");
    Ok(())
}
