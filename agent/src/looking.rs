//! What the repository offers, what the device runs, and what policy makes of the two.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use millet_machine::policy::{self, Decision, No, Reason};
use millet_machine::{Event, Identity, Update};
use millet_protocol::{Build, Slot, targets};

use crate::agent::{Age, Agent, Flow, in_thread};
use crate::device::facts;
use crate::error::Error;
use crate::repository::{Keep, Look};
use crate::state::Phase;

impl Agent {
    /// Looks at the rollout again, for an update under way.
    pub(crate) async fn look_at(&mut self, update: &Update, age: Age) -> Result<Flow, Error> {
        if let Err(error) = self.refresh(age).await {
            // A look that is still young enough will do; policy says whether it is.
            if !error.is_network() {
                return Err(error);
            }
            if self.look.is_none() {
                self.look = Some(self.device.repository.recall().await.map_err(|_| error)?);
            }
        }
        let facts = self.facts();
        let clock = self.device.edge.now();
        let answer = match self.look.as_ref().and_then(|look| look.offer(clock)) {
            Some((offer, now)) => policy::look(update, &facts, &offer, now),
            None => policy::Look::Halt(No {
                reason: Reason::NothingOffered,
                until: None,
            }),
        };
        Ok(match answer {
            policy::Look::Go => Flow::Event(Event::Go),
            policy::Look::Hold(no) => Flow::Hold(no),
            policy::Look::Halt(no) => {
                self.screen.say(&no.reason.to_string());
                Flow::Event(Event::Halt)
            }
            policy::Look::Replace(plan) => {
                self.screen.say(&format!(
                    "{} takes the place of {}",
                    plan.identity.build, update.identity.build
                ));
                Flow::Event(Event::Begin(Box::new(plan)))
            }
        })
    }

    pub(crate) async fn decide(&mut self, skip_wave: bool) -> Result<Decision, Error> {
        self.enter(Phase::Checking, &self.device.repository.address);
        self.refresh(Age::New).await?;
        if let Some(look) = &self.look {
            self.device.repository.has_model(look)?;
        }
        if !self.identified {
            self.identify_running().await?;
            self.identified = true;
        }
        self.prune()?;
        let clock = self.device.edge.now();
        Ok(match self.look.as_ref().and_then(|look| look.offer(clock)) {
            Some((offer, now)) => policy::decide(&self.facts(), &offer, now, skip_wave),
            None => Decision::No(No {
                reason: Reason::NothingOffered,
                until: None,
            }),
        })
    }

    async fn refresh(&mut self, age: Age) -> Result<(), Error> {
        let now = self.device.edge.now();
        let young = |look: &Look| {
            let elapsed = now.duration_since(look.at);
            age == Age::Minute && !elapsed.is_negative() && elapsed < SignedDuration::from_mins(1)
        };
        if !self.look.as_ref().is_some_and(young) {
            self.look = Some(self.device.repository.look(Keep::Yes).await?);
            self.kept = self.device.state.kept()?;
        }
        let running = self.running_build().cloned();
        if let Some(look) = &mut self.look {
            self.device.repository.fit(look, running.as_ref());
        }
        Ok(())
    }

    /// The journal's record if the slot still fits it, else the newest signed build that it holds, else unknown.
    async fn identify_running(&mut self) -> Result<(), Error> {
        let running = self.machine.running();
        let known = self.journal().slot(running).cloned();
        let device = self.device.clone();
        let fits = match known {
            Some(identity) => in_thread(move || device.fits(&identity, running)).await?,
            None => false,
        };
        if fits {
            return Ok(());
        }
        let identity = self.identify(running).await?;
        match &identity {
            Some(identity) => {
                self.screen
                    .say(&format!("slot {running} holds {}", identity.build));
                // A state that was lost finds its floors again.
                if self.machine.good() {
                    self.raise_floors(identity)?;
                }
            }
            None => self
                .screen
                .say(&format!("slot {running} holds no build that is signed")),
        }
        // What was confirmed here was another build.
        let journal = self.machine.journal_mut();
        if journal.slot(running).is_some() {
            journal.confirmed = None;
        }
        journal.set_slot(running, identity);
        self.device.state.save_journal(self.machine.journal())?;
        let running = self.running_build().cloned();
        if let Some(look) = &mut self.look {
            self.device.repository.fit(look, running.as_ref());
        }
        Ok(())
    }

    pub(crate) async fn identify(&mut self, slot: Slot) -> Result<Option<Identity>, Error> {
        if self.look.is_none() {
            self.refresh(Age::New).await?;
        }
        match &self.look {
            Some(look) => self.device.identify(look, slot, Keep::Yes).await,
            None => Ok(None),
        }
    }

    /// Documents that nothing refers to any more are forgotten.
    fn prune(&self) -> Result<(), Error> {
        // While nobody knows what runs, every start reads all manifests: they are better kept.
        if self.running_build().is_none() {
            return Ok(());
        }
        let slots = [Slot::A, Slot::B]
            .into_iter()
            .filter_map(|slot| self.journal().slot(slot));
        let mut wanted: BTreeSet<String> = slots.map(|identity| identity.manifest.to_string()).collect();
        if let Some(look) = &self.look {
            wanted.extend(look.builds.iter().map(|offered| offered.sha256.to_string()));
            let rollout = targets::rollout(&self.device.config.model, &self.device.config.channel);
            let rollout = look.set.target(&rollout).and_then(|file| file.sha256());
            wanted.extend(rollout.map(|sha256| sha256.to_string()));
        }
        self.device.state.prune_documents(|name| wanted.contains(name))
    }

    fn facts(&self) -> policy::Device<'_> {
        facts(
            &self.device.config,
            self.machine.journal(),
            self.machine.running(),
            self.machine.good(),
            self.kept.floors(),
            &self.seed,
        )
    }

    fn running_build(&self) -> Option<&Build> {
        self.journal()
            .slot(self.machine.running())
            .map(|identity| &identity.build)
    }
}
