//! Messages of `/api/v1`. Errors are RFC 9457 problem details.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Build, Channel, Entry, EntryId, Model, Outcome, RampPoint, RolloutDocument, RolloutState, Sequence,
    Sha256Digest, SignedMessage, Train,
};

/// RFC 9457 problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A short word for scripts, such as `sequence-not-growing`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was refused, in a sentence.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// `GET /api/v1/online-keys`: TUF key objects by the role that the server signs with each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnlineKeys {
    /// Keyed by `snapshot`, `timestamp`, `deltas`, `rollouts`.
    pub keys: BTreeMap<String, serde_json::Value>,
}

/// `POST /api/v1/publications`: signed offline metadata, all or nothing.
///
/// Keys are role names (`root`, `targets`, `builds.<model>`), values the exact text of the signed file. Every target
/// file that the metadata names must have been uploaded before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The signed files by role name.
    pub metadata: BTreeMap<String, String>,
}

/// What a publication did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The snapshot that shows it.
    pub snapshot_version: u64,
    /// Builds that are new.
    pub builds: Vec<BuildName>,
    /// Delta jobs that were queued.
    pub delta_jobs: Vec<DeltaJob>,
}

/// A build of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildName {
    /// The model.
    pub model: Model,
    /// The build.
    pub build: Build,
}

/// A delta to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaJob {
    /// The model.
    pub model: Model,
    /// The source build.
    pub from: Build,
    /// The build it makes.
    pub to: Build,
    /// Where the job stands.
    pub state: JobState,
    /// Bytes of the finished payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /api/v1/jobs`, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// The delta jobs.
    pub jobs: Vec<DeltaJob>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Its delta is published.
    Done,
    /// It failed for good; devices take the full payload.
    Failed,
}

/// `GET /api/v1/models/{model}/builds`, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builds {
    /// The builds.
    pub builds: Vec<BuildSummary>,
}

/// One build in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSummary {
    /// The build.
    pub build: Build,
    /// Its sequence.
    pub sequence: Sequence,
    /// Its train.
    pub train: Train,
    /// The channels its signers allow.
    pub channels: Vec<Channel>,
    /// When it was signed.
    pub released: Timestamp,
    /// SHA-256 of the manifest document.
    pub manifest_sha256: Sha256Digest,
    /// Bytes of the full payload.
    pub payload_size: u64,
    /// Its features.
    pub entries: Vec<Entry>,
    /// The deltas towards it.
    pub deltas: Vec<DeltaJob>,
}

/// `POST /api/v1/models/{model}/channels/{channel}/rollout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRollout {
    /// The build to offer.
    pub build: Build,
    /// From the first device to the last, in seconds; the channel's default when absent, all at once when 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_seconds: Option<u64>,
    /// How often devices ask, in seconds; 600 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polls_seconds: Option<u32>,
}

/// `POST …/rollout/pause`, `…/resume` and `…/halt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRollout {
    /// The build whose rollout is meant; needed when one is with devices and another waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Why, in words that devices show to their owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET …/rollout`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The model.
    pub model: Model,
    /// The channel.
    pub channel: Channel,
    /// The build on offer.
    pub build: Build,
    /// Where it stands, also before devices can see it.
    pub stage: RolloutStage,
    /// What it waits for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// The document that devices see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<RolloutDocument>,
    /// The next point of the ramp, if the evidence allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RampPoint>,
    /// Devices by their latest reported outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
}

/// A rollout's life, also the part that only the server sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutStage {
    /// Asked for; waits for its deltas.
    Approved,
    /// Devices see it in this state.
    #[serde(untagged)]
    Open(RolloutState),
}

/// `GET /api/v1/models/{model}/builds/{build}/feedback`, newest first, page by page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackList {
    /// The messages.
    pub feedback: Vec<PublishedFeedback>,
    /// The address of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A feedback as everyone sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFeedback {
    /// When the server received it.
    pub received: Timestamp,
    /// The device's words.
    pub text: String,
    /// The entry it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryId>,
    /// The first 8 hexadecimal digits of SHA-256 of the device key: the same device as before, no more.
    pub device: String,
}

/// `GET /api/v1/models/{model}/builds/{build}/ballots`, page by page: anyone can count again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballots {
    /// The latest ballot of each device key.
    pub ballots: Vec<SignedMessage>,
    /// The server's own count of all pages.
    pub tally: BTreeMap<EntryId, u64>,
    /// The address of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
