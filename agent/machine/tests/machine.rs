//! Whatever happens, in whatever order, with power failing anywhere: the running slot is never written, a slot is made
//! active only after it was verified in the same boot, some whole slot always boots, and it always ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at its first surprise"
)]

use jiff::Timestamp;
use millet_machine::bootloader_control::BootloaderControl;
use millet_machine::{
    Boot, Effect, Event, Identity, Journal, Machine, Payload, Plan, Progress, Source, State, Update,
};
use millet_protocol::{
    Build, ErrorCode, Outcome, PartitionEntry, PayloadKind, PayloadRef, Sequence, Sha256Digest, Slot,
};
use proptest::prelude::*;

/// What a slot really holds.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    Whole(Build),
    Rubble,
}

/// A device with everything that survives a power cut, and what does not.
#[derive(Debug)]
struct World {
    slots: [Content; 2],
    block: BootloaderControl,
    journal: String,
    /// Builds that do not pass the health checks, and those that do not even start.
    sick: Vec<Build>,
    dead: Vec<Build>,
    verified_this_boot: [bool; 2],
    machine: Machine,
    rebooting: bool,
}

/// One thing that chance decides.
#[derive(Debug, Clone, Copy)]
enum Chance {
    /// The effect works as it should.
    Works,
    /// Power fails before the effect.
    CutBefore,
    /// Power fails after the effect, before the journal hears of it.
    CutAfter,
    /// Only the agent dies, before or after.
    KillBefore,
    KillAfter,
    /// The effect refuses, damages, or looks and finds a halt.
    Bad,
    /// Another build is offered.
    Other,
    /// Boot control is torn: the bootloader tries what it likes, and the agent writes it anew.
    Nothing,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        6 => Just(Chance::Works),
        1 => Just(Chance::CutBefore),
        1 => Just(Chance::CutAfter),
        1 => Just(Chance::KillBefore),
        1 => Just(Chance::KillAfter),
        1 => Just(Chance::Bad),
        1 => Just(Chance::Other),
        1 => Just(Chance::Nothing),
    ]
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_763_800_000 + second).unwrap()
}

fn identity(week: u64) -> Identity {
    let digest = Sha256Digest([u8::try_from(week).unwrap(); 32]);
    Identity {
        build: format!("V{week}").parse().unwrap(),
        sequence: Sequence(week),
        data_epoch: 1,
        floor: None,
        released: at(0),
        manifest: digest,
        partitions: vec![PartitionEntry {
            name: "system".parse().unwrap(),
            size: 4096,
            sha256: digest,
        }],
        payload: PayloadRef {
            path: format!("rubik/builds/V{week}.payload"),
            metadata_size: 100,
            metadata_sha256: digest,
        },
    }
}

fn plan(week: u64, kind: PayloadKind) -> Plan {
    let identity = identity(week);
    let payload = Payload {
        kind,
        ..identity.full()
    };
    Plan {
        identity,
        source: Source::Payload(payload),
        at: at(0),
    }
}

impl World {
    fn new() -> Self {
        let mut journal = Journal::new();
        journal.set_slot(Slot::A, Some(identity(1)));
        let boot = Boot {
            running: Slot::A,
            good: true,
            other_bootable: false,
            at: at(0),
        };
        Self {
            slots: [Content::Whole(identity(1).build), Content::Rubble],
            block: BootloaderControl::new(Slot::A),
            journal: serde_json::to_string(&journal).unwrap(),
            sick: Vec::new(),
            dead: Vec::new(),
            verified_this_boot: [false; 2],
            machine: Machine::start(journal, boot),
            rebooting: false,
        }
    }

    fn running(&self) -> Slot {
        self.machine.running()
    }

    fn build(&self, slot: Slot) -> Option<&Build> {
        match &self.slots[slot.index()] {
            Content::Whole(build) => Some(build),
            Content::Rubble => None,
        }
    }

    /// The bootloader chooses, counts, and tries again while what it started does not run.
    fn power_cycle(&mut self) {
        self.verified_this_boot = [false; 2];
        self.rebooting = false;
        let slot = loop {
            let slot = self.block.choice().expect("some slot is bootable");
            self.block.count_try(slot);
            let build = self.build(slot).expect("a slot that may boot is whole");
            if !self.dead.contains(build) {
                break slot;
            }
            assert!(!self.block.slot(slot).successful, "a dead build was marked good");
        };
        self.block.set_suffix(slot);
        self.start_agent(slot);
    }

    /// The agent starts from what is on the disk.
    fn start_agent(&mut self, running: Slot) {
        // The process is new: it has verified nothing, even when the machine did not boot.
        self.verified_this_boot = [false; 2];
        self.machine = Machine::start(serde_json::from_str(&self.journal).unwrap(), self.boot(running));
        self.save();
    }

