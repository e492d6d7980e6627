//! Where a machine goes on after a restart, from what the journal promised and the slot that runs now.

use millet_protocol::{ErrorCode, Outcome};

use crate::{Boot, Journal, Machine, State, Update};

/// How often a reboot that comes back to the old slot is asked for again.
const REBOOTS: u32 = 5;

impl Machine {
    /// A journal as it stands in this boot, for whoever only looks: what it promised before the boot came true, or did not.
    /// What an agent does in this boot stays as it is, where [`Machine::start`] would have it begin again.
    pub fn seen(journal: Journal, boot: Boot) -> Journal {
        let on_target = journal
            .state
            .update()
            .is_some_and(|update| update.target == boot.running);
        let of_this_boot = match &journal.state {
            State::Idle | State::Settling | State::MarkingGood => true,
            State::Preparing { .. }
            | State::Writing { .. }
            | State::Verifying { .. }
            | State::Verified { .. }
            | State::Switching { .. }
            | State::Staged { .. }
            | State::Unstaging { .. } => !on_target,
            // Where the target cannot boot any more, its tries are used up.
            State::Rebooting { .. } => !on_target && boot.other_bootable,
            State::OnTrial { .. }
            | State::Confirming { .. }
            | State::Reverting { .. }
            | State::Reverted { .. } => on_target,
        };
        if of_this_boot {
            journal
        } else {
            Self::start(journal, boot).journal
        }
    }

    pub(crate) fn resume_on_target(&mut self, state: State) -> State {
        match state {
            State::Verifying { update }
            | State::Verified { update }
            | State::Switching { update }
            | State::Staged { update }
            | State::Rebooting { update }
            | State::OnTrial { update }
            | State::Confirming { update }
                if update.activated =>
            {
                self.journal.set_slot(self.running, Some(update.identity.clone()));
                if self.good {
                    State::Confirming { update }
                } else {
                    State::OnTrial { update }
                }
            }
            State::Reverting { update, error } | State::Reverted { update, error } => {
                State::Reverting { update, error }
            }
            // Power failed while a withdrawn or damaged target was still active: it runs after all.
            State::Unstaging { update, .. } | State::Preparing { update, .. } if update.activated => {
                State::Reverting { update, error: None }
            }
            // Somebody else chose this slot while it was written: what it holds is for hashes to say.
            _ => {
                self.journal.set_slot(self.running, None);
                self.settled()
            }
        }
    }

    pub(crate) fn resume_on_origin(&mut self, state: State, boot: Boot) -> State {
        match state {
            // Its tries are used up: it was started, and never came far enough to say so.
            State::Rebooting { update } if !boot.other_bootable => self.given_up(update, Outcome::RolledBack),
            State::Rebooting { update } if update.reboots >= REBOOTS => {
                self.given_up(update, Outcome::Failed)
            }
            State::OnTrial { update } | State::Confirming { update } => {
                self.given_up(update, Outcome::RolledBack)
            }
            State::Reverting { update, error } | State::Reverted { update, error } => {
                if let Some(error) = error {
                    self.fail(&update, error);
                    self.journal.draft(Outcome::RolledBack, &update, Some(error));
                }
                self.journal.set_slot(update.target, None);
                // The bootloader came back by itself before boot control said so: say it now.
                if boot.other_bootable {
                    State::Unstaging { update, next: None }
                } else {
                    self.settled()
                }
            }
            state @ State::Unstaging { .. } => state,
            // Boot control was lost or changed by another hand: the running slot comes first.
            state if !self.good => match state.update().filter(|update| update.activated) {
                Some(update) => State::Unstaging {
                    update: update.clone(),
                    next: None,
                },
                None => State::Settling,
            },
            State::Preparing { update, progress } | State::Writing { update, progress } => {
                self.prepare(update, progress)
            }
            State::Verifying { update }
            | State::Verified { update }
            | State::Switching { update }
            | State::Staged { update }
            | State::Rebooting { update } => State::Verifying { update },
            State::Idle | State::Settling | State::MarkingGood => State::Idle,
        }
    }

    /// The new slot did not confirm, and the old one runs.
    fn given_up(&mut self, update: Update, outcome: Outcome) -> State {
        self.fail(&update, ErrorCode::NoBoot);
        self.journal.draft(outcome, &update, Some(ErrorCode::NoBoot));
        self.journal.set_slot(update.target, None);
        State::Unstaging { update, next: None }
    }
}
