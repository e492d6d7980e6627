use std::fmt;

use jiff::Timestamp;
use millet_protocol::{Build, Channel, Sequence};

use crate::FailedBuild;
use crate::wave::Turn;

/// A no.
#[derive(Debug, Clone, PartialEq)]
pub struct No {
    /// Why.
    pub reason: Reason,
    /// When it may turn into a yes by itself, if that is known.
    pub until: Option<Timestamp>,
}

/// Why a build is not taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The channel has no rollout.
    NothingOffered,
    /// The device runs it.
    UpToDate(Build),
    /// The device runs a later one.
    Older {
        /// On offer.
        offered: Sequence,
        /// Running.
        running: Sequence,
    },
    /// The documents contradict each other.
    Contradiction(String),
    /// The signers do not allow it on this channel.
    ChannelNotAllowed {
        /// The build.
        build: Build,
        /// The device's channel.
        channel: Channel,
    },
    /// Below what was confirmed here.
    BelowFloor {
        /// The build's sequence.
        offered: Sequence,
        /// The device's floor.
        floor: Sequence,
    },
    /// It cannot read the user's data.
    DataEpoch {
        /// The build's.
        offered: u32,
        /// The device's.
        device: u32,
    },
    /// The device is too old for it and no stepping stone is offered.
    Requires {
        /// The build.
        build: Build,
        /// What the device must run first.
        min_sequence: Sequence,
    },
    /// It failed here.
    Failed(FailedBuild),
    /// The running slot is not marked good.
    RunningNotGood,
    /// It is not this device's turn.
    NotYet {
        /// The build.
        build: Build,
        /// The device's turn.
        turn: Turn,
    },
    /// Nothing new starts.
    Paused {
        /// The build.
        build: Build,
        /// The words of those who paused it.
        reason: Option<String>,
    },
    /// The rollout was stopped.
    Halted {
        /// The build.
        build: Build,
        /// The words of those who halted it.
        reason: Option<String>,
    },
    /// Another build is offered now.
    Superseded {
        /// The build under way.
        build: Build,
        /// The build on offer.
        by: Build,
    },
    /// The last look is too old.
    Stale {
        /// When it was.
        looked_at: Timestamp,
    },
}

impl Reason {
    /// Whether a build waits for the device although it may not start now.
    pub fn is_available(&self) -> bool {
        matches!(
            self,
            Self::NotYet { .. } | Self::Paused { .. } | Self::Stale { .. } | Self::RunningNotGood
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |reason: &Option<String>| {
            reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"))
        };
        match self {
            Self::NothingOffered => out.write_str("nothing is offered on this device's channel"),
            Self::UpToDate(build) => write!(out, "this device runs {build}, the build on offer"),
            Self::Older { offered, running } => {
                write!(
                    out,
                    "the build on offer ({offered}) is older than the running one ({running})"
                )
            }
            Self::Contradiction(what) => write!(out, "the repository contradicts itself: {what}"),
            Self::ChannelNotAllowed { build, channel } => {
                write!(out, "the signers of {build} do not allow it on {channel}")
            }
            Self::BelowFloor { offered, floor } => {
                write!(out, "sequence {offered} is below this device's floor {floor}")
            }
            Self::DataEpoch { offered, device } => write!(
                out,
                "it writes data epoch {offered}; this device's data is of epoch {device}, which it cannot read"
            ),
            Self::Requires { build, min_sequence } => write!(
                out,
                "{build} needs sequence {min_sequence} first, and no stepping stone is offered"
            ),
            Self::Failed(FailedBuild {
                build,
                error: Some(_),
            }) => {
                write!(out, "{build} failed on this device; it waits for another build")
            }
            Self::Failed(FailedBuild { build, error: None }) => {
                write!(
                    out,
                    "you went back from {build}; this device waits for another build"
                )
            }
            Self::RunningNotGood => {
                out.write_str("the running slot has not passed its health checks, so nothing is written")
            }
            Self::NotYet { build, .. } => write!(out, "it is not this device's turn for {build}"),
            Self::Paused { build, reason } => {
                write!(out, "the rollout of {build} is paused{}", because(reason))
            }
            Self::Halted { build, reason } => {
                write!(out, "the rollout of {build} was halted{}", because(reason))
            }
            Self::Superseded { build, by } => write!(out, "{build} is superseded by {by}"),
            Self::Stale { looked_at } => {
                write!(
                    out,
                    "the repository last answered at {looked_at}, more than two hours ago"
                )
            }
        }
    }
}