    /// What boot control says while a slot runs.
    fn boot(&self, running: Slot) -> Boot {
        Boot {
            running,
            good: self.block.slot(running).successful,
            other_bootable: self.block.slot(running.other()).bootable(),
            at: at(0),
        }
    }

    fn save(&mut self) {
        self.journal = serde_json::to_string(self.machine.journal()).unwrap();
    }

    fn event(&mut self, event: Event) {
        self.machine = self.machine.clone().step(event);
        self.save();
    }

    /// Runs one effect as far as chance lets it.
    fn turn(&mut self, chance: Chance, week: u64) {
        let Some(effect) = self.machine.effect() else {
            match chance {
                Chance::Works | Chance::Bad if !self.machine.good() => self.event(Event::Settle),
                Chance::Works => self.event(Event::Begin(Box::new(plan(week, PayloadKind::Delta)))),
                Chance::Bad => self.event(Event::Begin(Box::new(plan(week, PayloadKind::Full)))),
                Chance::CutBefore | Chance::CutAfter => self.power_cycle(),
                Chance::KillBefore | Chance::KillAfter => self.start_agent(self.running()),
                Chance::Other | Chance::Nothing => {}
            }
            return;
        };
        match chance {
            Chance::CutBefore => return self.power_cycle(),
            Chance::KillBefore => return self.start_agent(self.running()),
            Chance::Nothing => return,
            _ => {}
        }
        let bad = matches!(chance, Chance::Bad);
        let event = self.run(effect, bad, matches!(chance, Chance::Other), week);
        match (chance, event) {
            (Chance::CutAfter, _) => self.power_cycle(),
            (Chance::KillAfter, _) => self.start_agent(self.running()),
            (_, Some(event)) => self.event(event),
            (_, None) => self.power_cycle(),
        }
    }

    fn run(&mut self, effect: Effect, bad: bool, other: bool, week: u64) -> Option<Event> {
        let event = match effect {
            Effect::CheckHealth => {
                let running = self.build(self.running()).unwrap();
                if self.sick.contains(running) {
                    Event::Unhealthy
                } else {
                    Event::Healthy
                }
            }
            Effect::Confirm { slot, retire, .. } => {
                assert_eq!(slot, self.running());
                assert!(
                    !self.sick.contains(self.build(slot).unwrap()),
                    "a sick build is confirmed"
                );
                self.block.mark_good(slot);
                if let Some(slot) = retire {
                    self.block.mark_unbootable(slot);
                }
                Event::Confirmed { at: at(0) }
            }
            Effect::MarkUnbootable(slot) => {
                assert_ne!(slot, self.running());
                self.block.mark_unbootable(slot);
                Event::MarkedUnbootable
            }
            Effect::Write { update, from } => self.write(&update, from, bad, other, week),
            Effect::Verify(update) => {
                if self.build(update.target) == Some(&update.identity.build) && !bad {
                    self.verified_this_boot[update.target.index()] = true;
                    Event::Verified
                } else {
                    Event::Refused(ErrorCode::HashMismatch)
                }
            }
            Effect::Look(_) if bad => Event::Halt,
            Effect::Look(update) if other && update.identity.build != identity(week).build => {
                Event::Begin(Box::new(plan(week, PayloadKind::Delta)))
            }
            Effect::Look(_) => Event::Go,
            Effect::SetActive(slot) => {
                assert!(
                    self.verified_this_boot[slot.index()],
                    "{slot} is made active unverified"
                );
                assert_ne!(slot, self.running());
                self.block.set_active(slot);
                Event::Activated
            }
            Effect::Reboot if bad => Event::RebootFailed,
            Effect::Reboot => return None,
            Effect::Return { to, from } => {
                assert!(self.block.slot(to).bootable() || to == self.running());
                self.block.restore(to);
                self.block.mark_unbootable(from);
                Event::Returned
            }
        };
        Some(event)
    }

    fn write(&mut self, update: &Update, from: Progress, bad: bool, other: bool, week: u64) -> Event {
        assert_ne!(update.target, self.running(), "the running slot is written");
        assert!(
            self.block.slot(self.running()).successful,
            "written without a way back"
        );
        assert!(
            !self.block.slot(update.target).bootable(),
            "a slot that may boot is written"
        );
        self.verified_this_boot[update.target.index()] = false;
        self.slots[update.target.index()] = Content::Rubble;
        if bad {
            return Event::Refused(ErrorCode::HashMismatch);
        }
        if other {
            return Event::Begin(Box::new(plan(week, PayloadKind::Full)));
        }
        if from.operation < 2 {
            return Event::Checkpoint(Progress {
                operation: from.operation + 1,
                blob_offset: 4096,
            });
        }
        self.slots[update.target.index()] = Content::Whole(update.identity.build.clone());
        Event::Written { at: at(60) }
    }

