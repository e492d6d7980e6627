use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millet_protocol::Sha256Digest;
use sha2::{Digest, Sha256};

use super::Opened;
use crate::output;
use crate::progress::Meter;

/// `millet payload properties`
#[derive(clap::Args)]
pub struct Args {
    /// The payload.
    file: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let opened = Opened::open(&args.file)?;
    let meter = Meter::new("hashing", opened.size);
    let file = File::open(&args.file)
        .and_then(|file| millet_payload::hash(&file, opened.size, &mut |done| meter.set(done)))
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    drop(meter);
    output::print(&properties(&file, opened.size, &opened.head_bytes))?;
    output::next("hand these lines and the payload to update_engine");
    Ok(())
}

/// The lines of `payload_properties.txt`, as AOSP's `brillo_update_payload properties` writes them and update_engine's
/// `applyPayload` takes them.
fn properties(file: &Sha256Digest, size: u64, head: &[u8]) -> String {
    format!(
        "FILE_HASH={}\nFILE_SIZE={size}\nMETADATA_HASH={}\nMETADATA_SIZE={}",
        STANDARD.encode(file.0),
        STANDARD.encode(Sha256::digest(head)),
        head.len()
    )
}
