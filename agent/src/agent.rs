use std::sync::Arc;

use millet_machine::policy::{self, Decision, No};
use millet_machine::{Event, FailedBuild, Journal, Machine, Plan, Source, State};

use crate::boot_control::BootControl;
use crate::device::Device;
use crate::error::Error;
use crate::repository::Look;
use crate::screen::Screen;
use crate::state::{Kept, Lock, Phase};

/// How old a look may be for the next step of the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// The repository is asked now.
    New,
    /// It was asked within the last minute, for this very step.
    Minute,
}

/// The one agent of a device: it holds the lock, the machine, and runs the machine's effects.
pub struct Agent {
    pub(crate) device: Device,
    pub(crate) machine: Machine,
    pub(crate) look: Option<Look>,
    pub(crate) screen: Arc<dyn Screen>,
    pub(crate) boot: Box<dyn BootControl>,
    pub(crate) kept: Kept,
    pub(crate) seed: [u8; 32],
    pub(crate) identified: bool,
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
            // Found out here and not at the start: what was begun is finished, or left again, by what there is.
            if let Err(error) = self.device.config.check_programs() {
                self.flush_reports().await;
                return Err(error);
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
        self.device.config.check_programs()?;
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
