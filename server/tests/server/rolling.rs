use jiff::SignedDuration;
use millet_payload::{Head, Image};
use millet_protocol::api::{ChangeRollout, JobState, Jobs, RolloutStage, RolloutStatus, StartRollout};
use millet_protocol::{DeltaCustom, Outcome, RolloutDocument, RolloutState, targets};
use millet_signing::{Files, Verified};

use crate::engineer::{Engineer, build, images, model, name, sha256};
use crate::listening::report;
use crate::world::{Answer, World};

const ROLLOUT: &str = "/models/rubik/channels/beta/rollout";

fn start(world: &World, week: u8, over_seconds: u64) -> Answer {
    let request = StartRollout {
        build: name(week),
        over_seconds: Some(over_seconds),
        polls_seconds: Some(60),
    };
    world.post(ROLLOUT, &request)
}

fn change(world: &World, verb: &str) -> Answer {
    change_of(world, verb, None)
}

fn change_of(world: &World, verb: &str, week: Option<u8>) -> Answer {
    let request = ChangeRollout {
        build: week.map(name),
        reason: Some("we look into it".to_owned()),
    };
    world.post(&format!("{ROLLOUT}/{verb}"), &request)
}

fn status(world: &World) -> RolloutStatus {
    world.get(&format!("/api/v1{ROLLOUT}")).json()
}

fn document(world: &World, verified: &Verified) -> RolloutDocument {
    let path = targets::rollout(&model(), &"beta".parse().unwrap());
    let document: RolloutDocument = serde_json::from_slice(&world.target(verified, &path)).unwrap();
    document.validate().unwrap();
    document
}

#[test]
fn a_delta_makes_the_build_that_was_signed() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    let published = engineer.release(&world, 47, &["beta"]);
    assert_eq!(published.delta_jobs.len(), 1);
    assert!(world.work());
    assert!(!world.work());

    let verified = world.refresh(&engineer.shipped, Files::new());
    let path = targets::delta_payload(&model(), &name(46), &name(47));
    let delta = world.target(&verified, &path);
    let custom = verified.set.target(&path).unwrap().custom.clone().unwrap();
    let custom: DeltaCustom = serde_json::from_value(custom).unwrap();
    let head_size = usize::try_from(custom.metadata_size).unwrap();
    assert_eq!(custom.metadata_sha256, sha256(&delta[..head_size]));
    let head = Head::parse(&delta[..head_size]).unwrap();
    assert!(head.is_delta());
    let (manifest, full) = build(47, &["beta"]);
    head.check_against(&manifest.partitions).unwrap();
    assert!(delta.len() < full.len() / 4, "{} of {}", delta.len(), full.len());

    let old = images(46);
    let old: Vec<_> = old
        .iter()
        .map(|(name, bytes)| Image {
            name: name.clone(),
            bytes,
        })
        .collect();
    let scratch = tempfile::tempdir().unwrap();
    let blobs = usize::try_from(head.blobs_offset()).unwrap();
    millet_payload::verify(&head, &mut &delta[blobs..], &old, scratch.path(), &mut |_| ()).unwrap();

    let jobs: Jobs = world.get("/api/v1/jobs").json();
    assert_eq!(
        (jobs.jobs[0].state, jobs.jobs[0].size),
        (JobState::Done, Some(delta.len() as u64))
    );
    assert_eq!(std::fs::read_dir(world.data().join("work")).unwrap().count(), 0);
}

