use jiff::Timestamp;
use millet_protocol::{
    Build, BuildManifest, PartitionEntry, PayloadKind, PayloadRef, Sequence, Sha256Digest, Slot,
};
use serde::{Deserialize, Serialize};

/// What a slot holds, taken from a signed manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The build.
    pub build: Build,
    /// Its rank.
    pub sequence: Sequence,
    /// The format of the user's data that it writes.
    pub data_epoch: u32,
    /// What its confirmation shuts out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Sequence>,
    /// When it was signed.
    pub released: Timestamp,
    /// SHA-256 of the manifest document.
    pub manifest: Sha256Digest,
    /// Every partition that the slot must hold.
    pub partitions: Vec<PartitionEntry>,
    /// The payload that makes it from nothing.
    pub payload: PayloadRef,
}

impl Identity {
    /// The identity that a manifest gives, with the SHA-256 of its document.
    pub fn new(manifest: &BuildManifest, sha256: Sha256Digest) -> Self {
        Self {
            build: manifest.build.clone(),
            sequence: manifest.sequence,
            data_epoch: manifest.data_epoch,
            floor: manifest.floor,
            released: manifest.released,
            manifest: sha256,
            partitions: manifest.partitions.clone(),
            payload: manifest.payload.clone(),
        }
    }

    /// The full payload.
    pub fn full(&self) -> Payload {
        Payload {
            kind: PayloadKind::Full,
            path: self.payload.path.clone(),
            metadata_size: self.payload.metadata_size,
            metadata_sha256: self.payload.metadata_sha256,
        }
    }
}

/// A payload as signed metadata names it. Checkpoints belong to its `metadata_sha256`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Full, or from the build that runs.
    pub kind: PayloadKind,
    /// TUF target path.
    pub path: String,
    /// Bytes of its head.
    pub metadata_size: u64,
    /// SHA-256 of its head.
    pub metadata_sha256: Sha256Digest,
}

/// Where the other slot's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// It is downloaded and written.
    Payload(Payload),
    /// It is there already: the owner goes back to the build that ran before.
    OtherSlot,
}

/// What policy decided to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the other slot shall hold.
    pub identity: Identity,
    /// Where it comes from.
    pub source: Source,
    /// When it was decided.
    pub at: Timestamp,
}

/// How far a payload has been written durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The next operation, counted over all partitions.
    pub operation: u64,
    /// Bytes of blobs consumed.
    pub blob_offset: u64,
}

/// An update under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// What the target slot shall hold.
    pub identity: Identity,
    /// The slot that is written and tried: always the one that did not run when the update began.
    pub target: Slot,
    /// Where its content comes from.
    pub source: Source,
    /// The build that ran when it began, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Build>,
    /// When it began.
    pub began: Timestamp,
    /// Seconds from the beginning until everything was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_seconds: Option<u64>,
    /// Whether the target may be active: it was verified once, and a reboot would try it.
    #[serde(default)]
    pub activated: bool,
    /// How often the full payload was tried.
    #[serde(default)]
    pub full_attempts: u32,
    /// How often a reboot was asked for.
    #[serde(default)]
    pub reboots: u32,
}

impl Update {
    /// Full or delta; none when nothing is written.
    pub fn payload_kind(&self) -> Option<PayloadKind> {
        match &self.source {
            Source::Payload(payload) => Some(payload.kind),
            Source::OtherSlot => None,
        }
    }
}
