use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Build, Channel, Model};

/// What a device says of an update. Every optional field is one that its owner may withhold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Document format, [`crate::FORMAT`].
    pub format: u32,
    /// The device type.
    pub model: Model,
    /// The channel it follows.
    pub channel: Channel,
    /// The build it tried or confirmed.
    pub to: Build,
    /// What happened.
    pub outcome: Outcome,
    /// HMAC-SHA-256(device secret, build) in hexadecimal: counts devices within a build, links none across builds.
    pub pseudonym: String,
    /// The build it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Build>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorCode>,
    /// Which kind of payload was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadKind>,
    /// Seconds of download and writing, rounded to two significant digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_seconds: Option<u64>,
}

/// What happened to a build on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// About to reboot into it; sent first, so that silence counts.
    Trying,
    /// It booted, passed its health checks and was marked good.
    Confirmed,
    /// It was started and not confirmed, and the device went back.
    RolledBack,
    /// It was never started.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Trying => "trying",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        })
    }
}

/// Why an update failed, coarse enough to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A health check failed or timed out.
    Unhealthy,
    /// The new slot never confirmed and the bootloader went back.
    NoBoot,
    /// The payload was refused before anything was written.
    PayloadRefused,
    /// A blob's or partition's hash did not match.
    HashMismatch,
    /// The slot could not be read or written.
    Storage,
    /// The network gave up.
    Network,
    /// Boot control could not be read or written.
    BootControl,
}

/// Full, or from the build that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// Makes the partitions from nothing.
    Full,
    /// Makes them from the running build's.
    Delta,
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Full => "full",
            Self::Delta => "delta",
        })
    }
}
