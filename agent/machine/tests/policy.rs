//! May this build be taken: one test for each reason, and the way past it.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

use jiff::{SignedDuration, Timestamp};
use millet_machine::policy::{
    Decision, Device, Floors, Look, No, Offer, OfferedBuild, Reason, decide, look, may_return_to,
};
use millet_machine::{Boot, Event, FailedBuild, Identity, Journal, Machine, Payload, Plan, Source, Update};
use millet_protocol::{
    Build, BuildManifest, Channel, FORMAT, Model, PartitionEntry, PayloadKind, PayloadRef, RampPoint,
    Requires, RolloutDocument, RolloutState, Sequence, Sha256Digest, Slot,
};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn build(week: u64) -> Build {
    format!("V{week}").parse().unwrap()
}

fn offered(week: u64) -> OfferedBuild {
    let digest = Sha256Digest([u8::try_from(week).unwrap(); 32]);
    OfferedBuild {
        manifest: BuildManifest {
            format: FORMAT,
            model: "rubik".parse().unwrap(),
            build: build(week),
            sequence: Sequence(week),
            train: "2026-W47".parse().unwrap(),
            data_epoch: 1,
            channels: vec!["beta".parse().unwrap()],
            released: now(),
            security_patch: "2026-11-05".parse().unwrap(),
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
            floor: None,
            requires: None,
            notes: std::collections::BTreeMap::new(),
            entries: Vec::new(),
            known_issues: Vec::new(),
        },
        sha256: digest,
        delta: None,
    }
}

fn identity(week: u64) -> Identity {
    let offered = offered(week);
    Identity::new(&offered.manifest, offered.sha256)
}

/// A device on build 1 and build 5 offered to everybody: each test changes one thing.
struct Case {
    model: Model,
    channel: Channel,
    running: Option<Identity>,
    good: bool,
    floors: Floors,
    failed: Option<FailedBuild>,
    full_only: Option<Build>,
    rollout: RolloutDocument,
    builds: Vec<OfferedBuild>,
    looked_at: Timestamp,
    skip_wave: bool,
}

impl Case {
    fn new() -> Self {
        Self {
            model: "rubik".parse().unwrap(),
            channel: "beta".parse().unwrap(),
            running: Some(identity(1)),
            good: true,
            floors: Floors::default(),
            failed: None,
            full_only: None,
            rollout: RolloutDocument {
                format: FORMAT,
                model: "rubik".parse().unwrap(),
                channel: "beta".parse().unwrap(),
                build: build(5),
                sequence: Sequence(5),
                state: RolloutState::Running,
                reason: None,
                ramp: vec![RampPoint {
                    at: now(),
                    percent: 100.0,
                }],
                pilot: None,
                stones: Vec::new(),
                polls_seconds: 600,
            },
            builds: vec![offered(5)],
            looked_at: now(),
            skip_wave: false,
        }
    }

    fn device(&self) -> Device<'_> {
        Device {
            model: &self.model,
            channel: &self.channel,
            running: self.running.as_ref(),
            good: self.good,
            floors: self.floors,
            failed: self.failed.as_ref(),
            full_only: self.full_only.as_ref(),
            seed: &[3; 32],
        }
    }

    fn offer(&self) -> Offer<'_> {
        Offer {
            rollout: &self.rollout,
            builds: &self.builds,
            looked_at: self.looked_at,
        }
    }

    fn plan(&self) -> Plan {
        match decide(&self.device(), &self.offer(), now(), self.skip_wave) {
            Decision::Take(plan) => plan,
            Decision::No(no) => panic!("{}", no.reason),
        }
    }

    fn no(&self) -> No {
        match decide(&self.device(), &self.offer(), now(), self.skip_wave) {
            Decision::No(no) => no,
            Decision::Take(plan) => panic!("takes {}", plan.identity.build),
        }
    }

    fn look(&self, week: u64) -> Look {
        look(&underway(week), &self.device(), &self.offer(), now())
    }
}

