use jiff::Timestamp;
use millet_protocol::{ErrorCode, Outcome, PayloadKind, Slot};

use crate::{Confirmed, FailedBuild, Identity, Journal, Plan, Progress, Source, State, Update};

/// How often a full payload is tried before its build counts as failed: the second time, a proxy that damaged bytes may
/// have gone away.
const FULL_ATTEMPTS: u32 = 2;

/// The update machine of one boot.
///
/// What to do next is [`Machine::effect`], a function of the state alone: a restart repeats the effect that the journal
/// promises, and every effect may be repeated. The caller writes the journal before it runs the effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub(crate) journal: Journal,
    pub(crate) running: Slot,
    pub(crate) good: bool,
}

/// What boot control says when the agent starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// The slot that runs.
    pub running: Slot,
    /// Whether it is marked good.
    pub good: bool,
    /// Whether a bootloader may choose the other slot.
    pub other_bootable: bool,
    /// Now.
    pub at: Timestamp,
}

/// What the caller does next. Each may be repeated after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer with [`Event::Healthy`] or [`Event::Unhealthy`].
    CheckHealth,
    /// Raise the floors by the identity, mark the running slot good, make `retire` unbootable; then [`Event::Confirmed`].
    Confirm {
        /// The running slot.
        slot: Slot,
        /// What it holds, if known.
        identity: Option<Identity>,
        /// The other slot, when the new floor shuts it out.
        retire: Option<Slot>,
    },
    /// Then [`Event::MarkedUnbootable`].
    MarkUnbootable(Slot),
    /// Write `update.target`; [`Event::Checkpoint`] on the way, then [`Event::Written`] or [`Event::Refused`].
    Write {
        /// The update.
        update: Update,
        /// Where to go on.
        from: Progress,
    },
    /// Read `update.target` back past the page cache; [`Event::Verified`] or [`Event::Refused`].
    Verify(Update),
    /// Look at the rollout again: [`Event::Go`], [`Event::Halt`], [`Event::Begin`], or nothing while the answer is stale.
    Look(Update),
    /// Make the slot active, on trial; then [`Event::Activated`].
    SetActive(Slot),
    /// Reboot; [`Event::RebootFailed`] when that is impossible.
    Reboot,
    /// Make `to` active as good as it was, then `from` unbootable; then [`Event::Returned`].
    Return {
        /// The slot that shall boot.
        to: Slot,
        /// The slot that shall not.
        from: Slot,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Policy takes a build: nothing was under way, or another build was.
    Begin(Box<Plan>),
    /// Check the running slot's health again if it is not good yet.
    Settle,
    /// The health checks passed.
    Healthy,
    /// A health check failed.
    Unhealthy,
    /// The good mark is written.
    Confirmed {
        /// When.
        at: Timestamp,
    },
    /// No bootloader chooses the target any more.
    MarkedUnbootable,
    /// So much is durable.
    Checkpoint(Progress),
    /// Everything is written and flushed.
    Written {
        /// When.
        at: Timestamp,
    },
    /// The content was refused: before writing, while writing or when read back. Not for the network or a full disk: those
    /// leave the machine as it is.
    Refused(ErrorCode),
    /// Every partition was read back and has its hash.
    Verified,
    /// The rollout still offers this build.
    Go,
    /// The rollout was halted, or the build is no longer offered.
    Halt,
    /// The target is active.
    Activated,
    /// The reboot command failed.
    RebootFailed,
    /// The slot of a [`Effect::Return`] is active again.
    Returned,
}

impl Machine {
    /// Takes up a journal at the start of the process, which may be a new boot.
    ///
    /// What was verified before is verified again, whatever the journal says.
    pub fn start(mut journal: Journal, boot: Boot) -> Self {
        let state = std::mem::replace(&mut journal.state, State::Idle);
        let mut machine = Self {
            journal,
            running: boot.running,
            good: boot.good,
        };
        let on_target = state.update().is_some_and(|update| update.target == boot.running);
        machine.journal.state = if on_target {
            machine.resume_on_target(state)
        } else {
            machine.resume_on_origin(state, boot)
        };
        if machine.good && machine.journal.confirmed_at(boot.running).is_none() && !on_target {
            machine.confirmed(boot.at);
        }
        machine
    }

    /// What to write to the disk.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The same, for the outbox and the slots' identities, which the caller learns by itself.
    pub fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The slot that runs.
    pub fn running(&self) -> Slot {
        self.running
    }

