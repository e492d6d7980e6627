//! The types that cross Millet's wire: names, documents and API messages.
//!
//! Everything here is data with its rules of form. What a document means is decided elsewhere: trust in
//! `millet-signing`, rollouts in `millet-rollout`, updates in `millet-machine`.

pub mod api;
mod delta;
mod digest;
mod feedback;
mod manifest;
mod names;
mod report;
mod rollout;
pub mod targets;
mod train;
mod visible;

pub use delta::DeltaCustom;
pub use digest::Sha256Digest;
pub use feedback::{Feedback, MessageKind, SignedMessage, Vote};
pub use manifest::{BLOCK_SIZE, BuildManifest, Entry, ManifestError, PartitionEntry, PayloadRef, Requires};
pub use names::{Build, Channel, EntryId, Model, NameError, PartitionName, Slot};
pub use report::{ErrorCode, Outcome, PayloadKind, Report};
pub use rollout::{Pilot, RampPoint, RolloutDocument, RolloutError, RolloutState};
pub use train::{Sequence, Train, TrainError};
pub use visible::{visible, visible_json};

/// The document format that this version writes and reads.
pub const FORMAT: u32 = 1;
