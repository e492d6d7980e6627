use jiff::SignedDuration;
use millet_protocol::Channel;

/// How fast a rollout is meant to go when nothing speaks against it.
///
/// The share of devices rises linearly from one step to the next, counted in time that the rollout really ran: a pause
/// does not use it up.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
}

/// After so much running time, this share is ready.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Running time since the rollout opened.
    pub after: SignedDuration,
    /// Percent of devices, above 0 and up to 100.
    pub percent: f64,
}

/// A slow start finds what breaks while it breaks for few: (twelfths of the whole time, percent).
const SHAPE: [(u64, f64); 5] = [(1, 2.0), (3, 10.0), (6, 35.0), (9, 70.0), (12, 100.0)];

const DAY: u64 = 24 * 60 * 60;

impl Plan {
    /// The longest time a rollout may be spread over, in seconds: a year, after which nobody would remember it.
    pub const LONGEST: u64 = 366 * DAY;

    /// Spread over `seconds` from the first device to the last; everyone at once when 0. Longer than
    /// [`Plan::LONGEST`] is taken as that.
    pub fn over(seconds: u64) -> Self {
        if seconds == 0 {
            let everyone = Step {
                after: SignedDuration::ZERO,
                percent: 100.0,
            };
            return Self {
                steps: vec![everyone],
            };
        }
        let milliseconds = seconds.min(Self::LONGEST) * 1000;
        let step = |(twelfths, percent): (u64, f64)| Step {
            after: SignedDuration::from_millis((milliseconds * twelfths / 12).cast_signed()),
            percent,
        };
        Self {
            steps: SHAPE.into_iter().map(step).collect(),
        }
    }

    /// The default of a channel: `beta` reaches everyone within 24 hours, any other channel within a week.
    pub fn for_channel(channel: &Channel) -> Self {
        Self::over(Self::default_seconds(channel))
    }

    /// Seconds from the first device to the last in [`Plan::for_channel`].
    pub fn default_seconds(channel: &Channel) -> u64 {
        if channel.as_str() == "beta" { DAY } else { 7 * DAY }
    }

    /// The steps, in order of time.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The first step that goes beyond a share, and the running time from that share to the step.
    pub(crate) fn leg_after(&self, percent: f64) -> Option<(SignedDuration, f64)> {
        let index = self.steps.iter().position(|step| step.percent > percent)?;
        let end = self.steps[index];
        let begin = match index.checked_sub(1).and_then(|before| self.steps.get(before)) {
            Some(before) => *before,
            None => Step {
                after: SignedDuration::ZERO,
                percent: 0.0,
            },
        };
        let done = ((percent - begin.percent) / (end.percent - begin.percent)).clamp(0.0, 1.0);
        let whole = end.after.saturating_sub(begin.after).as_millis();
        // Milliseconds: finer than any tick, and f64 holds a year of them exactly.
        let left = (whole as f64 * (1.0 - done)).round() as i64;
        Some((SignedDuration::from_millis(left), end.percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let last = |channel: &str| {
            Plan::for_channel(&channel.parse().unwrap())
                .steps()
                .last()
                .copied()
                .unwrap()
        };
        assert_eq!(last("beta").after, SignedDuration::from_hours(24));
        assert_eq!(last("stable").after, SignedDuration::from_hours(168));
        assert_eq!(last("stable").percent, 100.0);
    }

    #[test]
    fn a_leg_begun_in_the_middle_is_shorter() {
        let plan = Plan::over(1200);
        assert_eq!(plan.leg_after(0.0), Some((SignedDuration::from_secs(100), 2.0)));
        assert_eq!(plan.leg_after(1.0), Some((SignedDuration::from_secs(50), 2.0)));
        assert_eq!(plan.leg_after(2.0), Some((SignedDuration::from_secs(200), 10.0)));
        assert_eq!(plan.leg_after(100.0), None);
    }
}
