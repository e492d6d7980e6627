//! An update under way, in words.

use millet_agent::repository::Look;
use millet_agent::{Device, Knowledge};
use millet_machine::policy::{self, No, Reason};
use millet_machine::{Source, State};

use super::sentence;

/// What is under way, if anything is.
pub fn under_way(state: &State) -> Option<String> {
    let update = state.update()?;
    let (build, slot) = (&update.identity.build, update.target);
    let back = slot.other();
    Some(match state {
        State::Idle | State::Settling | State::MarkingGood => return None,
        State::Preparing { .. } | State::Writing { .. } => format!("{build} is being written to slot {slot}"),
        State::Verifying { .. } => format!("{build} is in slot {slot} and is being read back"),
        State::Verified { .. } => format!("{build} is in slot {slot}, whole"),
        State::Switching { .. } => format!("{build} is in slot {slot}, which is being chosen"),
        State::Staged { .. } | State::Rebooting { .. } => format!("{build} is in slot {slot} and boots next"),
        State::OnTrial { .. } => format!("{build} is on trial in slot {slot}: its health is to be checked"),
        State::Confirming { .. } => format!("{build} is on trial in slot {slot}, and healthy"),
        State::Reverting { error: Some(_), .. } => {
            format!("{build} in slot {slot} is not well; the device goes back to slot {back}")
        }
        State::Reverting { error: None, .. } => {
            format!("{build} in slot {slot} was withdrawn; the device goes back to slot {back}")
        }
        State::Reverted { error: Some(_), .. } => {
            format!("{build} in slot {slot} is not well; slot {back} boots next")
        }
        State::Reverted { error: None, .. } => {
            format!("{build} in slot {slot} was withdrawn; slot {back} boots next")
        }
        State::Unstaging { .. } => format!("{build} in slot {slot} is given up"),
    })
}

/// The same, with what the rollout says of it now.
pub fn outlook(device: &Device, knowledge: &Knowledge, look: &Look) -> Option<String> {
    let state = &knowledge.journal.state;
    let words = under_way(state)?;
    let update = state.update().filter(|update| {
        // No rollout has a say in what its owner chose, nor once it runs: then its health decides.
        matches!(update.source, Source::Payload(_)) && update.target != knowledge.boot.running
    });
    let Some(update) = update.filter(|_| !matches!(state, State::Unstaging { .. })) else {
        return Some(words);
    };
    let answer = match look.offer(device.edge.now()) {
        Some((offer, now)) => policy::look(update, &knowledge.facts(&device.config), &offer, now),
        None => policy::Look::Halt(No {
            reason: Reason::NothingOffered,
            until: None,
        }),
    };
    Some(match answer {
        policy::Look::Go => words,
        policy::Look::Hold(no) => format!("{words}, but waits: {}", sentence(device, &no)),
        policy::Look::Halt(no) => format!("{words}, but is given up: {}", no.reason),
        policy::Look::Replace(plan) => format!("{words}, but {} takes its place", plan.identity.build),
    })
}

/// Whether a reboot is what comes next.
pub fn needs_reboot(state: &State) -> bool {
    matches!(
        state,
        State::Staged { .. } | State::Rebooting { .. } | State::Reverted { .. }
    )
}

/// Where an update stands, for scripts: the journal's own word.
pub fn stage(state: &State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Settling => "settling",
        State::MarkingGood => "marking-good",
        State::Preparing { .. } => "preparing",
        State::Writing { .. } => "writing",
        State::Verifying { .. } => "verifying",
        State::Verified { .. } => "verified",
        State::Switching { .. } => "switching",
        State::Staged { .. } => "staged",
        State::Rebooting { .. } => "rebooting",
        State::OnTrial { .. } => "on-trial",
        State::Confirming { .. } => "confirming",
        State::Reverting { .. } => "reverting",
        State::Reverted { .. } => "reverted",
        State::Unstaging { .. } => "unstaging",
    }
}
