use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millet_payload::{Progress, Stage, Warning};
use millet_protocol::visible;
use serde::Serialize;

use crate::output;

/// Shows how much of something is done.
pub struct Meter {
    shows: Shows,
    label: String,
    total: u64,
    /// The last of `Shows::steps` that was told.
    reached: AtomicU64,
}

enum Shows {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere a line at each quarter.
    Lines,
    /// For scripts a line of JSON at each per cent; the hidden bar estimates the time that is left.
    Events(ProgressBar),
    Nothing,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    stage: &'a str,
    percent: u64,
    seconds_left: u64,
}

const BYTES: &str = "{prefix:>24} [{bar:30}] {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const EFFORT: &str = "{prefix:>24} [{bar:30}] {percent:>3}% {eta}";

impl Meter {
    /// Of `total` bytes.
    pub fn new(label: &str, total: u64) -> Self {
        Self::of(label, total, bar_or_lines(label, total, BYTES))
    }

    /// Of `total` units of work, which say nothing to people.
    pub fn of_effort(label: &str, total: u64) -> Self {
        Self::of(label, total, bar_or_lines(label, total, EFFORT))
    }

    /// Writes events to stdout.
    pub fn events(stage: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        Self::of(stage, total, Shows::Events(bar))
    }

    /// One that shows nothing, for what is done in a moment.
    pub fn hidden() -> Self {
        Self::of("", 0, Shows::Nothing)
    }

    fn of(label: &str, total: u64, shows: Shows) -> Self {
        Self {
            shows,
            label: label.to_owned(),
            total,
            reached: AtomicU64::new(0),
        }
    }

    /// `done` of them are done.
    pub fn set(&self, done: u64) {
        match &self.shows {
            Shows::Nothing => {}
            Shows::Bar(bar) => bar.set_position(done),
            Shows::Lines => {
                if let Some(quarter) = self.reach(done, 4) {
                    output::say(&format!("{}: {} %", self.label, quarter * 25));
                }
            }
            Shows::Events(bar) => {
                bar.set_position(done);
                if let Some(percent) = self.reach(done, 100) {
                    let event = Event {
                        event: "progress",
                        stage: &self.label,
                        percent,
                        seconds_left: bar.eta().as_secs(),
                    };
                    // Who stopped reading has heard enough; the payload is made all the same.
                    let _ = output::print_line(&event);
                }
            }
        }
    }

    /// Of `steps` in all, the one that `done` reaches for the first time.
    fn reach(&self, done: u64, steps: u64) -> Option<u64> {
        let step = done
            .saturating_mul(steps)
            .checked_div(self.total)
            .unwrap_or(steps);
        let step = step.min(steps);
        (self.reached.fetch_max(step, Ordering::Relaxed) < step).then_some(step)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Shows::Bar(bar) = &self.shows {
            bar.finish_and_clear();
        }
    }
}

fn bar_or_lines(label: &str, total: u64, template: &str) -> Shows {
    if !std::io::stderr().is_terminal() {
        return Shows::Lines;
    }
    let bar = ProgressBar::new(total).with_prefix(visible(label));
    Shows::Bar(match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    })
}

/// Follows the making of a payload: one meter for each stage, or events for scripts.
pub struct PayloadMeter {
    label: String,
    json: bool,
    current: Mutex<Option<(Stage, Meter)>>,
}

impl PayloadMeter {
    /// `label` says what is being made. With `json`, events go to stdout instead.
    pub fn new(label: &str, json: bool) -> Self {
        Self {
            label: label.to_owned(),
            json,
            current: Mutex::new(None),
        }
    }

    /// The meter of what comes after the making.
    pub fn verifying(&self, total: u64) -> Meter {
        match self.json {
            true => Meter::events("verifying", total),
            false => Meter::new(&format!("{} verifying", self.label), total),
        }
    }
}

impl Progress for PayloadMeter {
    fn advance(&self, stage: Stage, done: u64, total: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(&*current, Some((known, _)) if *known == stage) {
            *current = None;
            let meter = match self.json {
                true => Meter::events(&stage.to_string(), total),
                false => Meter::of_effort(&format!("{} {stage}", self.label), total),
            };
            *current = Some((stage, meter));
        }
        if let Some((_, meter)) = &mut *current {
            meter.set(done);
        }
    }

    fn warn(&self, warning: &Warning) {
        let mut text = format!("warning: {warning}");
        let mut cause = std::error::Error::source(warning);
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        output::say(&text);
    }
}