    /// Whether the running slot is marked good.
    pub fn good(&self) -> bool {
        self.good
    }

    /// What to do next; none when nothing is under way.
    pub fn effect(&self) -> Option<Effect> {
        let effect = match &self.journal.state {
            State::Idle => return None,
            State::Settling | State::OnTrial { .. } => Effect::CheckHealth,
            State::MarkingGood => self.confirm(self.journal.slot(self.running)),
            State::Preparing { update, .. } => Effect::MarkUnbootable(update.target),
            State::Writing { update, progress } => Effect::Write {
                update: update.clone(),
                from: *progress,
            },
            State::Verifying { update } => Effect::Verify(update.clone()),
            State::Verified { update } | State::Staged { update } => Effect::Look(update.clone()),
            State::Switching { update } => Effect::SetActive(update.target),
            State::Rebooting { .. } | State::Reverted { .. } => Effect::Reboot,
            State::Confirming { update } => self.confirm(Some(&update.identity)),
            State::Reverting { update, .. } => Effect::Return {
                to: update.target.other(),
                from: update.target,
            },
            State::Unstaging { update, .. } => Effect::Return {
                to: self.running,
                from: update.target,
            },
        };
        Some(effect)
    }

    /// Takes an event. One that does not belong to the state changes nothing.
    #[must_use]
    pub fn step(mut self, event: Event) -> Self {
        let state = std::mem::replace(&mut self.journal.state, State::Idle);
        self.journal.state = self.next(state, event);
        self
    }

    fn next(&mut self, state: State, event: Event) -> State {
        match (state, event) {
            (State::Idle, Event::Settle) => self.settled(),
            (State::Settling, Event::Healthy) => State::MarkingGood,
            (State::Settling, Event::Unhealthy) => State::Idle,
            (State::MarkingGood, Event::Confirmed { at }) => {
                self.good = true;
                self.confirmed(at);
                State::Idle
            }

            (State::Idle, Event::Begin(plan)) if self.good => self.begin(*plan),
            (State::Preparing { mut update, progress }, Event::MarkedUnbootable) => {
                update.activated = false;
                State::Writing { update, progress }
            }
            (State::Writing { update, .. }, Event::Checkpoint(progress)) => {
                State::Writing { update, progress }
            }
            (State::Writing { mut update, .. }, Event::Written { at }) => {
                let seconds = at.as_second().saturating_sub(update.began.as_second());
                update.install_seconds = u64::try_from(seconds).ok();
                State::Verifying { update }
            }
            (State::Writing { update, .. }, Event::Refused(error)) => self.refused(update, error),
            (State::Verifying { update }, Event::Refused(error)) => self.refused(update, error),
            (State::Verifying { update }, Event::Verified) => {
                self.journal
                    .set_slot(update.target, Some(update.identity.clone()));
                match update.source {
                    // The owner asked for it here and now: no rollout has a say.
                    Source::OtherSlot => switch(update),
                    Source::Payload(_) => State::Verified { update },
                }
            }
            (State::Verified { update }, Event::Go) => switch(update),
            (State::Switching { update }, Event::Activated) => match update.source {
                Source::OtherSlot => self.rebooting(update),
                Source::Payload(_) => State::Staged { update },
            },
            (State::Staged { update }, Event::Go) => self.rebooting(update),
            (State::Rebooting { mut update }, Event::RebootFailed) => {
                update.reboots = update.reboots.saturating_sub(1).max(1);
                State::Staged { update }
            }

            (State::OnTrial { update }, Event::Healthy) => State::Confirming { update },
            (State::OnTrial { update }, Event::Unhealthy) => State::Reverting {
                update,
                error: Some(ErrorCode::Unhealthy),
            },
            (State::Confirming { update }, Event::Confirmed { at }) => {
                self.good = true;
                self.confirmed(at);
                self.journal.full_only = None;
                self.journal.failed = match (&update.source, &update.from) {
                    // The owner went back: the build that was left is not taken again by itself.
                    (Source::OtherSlot, Some(left)) => Some(FailedBuild {
                        build: left.clone(),
                        error: None,
                    }),
                    _ => None,
                };
                self.journal.draft(Outcome::Confirmed, &update, None);
                State::Idle
            }
            (State::Reverting { update, error }, Event::Returned) => State::Reverted { update, error },

            // The target is unbootable: forgetting is enough.
            (State::Writing { .. }, Event::Halt) => State::Idle,
            (State::Writing { .. }, Event::Begin(plan)) => self.begin(*plan),
            (
                State::Preparing { update, .. }
                | State::Verifying { update }
                | State::Verified { update }
                | State::Switching { update }
                | State::Staged { update },
                Event::Halt,
            ) => State::Unstaging { update, next: None },
            (
                State::Preparing { update, .. }
                | State::Verifying { update }
                | State::Verified { update }
                | State::Switching { update }
                | State::Staged { update },
                Event::Begin(plan),
            ) => State::Unstaging {
                update,
                next: Some(Box::new(self.update(*plan))),
            },
            (State::Unstaging { next: None, .. }, Event::Returned) => State::Idle,
            (State::Unstaging { next: Some(next), .. }, Event::Returned) => {
                self.prepare(*next, Progress::default())
            }

            (state, _) => state,
        }
    }