fn underway(week: u64) -> Update {
    let boot = Boot {
        running: Slot::A,
        good: true,
        other_bootable: false,
        at: now(),
    };
    let identity = identity(week);
    let source = Source::Payload(identity.full());
    let machine = Machine::start(Journal::new(), boot).step(Event::Begin(Box::new(Plan {
        identity,
        source,
        at: now(),
    })));
    machine.journal().state.update().unwrap().clone()
}

fn delta(week: u64) -> Payload {
    Payload {
        kind: PayloadKind::Delta,
        path: format!("rubik/deltas/V1-V{week}.payload"),
        metadata_size: 50,
        metadata_sha256: Sha256Digest([9; 32]),
    }
}

fn kind(plan: &Plan) -> PayloadKind {
    match &plan.source {
        Source::Payload(payload) => payload.kind,
        Source::OtherSlot => panic!("nothing to write"),
    }
}

#[test]
fn takes_what_is_offered() {
    assert_eq!(Case::new().plan().identity, identity(5));
}

#[test]
fn only_upward() {
    let mut case = Case::new();
    case.running = Some(identity(5));
    assert_eq!(case.no().reason, Reason::UpToDate(build(5)));
    case.running = Some(identity(6));
    assert!(matches!(case.no().reason, Reason::Older { .. }));
    case.skip_wave = true;
    assert!(matches!(case.no().reason, Reason::Older { .. }));
}

#[test]
fn the_signers_choose_the_channels() {
    let mut case = Case::new();
    case.builds[0].manifest.channels = vec!["stable".parse().unwrap()];
    assert!(matches!(case.no().reason, Reason::ChannelNotAllowed { .. }));
}

#[test]
fn documents_must_agree() {
    let mut case = Case::new();
    case.rollout.sequence = Sequence(6);
    assert!(matches!(case.no().reason, Reason::Contradiction(_)));
    let mut case = Case::new();
    case.builds.clear();
    assert!(matches!(case.no().reason, Reason::Contradiction(_)));
    let mut case = Case::new();
    case.rollout.channel = "stable".parse().unwrap();
    assert!(matches!(case.no().reason, Reason::Contradiction(_)));
    let mut case = Case::new();
    case.builds[0].manifest.model = "other".parse().unwrap();
    assert!(matches!(case.no().reason, Reason::Contradiction(_)));
}

#[test]
fn floors_hold_even_when_what_runs_is_unknown() {
    let mut case = Case::new();
    case.running = None;
    case.floors.sequence = Some(Sequence(6));
    assert!(matches!(case.no().reason, Reason::BelowFloor { .. }));
    case.floors.sequence = Some(Sequence(5));
    assert_eq!(case.plan().identity.build, build(5));
    case.floors.data_epoch = Some(2);
    assert!(matches!(
        case.no().reason,
        Reason::DataEpoch {
            offered: 1,
            device: 2
        }
    ));
}

#[test]
fn user_data_never_goes_back() {
    let mut case = Case::new();
    case.running.as_mut().unwrap().data_epoch = 2;
    assert!(matches!(case.no().reason, Reason::DataEpoch { .. }));
    let below = Floors {
        sequence: None,
        data_epoch: Some(2),
    };
    assert!(may_return_to(&identity(4), below).is_err());
    assert!(may_return_to(&identity(4), Floors::default()).is_ok());
}

#[test]
fn far_behind_goes_over_the_lowest_stone() {
    let mut case = Case::new();
    case.builds[0].manifest.requires = Some(Requires {
        min_sequence: Sequence(4),
    });
    assert!(matches!(case.no().reason, Reason::Requires { .. }));
    case.rollout.stones = vec![build(3), build(4)];
    let mut four = offered(4);
    four.manifest.requires = Some(Requires {
        min_sequence: Sequence(3),
    });
    case.builds.extend([four, offered(3)]);
    assert_eq!(case.plan().identity.build, build(3));
    case.running = Some(identity(3));
    assert_eq!(case.plan().identity.build, build(4));
    case.running = Some(identity(4));
    assert_eq!(case.plan().identity.build, build(5));
    case.running = None;
    assert_eq!(case.plan().identity.build, build(3));
}

