use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use millet_protocol::api::{JobState, Jobs};
use millet_protocol::{PayloadKind, Slot};
use millet_test_images::fleet::{Programs, ServerProcess, TestDevice};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::world::{CHANNEL, MODEL, World, build, weekly};

const AGENT_PHASES: [&str; 7] = [
    "checking",
    "downloading",
    "writing",
    "verifying",
    "switching",
    "rebooting",
    "on-trial",
];
const SERVER_PHASES: [&str; 2] = ["publishing", "delta job"];

/// Kills agents and the server at seeded random moments until every phase was hit; every round must end in a
/// confirmed boot of the build on offer, or of the one before it when the bootloader ran out of tries.
#[test]
fn kill_at_every_phase() {
    let seed = seed();
    println!("seed {seed}");
    let mut killer = Killer {
        random: ChaCha8Rng::seed_from_u64(seed),
        missing: BTreeSet::new(),
        round: 0,
        week: 1,
    };
    let mut world = World::new();
    killer.server_dies(&mut world);
    killer.agents_die(&world);
}

struct Killer {
    random: ChaCha8Rng,
    missing: BTreeSet<&'static str>,
    round: u32,
    week: u32,
}

impl Killer {
    fn server_dies(&mut self, world: &mut World) {
        world.release(1);
        world.update_to(1);
        self.missing = SERVER_PHASES.into();
        while !self.missing.is_empty() {
            self.next_round();
            self.week += 1;
            let week = self.week;
            let (name, images) = (build(week), world.images(week));
            let weekly = weekly(&name, &images);
            let mut publishing = world
                .workshop
                .publish_command(&weekly)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            if self.missing.contains("publishing") {
                let before = files(world.server.data());
                wait_until(|| files(world.server.data()) > before || ended(&mut publishing));
                self.pause(30_000);
                self.restart(&mut world.server, &world.programs);
                if !publishing.wait().unwrap().success() {
                    self.hit("publishing");
                }
                // The same command again finishes what was begun, or says that all of it is there.
                world.publish(week);
            } else {
                assert!(publishing.wait().unwrap().success());
                wait_until(|| matches!(job(world, week), Some(JobState::Running | JobState::Done)));
                self.pause(20_000);
                let running = job(world, week) == Some(JobState::Running);
                self.restart(&mut world.server, &world.programs);
                if running {
                    self.hit("delta job");
                }
            }
            world.workshop.roll_out(MODEL, CHANNEL, &name).unwrap();
            let payload = world.update_to(week);
            assert_eq!(
                payload,
                PayloadKind::Delta,
                "a job that was cut off must be done again"
            );
        }
    }

    fn agents_die(&mut self, world: &World) {
        // The server has published up to `week`; devices come from it to the next.
        let (older, newer) = (self.week, self.week + 1);
        world.release(newer);
        self.missing = AGENT_PHASES.into();
        while !self.missing.is_empty() {
            self.next_round();
            // By turns a device that nobody knows, which takes the full payload, and one that takes the delta.
            let runs = world.images(if self.round.is_multiple_of(2) { 0 } else { older });
            let folder = world.folder.path().join(format!("device{}", self.round));
            let device = TestDevice::create(&world.programs, &folder, &runs).unwrap();
            device
                .configure(&world.server.url(), &world.workshop.first_root(), MODEL, CHANNEL)
                .unwrap();
            let slot = self.survive(&device);
            device.check_slot(slot, &world.images(newer)).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// Lets one device update, killing it up to twice, and returns the slot that it confirmed.
    fn survive(&mut self, device: &TestDevice) -> Slot {
        let mut kills = 2;
        let mut slot = None;
        for _ in 0..20 {
            let mut agent = device.start_once(false).unwrap();
            if kills > 0 && self.strike(&mut agent, device) {
                kills -= 1;
                // A power cut starts the bootloader; a crash of the agent alone does not.
                if device.reboot_requested() || self.random.next_u32().is_multiple_of(2) {
                    slot = Some(device.boot().unwrap());
                }
                continue;
            }
            match agent.wait().unwrap().code() {
                Some(11) => slot = Some(device.boot().unwrap()),
                Some(0) => return slot.expect("the device confirmed without a boot"),
                code => panic!(
                    "the agent ended with {code:?} in phase {}\n{}",
                    device.phase(),
                    device.said()
                ),
            }
        }
        panic!("the device did not come to rest");
    }

    /// Kills the agent at a random moment, or, when the die alone takes long, in a phase that is still missing.
    fn strike(&mut self, agent: &mut Child, device: &TestDevice) -> bool {
        if self.round <= 6 {
            self.pause(400_000);
        } else {
            let missing: Vec<_> = self.missing.iter().copied().collect();
            let Some(wanted) = missing.get(self.random.next_u32() as usize % missing.len().max(1)) else {
                return false;
            };
            wait_until(|| device.phase() == *wanted || ended(agent));
            self.pause(1_500);
        }
        if ended(agent) {
            return false;
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        let phase = device.phase();
        println!("round {}: killed while {phase}", self.round);
        if let Some(known) = AGENT_PHASES.into_iter().find(|known| *known == phase) {
            self.missing.remove(known);
        }
        true
    }

    fn restart(&mut self, server: &mut ServerProcess, programs: &Programs) {
        server.kill().unwrap();
        let (data, address) = (server.data().to_owned(), server.address().to_owned());
        *server = ServerProcess::start(programs, &data, &address).unwrap();
    }

    fn hit(&mut self, phase: &'static str) {
        println!("round {}: killed while {phase}", self.round);
        self.missing.remove(phase);
    }

    fn next_round(&mut self) {
        self.round += 1;
        assert!(self.round <= 200, "200 rounds did not hit {:?}", self.missing);
    }

    fn pause(&mut self, at_most_micros: u64) {
        std::thread::sleep(Duration::from_micros(self.random.next_u64() % at_most_micros));
    }
}

fn job(world: &World, week: u32) -> Option<JobState> {
    let mut answer = ureq::get(format!("{}/api/v1/jobs", world.server.url()))
        .call()
        .ok()?;
    let jobs: Jobs = answer.body_mut().read_json().ok()?;
    jobs.jobs
        .iter()
        .find(|job| job.to.as_str() == build(week))
        .map(|job| job.state)
}

/// Files in the server's folder: one more means that an upload has begun.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn ended(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_some()
}

fn wait_until(mut ready: impl FnMut() -> bool) {
    for _ in 0..600_000 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("waited for a minute");
}

/// The seed of the run: `MILLET_KILL_SEED`, or a fixed one.
#[expect(clippy::disallowed_methods, reason = "a test's own configuration")]
fn seed() -> u64 {
    std::env::var("MILLET_KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(2026)
}
