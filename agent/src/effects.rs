//! The machine's effects, one by one. Writing, the largest, has a file of its own.

use std::sync::Arc;
use std::time::Duration;

use millet_machine::{Effect, Event, Identity, Update};
use millet_protocol::{ErrorCode, Slot};

use crate::agent::{Age, Agent, Flow, in_thread};
use crate::error::Error;
use crate::state::Phase;
use crate::verify;

/// How long a report may hold up a reboot.
const REPORT_TIME: Duration = Duration::from_secs(10);

/// How long the reboot command may take to return.
const REBOOT_TIME: Duration = Duration::from_secs(60);

impl Agent {
    pub(crate) async fn run(&mut self, effect: Effect) -> Result<Flow, Error> {
        let event = match effect {
            Effect::CheckHealth => self.check_health().await,
            Effect::Confirm {
                slot,
                identity,
                retire,
            } => self.confirm(slot, identity.as_ref(), retire)?,
            Effect::MarkUnbootable(slot) => {
                self.boot.mark_unbootable(slot)?;
                Event::MarkedUnbootable
            }
            Effect::Write { update, from } => return self.write(update, from).await,
            Effect::Verify(update) => self.verify(update).await?,
            Effect::Look(update) => return self.look_at(&update, Age::New).await,
            Effect::SetActive(slot) => {
                self.enter(Phase::Switching, &format!("slot {slot} boots next"));
                self.boot.set_active(slot)?;
                Event::Activated
            }
            Effect::Reboot => return self.reboot().await,
            Effect::Return { to, from } => {
                self.enter(Phase::Switching, &format!("slot {to} boots next again"));
                self.boot.restore(to)?;
                self.boot.mark_unbootable(from)?;
                Event::Returned
            }
        };
        Ok(Flow::Event(event))
    }

    async fn check_health(&mut self) -> Event {
        self.enter(Phase::OnTrial, "checking the health of what runs");
        let config = &self.device.config;
        // A build that cannot reboot could be confirmed, and never updated again.
        if let Err(error) = config.check_programs() {
            self.screen.say(&error.to_string());
            return Event::Unhealthy;
        }
        for check in &config.health.checks {
            if let Err(error) = check.run(config.folder(), config.health.timeout()).await {
                self.screen.say(&error.to_string());
                return Event::Unhealthy;
            }
        }
        Event::Healthy
    }

    fn confirm(
        &mut self,
        slot: Slot,
        identity: Option<&Identity>,
        retire: Option<Slot>,
    ) -> Result<Event, Error> {
        // The floor comes first: a confirmed build below which the device may go would be worse than a repeated step.
        if let Some(identity) = identity {
            self.raise_floors(identity)?;
        }
        self.boot.mark_good(slot)?;
        if let Some(slot) = retire {
            self.boot.mark_unbootable(slot)?;
        }
        match identity {
            Some(identity) => self.screen.say(&format!("{} is confirmed", identity.build)),
            None => self.screen.say("the running slot is confirmed"),
        }
        Ok(Event::Confirmed {
            at: self.device.edge.now(),
        })
    }

    async fn verify(&mut self, update: Update) -> Result<Event, Error> {
        self.enter(
            Phase::Verifying,
            &format!("{} in slot {}", update.identity.build, update.target),
        );
        let (storage, screen) = (Arc::clone(&self.device.storage), Arc::clone(&self.screen));
        let (slot, partitions) = (update.target, update.identity.partitions);
        let read = in_thread(move || verify::verify(&*storage, slot, &partitions, &*screen)).await?;
        match read {
            Ok(None) => Ok(Event::Verified),
            // Written once more, and given up if that does not help: a slot that cannot be read must not be the end.
            Err(error) => {
                self.screen.say(&error.chain());
                Ok(Event::Refused(ErrorCode::Storage))
            }
            Ok(Some(partition)) => {
                self.screen.say(&format!(
                    "partition {partition} of slot {slot} does not read back as it should"
                ));
                Ok(Event::Refused(ErrorCode::HashMismatch))
            }
        }
    }

    async fn reboot(&mut self) -> Result<Flow, Error> {
        self.enter(Phase::Rebooting, "the device goes down");
        // Sent before the reboot, so that silence afterwards counts; but no server holds a reboot up.
        let _ = tokio::time::timeout(REPORT_TIME, self.flush_reports()).await;
        let config = &self.device.config;
        match config.boot.reboot.run(config.folder(), REBOOT_TIME).await {
            Ok(()) => Ok(Flow::Rebooting),
            Err(error) => {
                self.step(Event::RebootFailed)?;
                Err(error)
            }
        }
    }

    pub(crate) fn raise_floors(&mut self, identity: &Identity) -> Result<(), Error> {
        let raised = self.kept.raised_by(identity);
        if raised != self.kept {
            self.device.state.save_kept(&raised)?;
            self.kept = raised;
        }
        Ok(())
    }
}
