use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use millet_machine::policy::{self, Decision, No, Reason};
use millet_machine::{Effect, Event, FailedBuild, Identity, Journal, Machine, Plan, Source, State, Update};
use millet_protocol::{Build, Slot};

use crate::boot_control::BootControl;
use crate::command;
use crate::device::{Device, facts};
use crate::error::Error;
use crate::reports::{self, Privacy};
use crate::repository::{Keep, Look};
use crate::screen::Screen;
use crate::state::{Kept, Lock, Phase};
use crate::verify;

/// How old a look may be for the next step of the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// The repository is asked now.
    New,
    /// It was asked within the last minute, for this very step.
    Minute,
}

/// How long a report may hold up a reboot.
const REPORT_TIME: Duration = Duration::from_secs(10);

/// How long the reboot command may take to return.
const REBOOT_TIME: Duration = Duration::from_secs(60);

/// The one agent of a device: it holds the lock, the machine, and runs the machine's effects.
pub struct Agent {
    pub(crate) device: Device,
    pub(crate) machine: Machine,
    pub(crate) look: Option<Look>,
    pub(crate) screen: Arc<dyn Screen>,
    boot: Box<dyn BootControl>,
    kept: Kept,
    seed: [u8; 32],
    identified: bool,
    _lock: Lock,
}

/// How a pass ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Pass {
    /// Nothing more can be done now, and nothing waits.
    Settled(No),
    /// A build waits for its moment.
    Waiting(No),
    /// The build on offer failed in this pass.
    Failed(FailedBuild),
    /// The reboot command ran.
    Rebooting,
}

/// What an effect came to.
pub(crate) enum Flow {
    Event(Event),
    Hold(No),
    Rebooting,
}

impl Agent {
    /// Takes the lock and the journal up.
    pub fn open(device: Device, screen: Arc<dyn Screen>) -> Result<Self, Error> {
        let lock = device.state.lock()?;
        let boot = device.boot_control()?;
        let journal = device.state.journal()?;
        let machine = Machine::start(journal, device.boot(&*boot)?);
        device.state.save_journal(machine.journal())?;
        Ok(Self {
            kept: device.state.kept()?,
            seed: device.state.secret("seed", &*device.edge)?,
            machine,
            look: None,
            screen,
            boot,
            identified: false,
            _lock: lock,
            device,
        })
    }

    /// The journal as it stands.
    pub fn journal(&self) -> &Journal {
        self.machine.journal()
    }

    /// The last look of this process.
    pub fn look(&self) -> Option<&Look> {
        self.look.as_ref()
    }

    /// Does everything that can be done now without waiting. `skip_wave` is the owner's wish not to wait for the turn.
    pub async fn pass(&mut self, skip_wave: bool) -> Result<Pass, Error> {
        let result = self.pass_through(skip_wave).await;
        // A device that goes down stays in that phase until it is up again.
        if !matches!(result, Ok(Pass::Rebooting)) {
            self.enter(Phase::Idle, "");
        }
        result
    }

    async fn pass_through(&mut self, skip_wave: bool) -> Result<Pass, Error> {
        let failed_before = self.journal().failed.clone();
        let mut settled = self.journal().state == State::Settling;
        loop {
            if let Some(pass) = self.drive().await? {
                return Ok(pass);
            }
            if !self.machine.good() && !settled {
                settled = true;
                self.step(Event::Settle)?;
                continue;
            }
            // A build that the owner left has no error: that is no failure.
            let failed = self.journal().failed.clone();
            if let Some(failed) = failed.filter(|failed| failed.error.is_some())
                && Some(&failed) != failed_before.as_ref()
            {
                self.flush_reports().await;
                return Ok(Pass::Failed(failed));
            }
            match self.decide(skip_wave).await? {
                Decision::Take(plan) => {
                    self.screen.say(&format!("{} is taken", plan.identity.build));
                    self.step(Event::Begin(Box::new(plan)))?;
                }
                Decision::No(no) => {
                    self.flush_reports().await;
                    return Ok(if no.reason.is_available() {
                        Pass::Waiting(no)
                    } else {
                        Pass::Settled(no)
                    });
                }
            }
        }
    }