    /// From here on everything works: how many turns until nothing is under way.
    fn calm_down(&mut self) -> usize {
        for turn in 0..100 {
            if self.machine.effect().is_none() {
                if self.machine.good() {
                    return turn;
                }
                self.event(Event::Settle);
            } else {
                self.turn(Chance::Works, 9);
            }
        }
        panic!("it does not end: {:?}", self.machine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn safe_whatever_happens(
        turns in prop::collection::vec((chance(), 2..6_u64), 1..120),
        sick in prop::collection::vec(2..6_u64, 0..2),
        dead in prop::collection::vec(2..6_u64, 0..2),
    ) {
        let mut world = World::new();
        world.sick = sick.iter().map(|week| identity(*week).build).collect();
        world.dead = dead.iter().map(|week| identity(*week).build).collect();
        for (chance, week) in turns {
            world.turn(chance, week);
            let choice = world.block.choice();
            prop_assert!(choice.is_some_and(|slot| world.build(slot).is_some()), "{world:?}");
            let journal = world.machine.journal();
            prop_assert!(journal.outbox.len() <= Journal::LONGEST_OUTBOX);
            let seen = Machine::seen(journal.clone(), world.boot(world.running()));
            prop_assert_eq!(&seen, journal, "whoever looks sees what the agent of this boot does");
        }
        world.calm_down();
        let running = world.running();
        prop_assert!(world.block.slot(running).successful);
        prop_assert_eq!(world.block.choice(), Some(running));
        let identity = world.machine.journal().slot(running).map(|identity| &identity.build);
        prop_assert_eq!(identity, world.build(running), "it knows what it runs");
    }

    /// Events out of order: nothing but the state's own answer moves it.
    #[test]
    fn an_event_of_another_state_changes_nothing(turns in prop::collection::vec((chance(), 2..6_u64), 0..40)) {
        let mut world = World::new();
        for (chance, week) in turns {
            world.turn(chance, week);
        }
        let before = world.machine.clone();
        let stray: &[Event] = match before.journal().state {
            State::Writing { .. } => &[Event::Verified, Event::Activated, Event::Go, Event::Healthy, Event::Returned],
            State::Verifying { .. } => &[Event::Activated, Event::Go, Event::Written { at: at(0) }, Event::MarkedUnbootable],
            State::Idle => &[Event::Verified, Event::Activated, Event::Go, Event::Halt, Event::Returned, Event::Healthy],
            _ => &[Event::MarkedUnbootable, Event::Written { at: at(0) }],
        };
        for event in stray {
            if matches!((&before.journal().state, event), (State::Preparing { .. }, Event::MarkedUnbootable)) {
                continue;
            }
            prop_assert_eq!(&before.clone().step(event.clone()), &before);
        }
    }
}

fn drive(world: &mut World, week: u64) {
    world.event(Event::Begin(Box::new(plan(week, PayloadKind::Delta))));
    world.calm_down();
}

fn outcomes(world: &World) -> Vec<Outcome> {
    world
        .machine
        .journal()
        .outbox
        .iter()
        .map(|draft| draft.outcome)
        .collect()
}

#[test]
fn a_good_update_is_confirmed_and_reported() {
    let mut world = World::new();
    drive(&mut world, 2);
    assert_eq!(world.running(), Slot::B);
    assert_eq!(outcomes(&world), [Outcome::Trying, Outcome::Confirmed]);
    let sent = &world.machine.journal().outbox[1];
    assert_eq!(sent.from, Some("V1".parse().unwrap()));
    assert_eq!(sent.install_seconds, Some(60));
    assert!(world.machine.journal().confirmed_at(Slot::B).is_some());
}

#[test]
fn what_a_journal_promised_is_seen_to_have_come_true() {
    let mut world = World::new();
    world.event(Event::Begin(Box::new(plan(2, PayloadKind::Delta))));
    while !matches!(world.machine.journal().state, State::Rebooting { .. }) {
        world.turn(Chance::Works, 2);
    }
    let promised = world.machine.journal().clone();
    let trial = Machine::seen(promised.clone(), world.boot(Slot::B));
    assert!(matches!(trial.state, State::OnTrial { .. }), "{:?}", trial.state);
    assert_eq!(trial.slot(Slot::B), Some(&identity(2)));
    world.block.mark_unbootable(Slot::B);
    let back = Machine::seen(promised, world.boot(Slot::A));
    assert_eq!(back.failed.unwrap().error, Some(ErrorCode::NoBoot));
}

#[test]
fn a_sick_build_is_left_and_remembered() {
    let mut world = World::new();
    world.sick.push(identity(2).build);
    drive(&mut world, 2);
    assert_eq!(world.running(), Slot::A);
    assert_eq!(outcomes(&world), [Outcome::Trying, Outcome::RolledBack]);
    let failed = world.machine.journal().failed.clone().unwrap();
    assert_eq!(
        (failed.build.as_str(), failed.error),
        ("V2", Some(ErrorCode::Unhealthy))
    );
}

#[test]
fn a_bootloader_that_goes_back_by_itself_is_noticed() {
    let mut world = World::new();
    world.dead.push(identity(2).build);
    drive(&mut world, 2);
    assert_eq!(world.running(), Slot::A);
    assert_eq!(outcomes(&world), [Outcome::Trying, Outcome::RolledBack]);
    assert_eq!(
        world.machine.journal().failed.as_ref().unwrap().error,
        Some(ErrorCode::NoBoot)
    );
    drive(&mut world, 3);
    assert_eq!(world.running(), Slot::B);
    assert!(world.machine.journal().failed.is_none());
}

#[test]
fn a_halt_unstages() {
    let mut world = World::new();
    world.event(Event::Begin(Box::new(plan(2, PayloadKind::Full))));
    while !matches!(world.machine.journal().state, State::Staged { .. }) {
        world.turn(Chance::Works, 2);
    }
    assert_eq!(world.block.choice(), Some(Slot::B));
    world.turn(Chance::Bad, 2);
    world.calm_down();
    assert_eq!(world.block.choice(), Some(Slot::A));
    assert!(!world.block.slot(Slot::B).bootable());
}

#[test]
fn a_staged_build_is_replaced() {
    let mut world = World::new();
    world.event(Event::Begin(Box::new(plan(2, PayloadKind::Full))));
    while !matches!(world.machine.journal().state, State::Staged { .. }) {
        world.turn(Chance::Works, 2);
    }
    world.turn(Chance::Other, 3);
    world.calm_down();
    assert_eq!(world.build(world.running()), Some(&identity(3).build));
}

#[test]
fn a_delta_that_does_not_fit_gives_way_to_the_full_payload_and_that_is_tried_twice() {
    let mut world = World::new();
    world.event(Event::Begin(Box::new(plan(2, PayloadKind::Delta))));
    let kind = |world: &World| {
        world
            .machine
            .journal()
            .state
            .update()
            .and_then(Update::payload_kind)
    };
    for expected in [
        Some(PayloadKind::Delta),
        Some(PayloadKind::Full),
        Some(PayloadKind::Full),
    ] {
        assert_eq!(kind(&world), expected);
        world.turn(Chance::Works, 2);
        world.turn(Chance::Bad, 2);
    }
    world.calm_down();
    assert_eq!(world.running(), Slot::A);
    assert_eq!(
        world.machine.journal().failed.as_ref().unwrap().error,
        Some(ErrorCode::HashMismatch)
    );
    assert_eq!(outcomes(&world), [Outcome::Failed]);
}

#[test]
fn the_owner_goes_back_and_the_build_that_was_left_is_not_taken_again() {
    let mut world = World::new();
    drive(&mut world, 2);
    world.event(Event::Begin(Box::new(Plan {
        identity: identity(1),
        source: Source::OtherSlot,
        at: at(0),
    })));
    world.calm_down();
    assert_eq!(world.running(), Slot::A);
    let failed = world.machine.journal().failed.clone().unwrap();
    assert_eq!((failed.build, failed.error), (identity(2).build, None));
    // The owner's own step is nobody else's business.
    assert_eq!(outcomes(&world), [Outcome::Trying, Outcome::Confirmed]);
}

#[test]
fn a_floor_shuts_the_other_slot_out() {
    let mut world = World::new();
    let mut next = plan(2, PayloadKind::Full);
    next.identity.floor = Some(Sequence(2));
    world.event(Event::Begin(Box::new(next)));
    world.calm_down();
    assert_eq!(world.running(), Slot::B);
    assert!(!world.block.slot(Slot::A).bootable());
}

#[test]
fn a_slot_chosen_by_another_hand_is_not_written() {
    let mut world = World::new();
    world.event(Event::Begin(Box::new(plan(2, PayloadKind::Full))));
    world.turn(Chance::Works, 2);
    assert!(matches!(world.machine.journal().state, State::Writing { .. }));
    world.slots[1] = Content::Whole(identity(7).build);
    world.block.set_active(Slot::B);
    world.power_cycle();
    assert_eq!(world.running(), Slot::B);
    assert!(world.machine.journal().state.update().is_none());
    assert_eq!(world.machine.journal().slot(Slot::B), None);
}
