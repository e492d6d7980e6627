mod build_prop;
mod describe;

use std::path::PathBuf;

use anyhow::Context;
use millet_payload::{PackageSummary, PayloadKey, SignatureKind, write_package};
use millet_protocol::Sha256Digest;
use serde::Serialize;

use self::describe::Describing;
use super::key::KeyFile;
use super::{Opened, refuse_input};
use crate::edge::Edge;
use crate::output;
use crate::progress::Meter;

/// `millet payload zip`
#[derive(clap::Args)]
#[command(after_help = "\
What phones check of a build is read from its build.prop, or named by the options. The payload in the zip says it \
too, so it is another payload than FILE: publish FILE, hand the zip to phones.

A phone takes what is signed by a certificate in its own /system/etc/security/otacerts.zip. update_engine checks \
that signature in the payload; sideloading by recovery also wants one around the whole zip, which AOSP's \
signapk -w adds; it moves entries, so that zip can no longer be streamed.")]
pub struct Args {
    /// The payload, or an OTA zip that holds it.
    file: PathBuf,
    /// The zip to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Signs the payload with this private key: PKCS#8 of RSA-2048, RSA-4096 or P-256, in PEM or AOSP's .pk8.
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    #[command(flatten)]
    describing: Describing,
    /// Writes progress and the result as one JSON object per line.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    refuse_input(&args.out, &[&args.file])?;
    let opened = Opened::open(&args.file, &edge.scratch)?;
    let description = args.describing.description(opened.head.is_delta())?;
    let key = args.key.as_deref().map(KeyFile::read).transpose()?;
    let mut new = edge.unfinished.create(&args.out)?;
    let total = opened.head.blobs_length();
    let meter = match args.json {
        true => Meter::events("writing", total),
        false => Meter::new("writing", total),
    };
    let signer = key.as_ref().map(|key| key as &dyn PayloadKey);
    let written = write_package(
        &*opened.bytes,
        &description,
        signer,
        new.file(),
        &mut |done, _| meter.set(done),
    );
    drop(meter);
    let summary = written.with_context(|| format!("cannot make an OTA zip of {}", args.file.display()))?;
    new.finish()?;
    say_summary(args, &summary, key.as_ref())?;
    output::next(&format!("millet payload inspect {}", args.out.display()));
    Ok(())
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Made<'a> {
    event: &'static str,
    size: u64,
    payload: MadePayload,
    signature: Option<&'a str>,
}

#[derive(Serialize)]
struct MadePayload {
    offset: u64,
    size: u64,
    sha256: Sha256Digest,
    metadata_size: u64,
    metadata_sha256: Sha256Digest,
}

fn say_summary(args: &Args, summary: &PackageSummary, key: Option<&KeyFile>) -> anyhow::Result<()> {
    let (payload, kind) = (&summary.payload, key.map(KeyFile::kind));
    if args.json {
        output::print_line(&Made {
            event: "made",
            size: summary.size,
            payload: MadePayload {
                offset: summary.payload_offset,
                size: payload.file_size,
                sha256: payload.file_sha256,
                metadata_size: payload.metadata_size,
                metadata_sha256: payload.metadata_sha256,
            },
            signature: match summary.signature {
                SignatureKind::Unsigned => None,
                SignatureKind::Kept => Some("kept"),
                SignatureKind::New => kind.as_deref(),
            },
        })?;
    }
    let signature = match (summary.signature, key, &kind) {
        (SignatureKind::New, Some(key), Some(kind)) => {
            format!("signed with {} ({kind})", key.path().display())
        }
        (SignatureKind::Kept, ..) => "with the signature that it came with".to_owned(),
        _ => "unsigned: phones that know a certificate refuse it, sign it with --key".to_owned(),
    };
    output::say(&format!(
        "{}: {}, payload.bin at byte {}, {signature}",
        args.out.display(),
        output::bytes(summary.size),
        summary.payload_offset
    ));
    if !summary.dynamic {
        output::say("it names no partitions in super: phones that have one need --dynamic-partitions");
    }
    output::say(&format!(
        "the payload inside is its own: {} bytes of metadata with SHA-256 {}",
        payload.metadata_size, payload.metadata_sha256
    ));
    Ok(())
}
