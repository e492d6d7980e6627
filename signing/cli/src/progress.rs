use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use millet_payload::{Progress, Stage};

use crate::output;

/// Shows how many of a number of bytes are done: a bar on a terminal, otherwise a line at each quarter.
pub struct Meter {
    bar: Option<ProgressBar>,
    label: String,
    total: u64,
    quarters: AtomicU64,
}

impl Meter {
    pub fn new(label: &str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{prefix:>24} [{bar:30}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            );
            let bar = ProgressBar::new(total).with_prefix(label.to_owned());
            match style {
                Ok(style) => bar.with_style(style.progress_chars("=> ")),
                Err(_) => bar,
            }
        });
        Self {
            bar,
            label: label.to_owned(),
            total,
            quarters: AtomicU64::new(0),
        }
    }

    /// One that shows nothing, for what is done in a moment.
    pub fn hidden() -> Self {
        Self {
            bar: Some(ProgressBar::hidden()),
            label: String::new(),
            total: 0,
            quarters: AtomicU64::new(0),
        }
    }

    /// `done` bytes are done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let quarters = done.saturating_mul(4).checked_div(self.total).unwrap_or(4).min(4);
        if self.quarters.fetch_max(quarters, Ordering::Relaxed) < quarters {
            output::say(&format!("{}: {} %", self.label, quarters * 25));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Follows the making of a payload, one meter for each stage of each partition.
pub struct PayloadMeter {
    label: String,
    current: Mutex<Option<(Stage, u64, Meter)>>,
}

impl PayloadMeter {
    /// `label` says what is being made.
    pub fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            current: Mutex::new(None),
        }
    }
}

impl Progress for PayloadMeter {
    fn advance(&self, stage: Stage, done: u64, total: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // The next partition begins the stages anew.
        if !matches!(&*current, Some((known, before, _)) if *known == stage && *before <= done) {
            *current = None;
            *current = Some((stage, done, Meter::new(&format!("{} {stage}", self.label), total)));
        }
        if let Some((_, before, meter)) = &mut *current {
            *before = done;
            meter.set(done);
        }
    }
}
