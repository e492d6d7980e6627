use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use millet_payload::write_full;
use millet_protocol::{BuildManifest, FORMAT, PayloadRef, Sha256Digest, targets};
use millet_signing::metadata::TargetFile;
use sha2::{Digest, Sha256};

use super::Args;
use super::plan::Plan;
use crate::document::Document;
use crate::edge::Edge;
use crate::payload::Opened;
use crate::progress::PayloadMeter;
use crate::unfinished::NewFile;

/// A build that is whole: its payload has made its partitions once already.
pub struct Made<'a> {
    pub manifest: BuildManifest,
    pub document: Document,
    pub payload: TargetFile,
    pub payload_sha256: Sha256Digest,
    file: NewFile<'a>,
}

impl Made<'_> {
    /// Where the payload lies until it is uploaded.
    pub fn payload_path(&self) -> &Path {
        self.file.path()
    }

    /// Its two files, as metadata names them.
    pub fn targets(&self) -> [(String, TargetFile); 2] {
        let (model, build) = (&self.manifest.model, &self.manifest.build);
        [
            (targets::manifest(model, build), self.document.target()),
            (targets::full_payload(model, build), self.payload.clone()),
        ]
    }
}

/// Makes the payload, applies it to see that it is right, and writes the manifest.
pub fn make<'a>(plan: Plan, args: &Args, edge: &'a Edge) -> anyhow::Result<Made<'a>> {
    let label = plan.model.to_string();
    let mut file = edge.unfinished.create(&edge.scratch.join("payload"))?;
    let mut out = Hashing {
        inner: file.file(),
        hasher: Sha256::new(),
        length: 0,
    };
    let options = args.making.options(edge);
    let meter = PayloadMeter::new(&label, false);
    let summary = write_full(&plan.images.list(), &options, &meter, &mut out)
        .with_context(|| format!("cannot make the payload of {label}"))?;
    let (length, payload_sha256) = (out.length, Sha256Digest(out.hasher.finalize().into()));
    Opened::open(file.path(), &edge.scratch)?
        .verify(&[], &edge.scratch, |total| meter.verifying(total))
        .with_context(|| format!("the payload of {label} does not make its images"))?;
    let manifest = BuildManifest {
        format: FORMAT,
        payload: PayloadRef {
            path: targets::full_payload(&plan.model, &args.build),
            metadata_size: summary.metadata_size,
            metadata_sha256: summary.metadata_sha256,
        },
        model: plan.model,
        build: args.build.clone(),
        sequence: plan.sequence,
        train: plan.train,
        data_epoch: plan.data_epoch,
        channels: plan.channels,
        released: edge.now,
        security_patch: plan.security_patch,
        partitions: summary.partitions,
        floor: plan.floor,
        requires: plan.requires,
        notes: plan
            .notes
            .map(|text| BTreeMap::from([(args.notes_language.clone(), text)]))
            .unwrap_or_default(),
        entries: plan.entries,
        known_issues: args.known_issues.clone(),
    };
    Ok(Made {
        document: Document::of(&manifest)?,
        manifest,
        payload: TargetFile::new(length, &payload_sha256),
        payload_sha256,
        file,
    })
}

/// Hashes what passes through.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        self.length = self
            .length
            .saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
