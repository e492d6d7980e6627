use serde::{Deserialize, Serialize};

use crate::{Build, Sha256Digest};

/// TUF `custom` of `<model>/deltas/<from>-<to>.payload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaCustom {
    /// The build whose bytes it reads.
    pub from: Build,
    /// The build it makes.
    pub to: Build,
    /// Bytes of header and manifest: 24 + manifest length.
    pub metadata_size: u64,
    /// SHA-256 of those bytes.
    pub metadata_sha256: Sha256Digest,
}
