//! One file for each subcommand. Answers go to stdout, talk to stderr.

pub mod check;
pub mod feedback;
pub mod install;
pub mod privacy;
pub mod rollback;
pub mod run;
mod send;
pub mod status;
mod under_way;
pub mod vote;
pub mod why;

use std::io::IsTerminal;
use std::sync::Arc;

use millet_agent::output::print;
use millet_agent::screen::{Bars, Lines, Screen};
use millet_agent::{Device, Pass};
use millet_machine::policy::{No, Reason};
use millet_machine::wave::moment;

/// How a command ends, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// An update is available.
    Available,
    /// A reboot is needed, or was asked for.
    Reboot,
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Available => 10,
            Self::Reboot => 11,
        }
    }
}

fn screen() -> Arc<dyn Screen> {
    if std::io::stderr().is_terminal() {
        Arc::new(Bars::default())
    } else {
        Arc::new(Lines)
    }
}

/// Says how a pass ended.
fn report(device: &Device, pass: &Pass) -> Exit {
    let (words, exit) = match pass {
        Pass::Settled(no) => (sentence(device, no), Exit::Done),
        Pass::Waiting(no) => (sentence(device, no), Exit::Available),
        Pass::Failed(failed) => (
            format!(
                "{} failed on this device; it waits for another build",
                failed.build
            ),
            Exit::Failed,
        ),
        Pass::Rebooting => ("the device reboots".to_owned(), Exit::Reboot),
    };
    // What was done is done, also when a full disk takes no more words: the exit code says it too.
    let _ = print(&words);
    exit
}

/// A no in words, with the turn where it is only a matter of time.
fn sentence(device: &Device, no: &No) -> String {
    let zone = device.edge.zone();
    match (&no.reason, no.until) {
        (Reason::NotYet { build, turn }, _) => turn.sentence(build, &zone).to_string(),
        (Reason::Stale { looked_at }, _) => {
            format!(
                "the repository last answered on {}, more than two hours ago",
                moment(*looked_at, &zone)
            )
        }
        (reason, Some(until)) => format!("{reason}; again on {}", moment(until, &zone)),
        (reason, None) => reason.to_string(),
    }
}