#[test]
fn a_rollout_waits_for_its_delta() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    engineer.release(&world, 47, &["beta"]);
    let asked: RolloutStatus = start(&world, 47, 0).json();
    assert_eq!((asked.stage, asked.document), (RolloutStage::Approved, None));
    assert_eq!(
        asked.waiting_for.as_deref(),
        Some("the delta from V6.11.46 to V6.11.47")
    );
    world.tick();
    let before = world.refresh(&engineer.shipped, Files::new());
    assert!(before.set.target("rubik/rollouts/beta.json").is_none());

    assert!(world.work());
    world.tick();
    assert_eq!(status(&world).stage, RolloutStage::Open(RolloutState::Running));
    let after = world.refresh(&engineer.shipped, before.files);
    let shown = document(&world, &after);
    assert_eq!(
        (shown.build, shown.ramp.len(), shown.ramp[0].percent),
        (name(47), 1, 100.0)
    );
    assert!(
        after
            .set
            .target(&targets::delta_payload(&model(), &name(46), &name(47)))
            .is_some()
    );
    // Asking again is harmless.
    assert_eq!(start(&world, 47, 0).status, 200);
    assert_eq!(start(&world, 46, 0).problem(), "older-build");
    assert_eq!(start(&world, 48, 0).problem(), "no-build");
}

#[test]
fn a_delta_that_cannot_be_made_does_not_stop_the_rollout() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    let (_, payload) = build(46, &["beta"]);
    engineer.release(&world, 47, &["beta"]);
    // The disk lost a payload.
    let lost = sha256(&payload).to_string();
    std::fs::remove_file(world.data().join("objects/blobs").join(&lost[..2]).join(&lost)).unwrap();
    start(&world, 47, 0);
    for wait in [31, 61, 121] {
        assert!(world.work());
        assert!(!world.work());
        world.pass(SignedDuration::from_secs(wait));
    }
    let jobs: Jobs = world.get("/api/v1/jobs").json();
    assert_eq!(jobs.jobs[0].state, JobState::Failed);
    assert!(
        jobs.jobs[0]
            .error
            .as_deref()
            .unwrap()
            .contains("there is no object"),
        "{jobs:?}"
    );
    world.tick();
    assert_eq!(status(&world).stage, RolloutStage::Open(RolloutState::Running));
}

#[test]
fn trouble_of_the_machine_does_not_cost_a_delta() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    engineer.release(&world, 47, &["beta"]);
    std::fs::remove_dir(world.data().join("work")).unwrap();
    for wait in [31, 61, 121, 241, 481] {
        assert!(world.work());
        assert!(!world.work());
        world.pass(SignedDuration::from_secs(wait));
    }
    let jobs: Jobs = world.get("/api/v1/jobs").json();
    assert_eq!(jobs.jobs[0].state, JobState::Queued);
    std::fs::create_dir(world.data().join("work")).unwrap();
    assert!(world.work());
    let jobs: Jobs = world.get("/api/v1/jobs").json();
    assert_eq!(jobs.jobs[0].state, JobState::Done);
}

#[test]
fn a_ramp_rises_pauses_goes_on_and_ends() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let opened: RolloutStatus = start(&world, 47, 1200).json();
    let ramp = opened.document.unwrap().ramp;
    assert_eq!(
        ramp.iter().map(|point| point.percent).collect::<Vec<_>>(),
        [0.0, 2.0]
    );
    assert_eq!(opened.next.unwrap().percent, 10.0);

    world.pass(SignedDuration::from_secs(50));
    let paused: RolloutStatus = change(&world, "pause").json();
    let shown = document(&world, &world.refresh(&engineer.shipped, Files::new()));
    assert_eq!(
        (shown.state, shown.reason.as_deref()),
        (RolloutState::Paused, Some("we look into it"))
    );
    assert_eq!(shown.ramp.last().unwrap().percent, 1.0);
    assert_eq!(paused.stage, RolloutStage::Open(RolloutState::Paused));
    world.pass(SignedDuration::from_hours(5));
    world.tick();
    assert_eq!(status(&world).document.unwrap().ramp, shown.ramp);

    let resumed: RolloutStatus = change(&world, "resume").json();
    let ramp = resumed.document.unwrap().ramp;
    assert_eq!(
        ramp.last().unwrap().at,
        world.now().checked_add(SignedDuration::from_secs(50)).unwrap()
    );
    for _ in 0..130 {
        world.pass(SignedDuration::from_secs(10));
        world.tick();
    }
    assert_eq!(
        status(&world).document.unwrap().ramp.last().unwrap().percent,
        100.0
    );
    world.pass(SignedDuration::from_hours(8 * 24));
    world.tick();
    assert_eq!(status(&world).stage, RolloutStage::Open(RolloutState::Complete));
    assert_eq!(change(&world, "pause").problem(), "rollout-state");
}

