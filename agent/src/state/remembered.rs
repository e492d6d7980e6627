use jiff::Timestamp;
use millet_machine::Identity;
use millet_machine::policy::Floors;
use millet_protocol::Sequence;
use serde::{Deserialize, Serialize};

/// What an agent is doing, for people and tests that watch the `phase` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing.
    Idle,
    /// Asking the repository.
    Checking,
    /// Fetching a payload; nothing of it is written yet.
    Downloading,
    /// Writing the other slot.
    Writing,
    /// Reading it back.
    Verifying,
    /// Changing boot control.
    Switching,
    /// Rebooting.
    Rebooting,
    /// Checking the health of what runs.
    OnTrial,
}

impl Phase {
    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Checking => "checking",
            Self::Downloading => "downloading",
            Self::Writing => "writing",
            Self::Verifying => "verifying",
            Self::Switching => "switching",
            Self::Rebooting => "rebooting",
            Self::OnTrial => "on-trial",
        }
    }
}

/// What a device never goes below, kept apart from the metadata, so that losing one does not lose the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The highest floor confirmed here.
    #[serde(default)]
    pub sequence: Option<Sequence>,
    /// The highest data epoch confirmed here.
    #[serde(default)]
    pub data_epoch: Option<u32>,
    /// The newest instant that is certainly past.
    #[serde(default)]
    pub time: Option<Timestamp>,
}

impl Kept {
    /// For policy.
    pub fn floors(&self) -> Floors {
        Floors {
            sequence: self.sequence,
            data_epoch: self.data_epoch,
        }
    }

    /// Raised by what runs and is good.
    #[must_use]
    pub fn raised_by(self, identity: &Identity) -> Self {
        Self {
            sequence: self.sequence.max(identity.floor),
            data_epoch: self.data_epoch.max(Some(identity.data_epoch)),
            time: self.time.max(Some(identity.released)),
        }
    }

    /// Raised by the signing moment of a verified timestamp.
    #[must_use]
    pub fn raised_to(self, time: Option<Timestamp>) -> Self {
        Self {
            time: self.time.max(time),
            ..self
        }
    }
}

/// What the last look at the repository brought.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LastLook {
    /// When the repository answered and its metadata verified, by the device's clock.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// The entity tag of its timestamp.
    #[serde(default)]
    pub etag: Option<String>,
}