    /// Boots the other slot, if it is whole and not below the floor.
    pub async fn roll_back(&mut self) -> Result<Pass, Error> {
        if let Some(pass) = self.drive().await? {
            return Ok(pass);
        }
        let slot = self.machine.running().other();
        let refuse = |reason: String| Error::NoWayBack { slot, reason };
        if !self.machine.good() {
            return Err(refuse(
                "the running slot is not marked good, so there would be no way forward again".into(),
            ));
        }
        let known = self
            .journal()
            .slot(slot)
            .cloned()
            .filter(|identity| self.device.fits(identity, slot));
        let identity = match known {
            Some(identity) => identity,
            None => self
                .identify(slot)
                .await?
                .ok_or_else(|| refuse("it does not hold a whole signed build".into()))?,
        };
        let failed = self.journal().failed.as_ref();
        if failed.is_some_and(|failed| failed.error.is_some() && failed.build == identity.build) {
            return Err(refuse(format!("{} failed on this device", identity.build)));
        }
        policy::may_return_to(&identity, self.kept.floors()).map_err(|no| refuse(no.reason.to_string()))?;
        self.screen
            .say(&format!("going back to {} in slot {slot}", identity.build));
        let at = self.device.edge.now();
        self.step(Event::Begin(Box::new(Plan {
            identity,
            source: Source::OtherSlot,
            at,
        })))?;
        match self.drive().await? {
            Some(pass) => Ok(pass),
            None => Err(refuse("it did not read back as a whole build".into())),
        }
    }

    /// Runs effects until nothing is under way, or something must wait, or the machine goes down.
    async fn drive(&mut self) -> Result<Option<Pass>, Error> {
        while let Some(effect) = self.machine.effect() {
            match self.run(effect).await? {
                Flow::Event(event) => self.step(event)?,
                Flow::Hold(no) => return Ok(Some(Pass::Waiting(no))),
                Flow::Rebooting => return Ok(Some(Pass::Rebooting)),
            }
        }
        Ok(None)
    }

    /// Takes an event and makes the new state durable before anything is done about it.
    pub(crate) fn step(&mut self, event: Event) -> Result<(), Error> {
        let next = self.machine.clone().step(event);
        self.device.state.save_journal(next.journal())?;
        self.machine = next;
        Ok(())
    }

