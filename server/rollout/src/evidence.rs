/// Devices by the latest thing they said of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Said that they reboot into it, and nothing since.
    pub trying: u64,
    /// Run it and found it good.
    pub confirmed: u64,
    /// Booted it, found it bad and went back.
    pub rolled_back: u64,
    /// Never reached a boot of it.
    pub failed: u64,
}

impl Evidence {
    /// Devices that said anything.
    pub fn devices(&self) -> u64 {
        self.trying
            .saturating_add(self.confirmed)
            .saturating_add(self.rolled_back)
            .saturating_add(self.failed)
    }

    /// Devices that booted the build and said how it went.
    pub fn booted(&self) -> u64 {
        self.confirmed.saturating_add(self.rolled_back)
    }
}

/// How much bad news a rollout bears.
///
/// Reports are voluntary, so no news at all lets a rollout go on at its planned pace: otherwise a fleet whose owners
/// share nothing would never be updated. But a device that said "trying" and then nothing is news, and holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// Above this share of the devices that booted it, going back holds the rollout. In (0, 1).
    pub hold_rolled_back: f64,
    /// Above this share of the devices that booted it, going back halts the rollout. In (0, 1).
    pub halt_rolled_back: f64,
    /// A halt needs at least so many devices: one broken phone is not a broken build.
    pub halt_at_least: u64,
    /// Above this share of the devices that said anything, failing before the boot holds the rollout. In (0, 1).
    pub hold_failed: f64,
    /// Above this share of the devices that said anything, silence after "trying" holds the rollout. In (0, 1).
    pub hold_silent: f64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            hold_rolled_back: 0.02,
            halt_rolled_back: 0.10,
            halt_at_least: 3,
            hold_failed: 0.20,
            hold_silent: 0.20,
        }
    }
}

/// Whether `part` is more than `share` of `whole`. Nothing of nothing is not more.
pub(crate) fn exceeds(part: u64, whole: u64, share: f64) -> bool {
    part as f64 > whole as f64 * share
}
