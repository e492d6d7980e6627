use jiff::Timestamp;
use millet_protocol::{Build, ErrorCode, Outcome, PayloadKind, Slot};
use serde::{Deserialize, Serialize};

use crate::{Identity, Progress, Source, Update};

/// What survives a restart: the state of the machine and what it has learnt. It is written before an effect runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Form of this file.
    pub format: u32,
    /// Where the machine stands.
    pub state: State,
    /// What slot a holds, if it was written or identified.
    #[serde(default)]
    pub slot_a: Option<Identity>,
    /// What slot b holds, if it was written or identified.
    #[serde(default)]
    pub slot_b: Option<Identity>,
    /// The build that failed here last.
    #[serde(default)]
    pub failed: Option<FailedBuild>,
    /// A build whose delta failed here: only its full payload is taken.
    #[serde(default)]
    pub full_only: Option<Build>,
    /// The build that was confirmed here last.
    #[serde(default)]
    pub confirmed: Option<Confirmed>,
    /// Reports not sent yet, oldest first.
    #[serde(default)]
    pub outbox: Vec<Draft>,
}

/// Where an update stands. Each state carries what its effect needs, so that a restart can repeat the effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum State {
    /// Nothing is under way.
    Idle,
    /// The running slot is not marked good yet: its health is checked.
    Settling,
    /// It is healthy: the good mark is being written.
    MarkingGood,
    /// The target is being marked unbootable.
    Preparing {
        /// The update.
        update: Update,
        /// Where writing goes on afterwards.
        progress: Progress,
    },
    /// The payload is downloaded and written to the target.
    Writing {
        /// The update.
        update: Update,
        /// What is durable.
        progress: Progress,
    },
    /// The target is read back and hashed.
    Verifying {
        /// The update.
        update: Update,
    },
    /// Verified in this boot; the rollout is looked at again.
    Verified {
        /// The update.
        update: Update,
    },
    /// The target is being made active.
    Switching {
        /// The update.
        update: Update,
    },
    /// The target boots next; the rollout is looked at again.
    Staged {
        /// The update.
        update: Update,
    },
    /// A reboot was asked for.
    Rebooting {
        /// The update.
        update: Update,
    },
    /// The target runs; its health is checked.
    OnTrial {
        /// The update.
        update: Update,
    },
    /// It is healthy: the good mark is being written.
    Confirming {
        /// The update.
        update: Update,
    },
    /// The build is bad or withdrawn: the old slot is being made active again, from the target.
    Reverting {
        /// The update.
        update: Update,
        /// Why; none when the rollout was halted.
        error: Option<ErrorCode>,
    },
    /// The old slot boots next; a reboot was asked for.
    Reverted {
        /// The update.
        update: Update,
        /// Why.
        error: Option<ErrorCode>,
    },
    /// The running slot is being made active again and the target unbootable.
    Unstaging {
        /// The update that is given up.
        update: Update,
        /// What is done next instead.
        next: Option<Box<Update>>,
    },
}

impl State {
    /// The update under way, if one is.
    pub fn update(&self) -> Option<&Update> {
        match self {
            Self::Idle | Self::Settling | Self::MarkingGood => None,
            Self::Preparing { update, .. }
            | Self::Writing { update, .. }
            | Self::Verifying { update }
            | Self::Verified { update }
            | Self::Switching { update }
            | Self::Staged { update }
            | Self::Rebooting { update }
            | Self::OnTrial { update }
            | Self::Confirming { update }
            | Self::Reverting { update, .. }
            | Self::Reverted { update, .. }
            | Self::Unstaging { update, .. } => Some(update),
        }
    }
}

/// A slot whose build was seen to be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// The slot.
    pub slot: Slot,
    /// When.
    pub at: Timestamp,
}

/// A build that is not tried again until another is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBuild {
    /// The build.
    pub build: Build,
    /// What went wrong; none when the owner went back from it.
    #[serde(default)]
    pub error: Option<ErrorCode>,
}

/// A report as the machine knows it; the owner's choice decides which of it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// What happened.
    pub outcome: Outcome,
    /// The build it happened to.
    pub to: Build,
    /// The build it came from.
    #[serde(default)]
    pub from: Option<Build>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<ErrorCode>,
    /// Full or delta.
    #[serde(default)]
    pub payload: Option<PayloadKind>,
    /// Seconds of download and writing, exact.
    #[serde(default)]
    pub install_seconds: Option<u64>,
}

impl Journal {
    /// The form that this version reads and writes.
    pub const FORMAT: u32 = 1;

    /// More reports than this are not kept: the oldest go first.
    pub const LONGEST_OUTBOX: usize = 16;

    /// The journal of a device that knows nothing.
    pub fn new() -> Self {
        Self {
            format: Self::FORMAT,
            state: State::Idle,
            slot_a: None,
            slot_b: None,
            failed: None,
            full_only: None,
            confirmed: None,
            outbox: Vec::new(),
        }
    }

    /// What a slot holds, if known.
    pub fn slot(&self, slot: Slot) -> Option<&Identity> {
        match slot {
            Slot::A => self.slot_a.as_ref(),
            Slot::B => self.slot_b.as_ref(),
        }
    }

    /// Records what a slot holds.
    pub fn set_slot(&mut self, slot: Slot, identity: Option<Identity>) {
        match slot {
            Slot::A => self.slot_a = identity,
            Slot::B => self.slot_b = identity,
        }
    }

    /// When the build in a slot was confirmed here, if it was.
    pub fn confirmed_at(&self, slot: Slot) -> Option<Timestamp> {
        self.confirmed
            .filter(|confirmed| confirmed.slot == slot)
            .map(|confirmed| confirmed.at)
    }

    pub(crate) fn draft(&mut self, outcome: Outcome, update: &Update, error: Option<ErrorCode>) {
        // An owner who goes back does not report on a build.
        if update.source == Source::OtherSlot {
            return;
        }
        self.outbox.push(Draft {
            outcome,
            to: update.identity.build.clone(),
            from: update.from.clone(),
            error,
            payload: update.payload_kind(),
            install_seconds: update.install_seconds,
        });
        let surplus = self.outbox.len().saturating_sub(Self::LONGEST_OUTBOX);
        self.outbox.drain(..surplus);
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}
