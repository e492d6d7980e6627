//! The real process, killed without warning again and again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millet_protocol::api::{Builds, JobState, Jobs, RolloutStage, RolloutStatus, StartRollout};
use millet_protocol::{RolloutState, targets};
use millet_signing::Files;

use crate::engineer::{Engineer, build, model, name};
use crate::world::World;

struct Process(Child);

impl Process {
    fn start(data: &Path) -> (Self, World) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_millet-server"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let base = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        // The pipe is read on, or the server would block when it is full.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(data.join("publish.token")).unwrap();
        let world = World::client(base.unwrap(), token.trim().to_owned());
        (Self(child), world)
    }
}

/// What one pass got done before the process died; nothing when it lived to the end.
fn pass(world: &World, engineer: &Engineer, week: u8) -> Option<&'static str> {
    let (manifest, payload) = build(week, &["beta"]);
    let document = serde_json::to_vec(&manifest).unwrap();
    for bytes in [payload, document] {
        if !matches!(
            world.put_blob(crate::engineer::sha256(&bytes), &bytes).status,
            200 | 201
        ) {
            return Some("uploading");
        }
    }
    if engineer
        .publish(world, &["root", "targets", "builds.rubik"])
        .status
        != 200
    {
        return Some("publishing");
    }
    let start = StartRollout {
        build: name(week),
        over_seconds: Some(0),
        polls_seconds: None,
    };
    let rollout = "/models/rubik/channels/beta/rollout";
    if world.post(rollout, &start).status != 200 {
        return Some("starting the rollout");
    }
    for _ in 0..3000 {
        let answer = world.get(&format!("/api/v1{rollout}"));
        if answer.status != 200 {
            return Some("making the delta");
        }
        let status: RolloutStatus = answer.json();
        if status.build == name(week) && status.stage == RolloutStage::Open(RolloutState::Running) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the rollout of week {week} never opened");
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let seed = 20_261_120_u64;
    let mut state = seed;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (Process(mut child), world) = Process::start(&data);
    let mut engineer = Engineer::begin(&world);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut files = Files::new();
    let mut died = Vec::new();
    let weeks = 40..44;
    for week in weeks.clone() {
        let mut listed = false;
        for attempt in 0.. {
            let (Process(mut child), world) = Process::start(&data);
            files = world.refresh(&engineer.shipped, files).files;
            if !listed {
                let (manifest, payload) = build(week, &["beta"]);
                engineer.list(&world, &manifest, &payload);
                listed = true;
            }
            // After some deaths it may live, so that the test ends.
            let time = if attempt < 5 { random(800) } else { 120_000 };
            let id = child.id();
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let killer = std::thread::spawn(move || {
                let late = receiver.recv_timeout(Duration::from_millis(time)).is_err();
                if late {
                    child.kill().unwrap();
                }
                (child, late)
            });
            let outcome = pass(&world, &engineer, week);
            sender.send(()).ok();
            let (mut child, killed) = killer.join().unwrap();
            if !killed {
                assert_eq!(outcome, None);
                files = world.refresh(&engineer.shipped, files).files;
                terminate(&mut child, id);
                break;
            }
            child.wait().unwrap();
            died.push(outcome.unwrap_or("resting"));
        }
    }
    println!("seed {seed}: died while {died:?}");
    assert!(died.len() >= 4, "{died:?}");

    let (mut process, world) = Process::start(&data);
    let verified = world.refresh(&engineer.shipped, files);
    let builds: Builds = world.get("/api/v1/models/rubik/builds").json();
    assert_eq!(builds.builds.len(), weeks.len());
    let jobs: Jobs = world.get("/api/v1/jobs").json();
    assert!(
        jobs.jobs.iter().all(|job| job.state == JobState::Done),
        "{jobs:?}"
    );
    for pair in weeks.collect::<Vec<_>>().windows(2) {
        world.target(
            &verified,
            &targets::delta_payload(&model(), &name(pair[0]), &name(pair[1])),
        );
    }
    let id = process.0.id();
    terminate(&mut process.0, id);
}

/// SIGTERM is a farewell: exit code 0.
fn terminate(child: &mut Child, id: u32) {
    let killed = Command::new("kill").arg(id.to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
