use std::fmt;

use jiff::{SignedDuration, Timestamp};
use millet_protocol::RampPoint;

use crate::evidence::exceeds;
use crate::{Evidence, Guard, Plan};

/// What to do with a running rollout now.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Append these points to the ramp: a further share is cleared.
    Widen(Vec<RampPoint>),
    /// Change nothing.
    Hold(Hold),
    /// Take the build back from every device that has not confirmed it.
    Halt(HaltReason),
    /// Everyone could start for [`SETTLED`], and nothing spoke against it: nobody watches any more.
    Complete,
}

/// How long a rollout is watched after every device may start.
pub const SETTLED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why a ramp stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// What was cleared is still being used up.
    Climbing {
        /// When the ramp reaches its last point.
        until: Timestamp,
    },
    /// Every device may start already.
    Everyone,
    /// Too many devices booted the build and went back.
    WentBack {
        /// Devices that went back.
        devices: u64,
        /// Devices that booted it and said how it went.
        of: u64,
    },
    /// Too many devices said that they reboot, and nothing since.
    Silent {
        /// Silent devices.
        devices: u64,
        /// Devices that said anything.
        of: u64,
    },
    /// Too many devices failed before a boot.
    Failing {
        /// Devices that failed.
        devices: u64,
        /// Devices that said anything.
        of: u64,
    },
}

/// Why a rollout ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltReason {
    /// Devices booted the build and went back.
    WentBack {
        /// Devices that went back.
        devices: u64,
        /// Devices that booted it and said how it went.
        of: u64,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Climbing { until } => write!(out, "the share already cleared is reached at {until}"),
            Self::Everyone => out.write_str("every device may start"),
            Self::WentBack { devices, of } => {
                write!(out, "{devices} of {of} devices booted it and went back")
            }
            Self::Silent { devices, of } => {
                write!(
                    out,
                    "{devices} of {of} devices went to reboot and have not answered"
                )
            }
            Self::Failing { devices, of } => {
                write!(out, "{devices} of {of} devices could not install it")
            }
        }
    }
}

impl fmt::Display for HaltReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::WentBack { devices, of } = self;
        write!(out, "{devices} of {of} devices booted it and went back")
    }
}

/// The percent of devices that a ramp has made ready at a moment: linear between two points, flat after the last.
pub fn share_at(ramp: &[RampPoint], moment: Timestamp) -> f64 {
    let reached = ramp.partition_point(|point| point.at <= moment);
    let Some(last) = reached.checked_sub(1).and_then(|index| ramp.get(index)) else {
        return 0.0;
    };
    let Some(following) = ramp.get(reached) else {
        return last.percent;
    };
    let whole = following.at.duration_since(last.at).as_secs_f64();
    let gone = moment.duration_since(last.at).as_secs_f64();
    last.percent + (following.percent - last.percent) * (gone / whole)
}

/// The first points of a rollout that opens now. Its first share is cleared without evidence, since there can be none.
pub fn open(plan: &Plan, now: Timestamp) -> Vec<RampPoint> {
    let begin = RampPoint {
        at: now,
        percent: 0.0,
    };
    match leg(plan, begin) {
        Some(end) if end.at > now => vec![begin, end],
        Some(end) => vec![end],
        None => vec![begin],
    }
}

/// What to do with a running rollout whose ramp was begun by [`open`].
///
/// Bad news is looked at first, also when the ramp is still climbing or everyone may start, because a halt helps the
/// devices that have not begun. The next share is cleared only when the last one has been reached; time in which the
/// server was away or held becomes flat in the ramp, so that missed positions do not fire at once.
pub fn next(plan: &Plan, guard: &Guard, ramp: &[RampPoint], evidence: &Evidence, now: Timestamp) -> Decision {
    let (back, booted, heard) = (evidence.rolled_back, evidence.booted(), evidence.devices());
    if back >= guard.halt_at_least && exceeds(back, booted, guard.halt_rolled_back) {
        return Decision::Halt(HaltReason::WentBack {
            devices: back,
            of: booted,
        });
    }
    let Some(last) = ramp.last() else {
        return Decision::Widen(open(plan, now));
    };
    if last.percent >= 100.0 && last.at <= now {
        if now.duration_since(last.at) >= SETTLED {
            return Decision::Complete;
        }
        return Decision::Hold(Hold::Everyone);
    }
    if last.at > now {
        return Decision::Hold(Hold::Climbing { until: last.at });
    }
    if exceeds(back, booted, guard.hold_rolled_back) {
        return Decision::Hold(Hold::WentBack {
            devices: back,
            of: booted,
        });
    }
    if exceeds(evidence.failed, heard, guard.hold_failed) {
        return Decision::Hold(Hold::Failing {
            devices: evidence.failed,
            of: heard,
        });
    }
    if exceeds(evidence.trying, heard, guard.hold_silent) {
        return Decision::Hold(Hold::Silent {
            devices: evidence.trying,
            of: heard,
        });
    }
    let here = RampPoint {
        at: now,
        percent: last.percent,
    };
    match leg(plan, here) {
        Some(end) if last.at == now => Decision::Widen(vec![end]),
        Some(end) => Decision::Widen(vec![here, end]),
        None => Decision::Hold(Hold::Everyone),
    }
}

/// The rest of the ramp, if nothing ever speaks against it.
pub fn forecast(plan: &Plan, ramp: &[RampPoint], now: Timestamp) -> Vec<RampPoint> {
    let from = ramp.last().map(|last| RampPoint {
        at: last.at.max(now),
        ..*last
    });
    std::iter::successors(from, |point| leg(plan, *point))
        .skip(1)
        .collect()
}

/// The ramp of a rollout that is paused or halted now: it stays where it stands, and what was cleared but not reached
/// is taken back. [`next`] goes on from there.
pub fn freeze(ramp: &[RampPoint], now: Timestamp) -> Vec<RampPoint> {
    let mut kept: Vec<RampPoint> = ramp.iter().copied().filter(|point| point.at <= now).collect();
    // The flat part matters only where the ramp was rising; after its last point it is flat by definition.
    if kept.len() < ramp.len() && kept.last().is_some_and(|last| last.at < now) {
        kept.push(RampPoint {
            at: now,
            percent: share_at(ramp, now),
        });
    }
    kept
}

fn leg(plan: &Plan, from: RampPoint) -> Option<RampPoint> {
    let (time, percent) = plan.leg_after(from.percent)?;
    let at = from.at.checked_add(time).ok()?;
    Some(RampPoint { at, percent })
}

#[cfg(test)]
mod tests;