    fn begin(&mut self, plan: Plan) -> State {
        if self
            .journal
            .failed
            .as_ref()
            .is_some_and(|failed| failed.build != plan.identity.build)
        {
            self.journal.failed = None;
        }
        let update = self.update(plan);
        self.prepare(update, Progress::default())
    }

    fn update(&self, plan: Plan) -> Update {
        Update {
            identity: plan.identity,
            // Here alone a target is chosen, and it is never the slot that runs.
            target: self.running.other(),
            source: plan.source,
            from: self
                .journal
                .slot(self.running)
                .map(|identity| identity.build.clone()),
            began: plan.at,
            install_seconds: None,
            activated: false,
            full_attempts: 0,
            reboots: 0,
        }
    }

    /// The content does not fit: from the delta to the full payload, from that to one more attempt, then never again.
    fn refused(&mut self, mut update: Update, error: ErrorCode) -> State {
        self.journal.set_slot(update.target, None);
        let kind = update.payload_kind();
        if kind == Some(PayloadKind::Full) {
            update.full_attempts += 1;
        }
        match kind {
            Some(PayloadKind::Delta) => {
                self.journal.full_only = Some(update.identity.build.clone());
                update.source = Source::Payload(update.identity.full());
                self.prepare(update, Progress::default())
            }
            Some(PayloadKind::Full) if update.full_attempts < FULL_ATTEMPTS => {
                self.prepare(update, Progress::default())
            }
            Some(PayloadKind::Full) => {
                self.fail(&update, error);
                self.journal.draft(Outcome::Failed, &update, Some(error));
                State::Unstaging { update, next: None }
            }
            // The other slot is not whole. The build is not at fault.
            None => State::Unstaging { update, next: None },
        }
    }

    fn rebooting(&mut self, mut update: Update) -> State {
        if update.reboots == 0 {
            self.journal.draft(Outcome::Trying, &update, None);
        }
        update.reboots += 1;
        State::Rebooting { update }
    }

    fn confirm(&self, identity: Option<&Identity>) -> Effect {
        let floor = identity.and_then(|identity| identity.floor);
        let other = self.journal.slot(self.running.other());
        let below = match (floor, other) {
            (Some(floor), Some(other)) => other.sequence < floor,
            // What it holds is unknown, so it may be below.
            (Some(_), None) => true,
            (None, _) => false,
        };
        Effect::Confirm {
            slot: self.running,
            identity: identity.cloned(),
            retire: below.then(|| self.running.other()),
        }
    }

    pub(crate) fn fail(&mut self, update: &Update, error: ErrorCode) {
        self.journal.failed = Some(FailedBuild {
            build: update.identity.build.clone(),
            error: Some(error),
        });
    }

    fn confirmed(&mut self, at: Timestamp) {
        self.journal.confirmed = Some(Confirmed {
            slot: self.running,
            at,
        });
    }

    pub(crate) fn settled(&self) -> State {
        if self.good { State::Idle } else { State::Settling }
    }

    pub(crate) fn prepare(&mut self, update: Update, progress: Progress) -> State {
        match update.source {
            Source::OtherSlot => State::Verifying { update },
            Source::Payload(_) => {
                self.journal.set_slot(update.target, None);
                State::Preparing { update, progress }
            }
        }
    }
}

/// From here on a reboot may try the target, whether or not boot control was written in time.
fn switch(mut update: Update) -> State {
    update.activated = true;
    State::Switching { update }
}