    async fn run(&mut self, effect: Effect) -> Result<Flow, Error> {
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
        let time = Duration::from_secs(self.device.config.health.timeout_seconds);
        for check in &self.device.config.health.checks {
            if let Err(error) = command::run(check, time).await {
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
        let wrong = in_thread(move || verify::verify(&*storage, slot, &partitions, &*screen)).await??;
        match wrong {
            None => Ok(Event::Verified),
            Some(partition) => {
                self.screen.say(&format!(
                    "partition {partition} of slot {slot} does not read back as it should"
                ));
                Ok(Event::Refused(millet_protocol::ErrorCode::HashMismatch))
            }
        }
    }

    async fn reboot(&mut self) -> Result<Flow, Error> {
        self.enter(Phase::Rebooting, "the device goes down");
        // Sent before the reboot, so that silence afterwards counts; but no server holds a reboot up.
        let _ = tokio::time::timeout(REPORT_TIME, self.flush_reports()).await;
        match command::run(&self.device.config.boot.reboot, REBOOT_TIME).await {
            Ok(()) => Ok(Flow::Rebooting),
            Err(error) => {
                self.step(Event::RebootFailed)?;
                Err(error)
            }
        }
    }

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
        let now = self.device.edge.now();
        let facts = self.facts();
        let answer = match self.look.as_ref().and_then(Look::offer) {
            Some(offer) => policy::look(update, &facts, &offer, now),
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

    async fn decide(&mut self, skip_wave: bool) -> Result<Decision, Error> {
        self.enter(Phase::Checking, &self.device.repository.address);
        self.refresh(Age::New).await?;
        if !self.identified {
            self.identify_running().await?;
            self.identified = true;
        }
        self.prune()?;
        let now = self.device.edge.now();
        Ok(match self.look.as_ref().and_then(Look::offer) {
            Some(offer) => policy::decide(&self.facts(), &offer, now, skip_wave),
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
        self.machine.journal_mut().set_slot(running, identity);
        self.device.state.save_journal(self.machine.journal())?;
        let running = self.running_build().cloned();
        if let Some(look) = &mut self.look {
            self.device.repository.fit(look, running.as_ref());
        }
        Ok(())
    }

    async fn identify(&mut self, slot: Slot) -> Result<Option<Identity>, Error> {
        if self.look.is_none() {
            self.refresh(Age::New).await?;
        }
        match &self.look {
            Some(look) => self.device.identify(look, slot, Keep::Yes).await,
            None => Ok(None),
        }
    }

    fn raise_floors(&mut self, identity: &Identity) -> Result<(), Error> {
        let raised = self.kept.raised_by(identity);
        if raised != self.kept {
            self.device.state.save_kept(&raised)?;
            self.kept = raised;
        }
        Ok(())
    }

    /// Documents that nothing refers to any more are forgotten.
    fn prune(&self) -> Result<(), Error> {
        let slots = [Slot::A, Slot::B]
            .into_iter()
            .filter_map(|slot| self.journal().slot(slot));
        let mut wanted: BTreeSet<String> = slots.map(|identity| identity.manifest.to_string()).collect();
        if let Some(look) = &self.look {
            wanted.extend(look.builds.iter().map(|offered| offered.sha256.to_string()));
            let rollout =
                millet_protocol::targets::rollout(&self.device.config.model, &self.device.config.channel);
            let rollout = look.set.target(&rollout).and_then(|file| file.sha256());
            wanted.extend(rollout.map(|sha256| sha256.to_string()));
        }
        self.device.state.prune_documents(|name| wanted.contains(name))
    }

    /// Sends what the owner allows. What cannot be sent now stays for the next time.
    async fn flush_reports(&mut self) {
        if let Err(error) = self.try_flush().await {
            self.screen
                .say(&format!("reports wait: {:#}", anyhow::Error::new(error)));
        }
    }

    async fn try_flush(&mut self) -> Result<(), Error> {
        if self.journal().outbox.is_empty() {
            return Ok(());
        }
        let privacy = Privacy::read(&self.device.state)?;
        let secret = self.device.state.secret("secret", &*self.device.edge)?;
        let config = &self.device.config;
        let url = format!("{}/api/v1/reports", config.server());
        while let Some(draft) = self.machine.journal().outbox.first() {
            if let Some(report) = privacy.report(draft, &config.model, &config.channel, &secret) {
                let body = serde_json::to_string(&report).map_err(|source| Error::Form {
                    path: "report".into(),
                    what: "JSON",
                    source: source.into(),
                })?;
                let sent = reports::send(
                    &self.device.state,
                    &self.device.client,
                    &url,
                    &body,
                    self.device.edge.now(),
                )
                .await;
                match sent {
                    // A server that refuses it once refuses it for ever.
                    Err(Error::Http {
                        source:
                            crate::HttpError::Status {
                                status: 400..=499, ..
                            },
                        ..
                    })
                    | Ok(()) => {}
                    Err(error) => return Err(error),
                }
            }
            self.machine.journal_mut().outbox.remove(0);
            self.device.state.save_journal(self.machine.journal())?;
        }
        Ok(())
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

    pub(crate) fn enter(&self, phase: Phase, subject: &str) {
        self.device.state.set_phase(phase);
        self.screen.begin(phase, subject);
    }
}

/// Runs work that blocks beside the network.
pub(crate) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Command {
            command: "a worker thread".to_owned(),
            outcome: format!("died: {error}"),
        })
}