#[test]
fn bad_news_halts_for_good() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    start(&world, 47, 0);
    for device in 0..3 {
        assert_eq!(
            world
                .post_as("", "/reports", &report(device, Outcome::RolledBack))
                .status,
            202
        );
    }
    world.tick();
    let shown = document(&world, &world.refresh(&engineer.shipped, Files::new()));
    assert_eq!(shown.state, RolloutState::Halted);
    assert_eq!(
        shown.reason.as_deref(),
        Some("3 of 3 devices booted it and went back")
    );
    assert_eq!(start(&world, 47, 0).problem(), "halted");
    assert_eq!(change(&world, "resume").problem(), "rollout-state");
    // The next build is another matter; and the halted one may be dropped once it is no longer shown.
    engineer.release(&world, 48, &["beta"]);
    assert!(world.work());
    let next: RolloutStatus = start(&world, 48, 0).json();
    assert_eq!(next.stage, RolloutStage::Open(RolloutState::Running));
}

#[test]
fn what_was_said_before_the_rollout_says_nothing_of_it() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    for device in 0..3 {
        world.post_as("", "/reports", &report(device, Outcome::RolledBack));
    }
    world.pass(SignedDuration::from_secs(1));
    assert_eq!(start(&world, 47, 0).json::<RolloutStatus>().outcomes, [].into());
    world.tick();
    assert_eq!(status(&world).stage, RolloutStage::Open(RolloutState::Running));
    // A device that has said more since is heard.
    world.post_as("", "/reports", &report(1, Outcome::Confirmed));
    assert_eq!(status(&world).outcomes, [(Outcome::Confirmed, 1)].into());
}

#[test]
fn what_is_asked_for_can_be_called_off_and_asked_for_again() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    start(&world, 46, 0);
    engineer.release(&world, 47, &["beta"]);
    start(&world, 47, 0);
    let halted: RolloutStatus = change_of(&world, "halt", Some(47)).json();
    assert_eq!(
        (halted.build, halted.stage),
        (name(47), RolloutStage::Open(RolloutState::Halted))
    );
    // Devices still see the build before it, undisturbed.
    let shown = document(&world, &world.refresh(&engineer.shipped, Files::new()));
    assert_eq!((shown.build, shown.state), (name(46), RolloutState::Running));
    assert_eq!(status(&world).build, name(46));
    assert_eq!(
        start(&world, 47, 0).json::<RolloutStatus>().stage,
        RolloutStage::Approved
    );
    // What a rollout offers cannot be dropped.
    engineer
        .builds
        .targets
        .retain(|path, _| !path.contains("V6.11.46"));
    assert_eq!(engineer.publish_builds(&world).problem(), "on-offer");
}

#[test]
fn what_devices_see_can_be_stopped_while_another_build_waits() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    start(&world, 46, 0);
    engineer.release(&world, 47, &["beta"]);
    start(&world, 47, 0);
    let seen = || {
        let shown = document(&world, &world.refresh(&engineer.shipped, Files::new()));
        (shown.build, shown.state)
    };
    // Nobody guesses which one is meant.
    for verb in ["pause", "resume", "halt"] {
        assert_eq!(change(&world, verb).problem(), "two-rollouts");
    }
    assert_eq!(seen(), (name(46), RolloutState::Running));
    let paused: RolloutStatus = change_of(&world, "pause", Some(46)).json();
    assert_eq!(paused.build, name(46));
    assert_eq!(seen(), (name(46), RolloutState::Paused));
    let halted: RolloutStatus = change_of(&world, "halt", Some(46)).json();
    assert_eq!(halted.build, name(46));
    assert_eq!(seen(), (name(46), RolloutState::Halted));
    // The one that waits is perhaps what mends it: it goes on waiting until it is called off as well.
    assert_eq!(status(&world).stage, RolloutStage::Approved);
    let halted: RolloutStatus = change(&world, "halt").json();
    assert_eq!(halted.build, name(47));
    assert_eq!(change_of(&world, "halt", Some(45)).problem(), "no-rollout");
}

