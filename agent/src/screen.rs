//! What a person sees while an agent works: progress bars on a terminal, plain lines elsewhere. All of it on stderr.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use millet_protocol::visible;

use crate::output::say;
use crate::state::Phase;

/// Hears what goes on. Calls come from several threads.
pub trait Screen: Send + Sync {
    /// A phase begins; `subject` says of what.
    fn begin(&self, phase: Phase, subject: &str);
    /// So many bytes of so many.
    fn advance(&self, done: u64, total: u64);
    /// Something that a person should know.
    fn say(&self, line: &str);
}

/// For tests and for answers that are read by programs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Screen for Silent {
    fn begin(&self, _phase: Phase, _subject: &str) {}
    fn advance(&self, _done: u64, _total: u64) {}
    fn say(&self, _line: &str) {}
}

/// A line for each phase.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

impl Screen for Lines {
    fn begin(&self, phase: Phase, subject: &str) {
        if phase != Phase::Idle {
            say(&format!("{}: {subject}", phase.name()));
        }
    }

    fn advance(&self, _done: u64, _total: u64) {}

    fn say(&self, line: &str) {
        say(line);
    }
}

/// A bar for each phase that counts bytes.
#[derive(Debug, Default)]
pub struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Screen for Bars {
    fn begin(&self, phase: Phase, subject: &str) {
        let Ok(mut current) = self.bar.lock() else { return };
        if let Some(bar) = current.take() {
            bar.finish();
        }
        if phase == Phase::Idle {
            return;
        }
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{prefix:>12} {msg} {wide_bar} {bytes}/{total_bytes} {eta}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(phase.name());
        bar.set_message(visible(subject));
        *current = Some(bar);
    }

    fn advance(&self, done: u64, total: u64) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = &*bar
        {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    fn say(&self, line: &str) {
        match self.bar.lock().ok().as_deref() {
            Some(Some(bar)) => bar.suspend(|| say(line)),
            _ => say(line),
        }
    }
}
