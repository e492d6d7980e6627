use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Build, Channel, FORMAT, Model, Sequence, Sha256Digest};

/// `<model>/rollouts/<channel>.json`: one build offered to one channel, and how far the offer has gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutDocument {
    /// Document format, [`FORMAT`].
    pub format: u32,
    /// The device type.
    pub model: Model,
    /// The channel.
    pub channel: Channel,
    /// The build on offer.
    pub build: Build,
    /// Its sequence, which must equal its manifest's.
    pub sequence: Sequence,
    /// Whether devices may start.
    pub state: RolloutState,
    /// Why it is paused or halted, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Points already cleared, in order of time. Between two the share rises linearly, after the last it stays.
    pub ramp: Vec<RampPoint>,
    /// The few who come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Pilot>,
    /// Builds that devices too far behind go through, lowest first.
    #[serde(default)]
    pub stones: Vec<Build>,
    /// How often a device asks, in seconds.
    pub polls_seconds: u32,
}

/// Whether devices may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutState {
    /// Devices whose position is ready may start.
    Running,
    /// Nothing new starts, what runs finishes.
    Paused,
    /// Downloads stop, staged slots are unstaged.
    Halted,
    /// Every device may start and nobody watches any more.
    Complete,
}

impl fmt::Display for RolloutState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Complete => "complete",
        })
    }
}

/// At a moment, this share of devices is ready.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RampPoint {
    /// The moment.
    pub at: Timestamp,
    /// Percent of devices, 0 to 100.
    pub percent: f64,
}

/// Devices that hold one of these seats are ready until a moment, whatever the ramp says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pilot {
    /// The last moment of the pilot.
    pub until: Timestamp,
    /// Hexadecimal salt of the seats.
    pub salt: String,
    /// SHA-256(salt ‖ seat) of each seat.
    pub seats: Vec<Sha256Digest>,
}

/// A rollout document that contradicts itself.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RolloutError {
    /// A newer document format.
    #[error("rollout format {0} is not {FORMAT}: this Millet is too old for it")]
    Format(u32),
    /// A share outside its range.
    #[error("the ramp names {0} percent")]
    Percent(f64),
    /// A ramp goes forward in time and never down.
    #[error("the ramp's point {0} goes back in time or down")]
    Order(usize),
    /// A device that asks every second would be a load test.
    #[error("polls_seconds is {0}, which is outside 1 to 604800")]
    Polls(u32),
}

impl RolloutDocument {
    /// Checks the rules that tie the fields together.
    pub fn validate(&self) -> Result<(), RolloutError> {
        if self.format != FORMAT {
            return Err(RolloutError::Format(self.format));
        }
        if !(1..=604_800).contains(&self.polls_seconds) {
            return Err(RolloutError::Polls(self.polls_seconds));
        }
        for point in &self.ramp {
            if !(0.0..=100.0).contains(&point.percent) {
                return Err(RolloutError::Percent(point.percent));
            }
        }
        let falls = |pair: &[RampPoint]| pair[1].at < pair[0].at || pair[1].percent < pair[0].percent;
        match self.ramp.windows(2).position(falls) {
            Some(index) => Err(RolloutError::Order(index + 1)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(ramp: &[(&str, f64)]) -> RolloutDocument {
        RolloutDocument {
            format: FORMAT,
            model: "rubik".parse().unwrap(),
            channel: "beta".parse().unwrap(),
            build: "V6.11.20".parse().unwrap(),
            sequence: Sequence(202_647_001),
            state: RolloutState::Running,
            reason: None,
            ramp: ramp
                .iter()
                .map(|(at, percent)| RampPoint {
                    at: at.parse().unwrap(),
                    percent: *percent,
                })
                .collect(),
            pilot: None,
            stones: Vec::new(),
            polls_seconds: 600,
        }
    }

    #[test]
    fn a_ramp_never_falls() {
        let (one, two) = ("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z");
        assert_eq!(rollout(&[(one, 1.0), (two, 100.0)]).validate(), Ok(()));
        assert_eq!(
            rollout(&[(one, 5.0), (two, 1.0)]).validate(),
            Err(RolloutError::Order(1))
        );
        assert_eq!(
            rollout(&[(two, 1.0), (one, 5.0)]).validate(),
            Err(RolloutError::Order(1))
        );
        assert_eq!(
            rollout(&[(one, 101.0)]).validate(),
            Err(RolloutError::Percent(101.0))
        );
    }
}