#[test]
fn a_failed_build_waits_for_another() {
    let mut case = Case::new();
    case.failed = Some(FailedBuild {
        build: build(5),
        error: None,
    });
    assert!(matches!(case.no().reason, Reason::Failed(_)));
    case.skip_wave = true;
    assert!(matches!(case.no().reason, Reason::Failed(_)));
    case.failed.as_mut().unwrap().build = build(4);
    case.plan();
}

#[test]
fn nothing_without_a_way_back() {
    let mut case = Case::new();
    case.good = false;
    assert_eq!(case.no().reason, Reason::RunningNotGood);
}

#[test]
fn a_look_grows_stale_and_a_clock_that_went_back_makes_it_stale() {
    let mut case = Case::new();
    case.looked_at = now() - SignedDuration::from_hours(2);
    case.plan();
    case.looked_at = now() - SignedDuration::from_secs(7201);
    assert!(matches!(case.no().reason, Reason::Stale { .. }));
    assert!(matches!(case.look(5), Look::Hold(_)));
    case.looked_at = now() + SignedDuration::from_secs(1);
    assert!(matches!(case.no().reason, Reason::Stale { .. }));
}

#[test]
fn the_wave_says_when() {
    let mut case = Case::new();
    let (start, end) = (
        now() + SignedDuration::from_hours(1),
        now() + SignedDuration::from_hours(3),
    );
    case.rollout.ramp = vec![
        RampPoint {
            at: start,
            percent: 0.0,
        },
        RampPoint {
            at: end,
            percent: 100.0,
        },
    ];
    let no = case.no();
    assert!(no.until.is_some_and(|at| at > start && at <= end));
    assert!(no.reason.is_available());
    case.skip_wave = true;
    case.plan();
    case.skip_wave = false;
    case.rollout.state = RolloutState::Complete;
    case.plan();
}

#[test]
fn paused_starts_nothing_and_finishes_what_runs() {
    let mut case = Case::new();
    case.rollout.state = RolloutState::Paused;
    case.rollout.reason = Some("battery reports".to_owned());
    let no = case.no();
    assert_eq!(
        no.reason.to_string(),
        "the rollout of V5 is paused: battery reports"
    );
    assert_eq!(case.look(5), Look::Go);
    case.skip_wave = true;
    assert!(matches!(case.no().reason, Reason::Paused { .. }));
}

#[test]
fn halted_stops_what_runs() {
    let mut case = Case::new();
    case.rollout.state = RolloutState::Halted;
    assert!(matches!(case.no().reason, Reason::Halted { .. }));
    assert!(matches!(case.look(5), Look::Halt(_)));
    case.looked_at = now() - SignedDuration::from_hours(3);
    assert!(matches!(case.look(5), Look::Hold(_)));
}

#[test]
fn a_superseded_update_gives_way() {
    let mut case = Case::new();
    assert!(matches!(case.look(4), Look::Replace(plan) if plan.identity.build == build(5)));
    case.rollout.state = RolloutState::Paused;
    assert!(matches!(
        case.look(4),
        Look::Halt(No {
            reason: Reason::Superseded { .. },
            ..
        })
    ));
}

#[test]
fn a_promotion_under_way_changes_nothing_and_a_withdrawn_channel_does() {
    let mut case = Case::new();
    case.builds[0].sha256 = Sha256Digest([77; 32]);
    case.builds[0].manifest.channels.push("stable".parse().unwrap());
    assert_eq!(case.look(5), Look::Go);
    case.builds[0].manifest.channels = vec!["stable".parse().unwrap()];
    assert!(matches!(case.look(5), Look::Halt(_)));
}

#[test]
fn the_delta_where_it_fits() {
    let mut case = Case::new();
    assert_eq!(kind(&case.plan()), PayloadKind::Full);
    case.builds[0].delta = Some(delta(5));
    assert_eq!(kind(&case.plan()), PayloadKind::Delta);
    case.full_only = Some(build(5));
    assert_eq!(kind(&case.plan()), PayloadKind::Full);
    case.full_only = None;
    case.running = None;
    assert_eq!(kind(&case.plan()), PayloadKind::Full);
}