#[test]
fn a_channel_that_the_signers_did_not_allow() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let request = StartRollout {
        build: name(47),
        over_seconds: None,
        polls_seconds: Some(0),
    };
    let stable = world.post("/models/rubik/channels/stable/rollout", &request);
    assert_eq!(stable.problem(), "channel-not-allowed");
    assert_eq!(world.post(ROLLOUT, &request).problem(), "rollout");
}

#[test]
fn a_restart_keeps_everything_and_takes_the_job_again() {
    let mut world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    engineer.release(&world, 47, &["beta"]);
    start(&world, 47, 0);
    let before = world.refresh(&engineer.shipped, Files::new());
    let token = world.token.clone();
    // A worker takes the job and is never heard of again.
    let server = world.server();
    world.block_on(async move {
        let (worker, now) = (server.worker(), server.state().clock.now());
        let until = now.checked_add(SignedDuration::from_hours(1)).unwrap();
        let job = worker.store.take_job(&worker.holder, now, until).await.unwrap();
        assert_eq!(job.unwrap().key.to, name(47));
        // Somebody else does not get it before its time.
        assert!(
            worker
                .store
                .take_job("another", now, until)
                .await
                .unwrap()
                .is_none()
        );
    });
    std::fs::write(world.data().join("work/half a delta"), "x").unwrap();

    world.restart();
    assert_eq!(world.token, token);
    assert_eq!(std::fs::read_dir(world.data().join("work")).unwrap().count(), 0);
    assert!(world.work());
    world.tick();
    let after = world.refresh(&engineer.shipped, before.files);
    assert_eq!(document(&world, &after).build, name(47));
    engineer.release(&world, 48, &["beta"]);
    world.refresh(&engineer.shipped, after.files);
}

#[test]
fn eight_days_later_the_signatures_are_new() {
    let mut world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    start(&world, 47, 0);
    let before = world.refresh(&engineer.shipped, Files::new());
    assert_eq!(world.renew(), [""; 0]);
    // While it runs: every half a day, long before the old ones expire.
    for _ in 0..30 {
        world.pass(SignedDuration::from_hours(13));
        world.refresh(&engineer.shipped, before.files.clone());
        assert!(world.renew().contains(&"timestamp".to_owned()));
    }
    // After a long sleep: at once.
    world.stop();
    world.pass(SignedDuration::from_hours(8 * 24));
    world.start();
    let after = world.refresh(&engineer.shipped, before.files);
    assert_eq!(document(&world, &after).build, name(47));
}

#[test]
fn what_was_dated_by_a_clock_that_ran_ahead_is_signed_anew() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let ahead = SignedDuration::from_hours(300 * 24);
    world.pass(ahead);
    assert!(world.renew().contains(&"timestamp".to_owned()));
    world.pass(-ahead);
    assert!(world.renew().contains(&"timestamp".to_owned()));
    assert_eq!(world.renew(), [""; 0]);
}

#[test]
fn a_device_can_refresh_at_every_moment() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    let mut files = world.refresh(&engineer.shipped, Files::new()).files;
    let mut look = |engineer: &Engineer| {
        files = world.refresh(&engineer.shipped, files.clone()).files;
        world.refresh(&engineer.shipped, Files::new());
    };
    for week in 40..44 {
        engineer.release(&world, week, &["beta"]);
        look(&engineer);
        start(&world, week, 60);
        look(&engineer);
        world.work();
        look(&engineer);
        for _ in 0..8 {
            world.tick();
            look(&engineer);
            world.pass(SignedDuration::from_secs(10));
        }
        change(&world, "pause");
        look(&engineer);
        change(&world, "halt");
        look(&engineer);
        world.pass(SignedDuration::from_hours(20));
        world.renew();
        look(&engineer);
    }
}
