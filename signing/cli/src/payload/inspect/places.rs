use anyhow::Context;
use millet_payload::{Action, PatchBytes};
use serde::Serialize;

use crate::payload::Opened;

/// The bytes of one partition's part of a payload, by what they are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Places {
    /// Types, extents and hashes of its operations.
    pub head: u64,
    /// Of patches: which old bytes go where.
    pub control: u64,
    /// Of patches: how they differ.
    pub diff: u64,
    /// Of patches: bytes that come from no old ones.
    pub extra: u64,
    /// Compressed blocks that nothing old helps with.
    pub replacements: u64,
}

/// Counts them for every partition, in order, reading no more than the header of each patch.
pub fn of(opened: &Opened) -> anyhow::Result<Vec<Places>> {
    let blobs = opened.head.blobs_offset();
    let mut places = Vec::new();
    for partition in opened.head.partitions() {
        let mut place = Places {
            head: partition.head_bytes(),
            ..Places::default()
        };
        for operation in &partition.operations {
            let Some(blob) = operation.blob() else { continue };
            if !matches!(operation.action, Action::Patch { .. }) {
                place.replacements = place.replacements.saturating_add(blob.length);
                continue;
            }
            let mut header = vec![0; usize::try_from(blob.length.min(32))?];
            opened
                .bytes
                .read_exact_at(&mut header, blobs.saturating_add(blob.offset))
                .context("cannot read the payload")?;
            // What is no bsdiff patch counts as differing bytes.
            let bytes = PatchBytes::of_header(&header, blob.length).unwrap_or(PatchBytes {
                diff: blob.length,
                ..PatchBytes::default()
            });
            place.control = place.control.saturating_add(bytes.control);
            place.diff = place.diff.saturating_add(bytes.diff);
            place.extra = place.extra.saturating_add(bytes.extra);
        }
        places.push(place);
    }
    Ok(places)
}
