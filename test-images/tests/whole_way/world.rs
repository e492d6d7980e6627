use std::path::{Path, PathBuf};
use std::process::Command;

use millet_protocol::{PayloadKind, Slot};
use millet_test_images::fleet::{Programs, Publish, ServerProcess, TestDevice, Workshop, run};
use tempfile::TempDir;

pub const MODEL: &str = "rubik";
pub const CHANNEL: &str = "beta";

/// A server, a workshop and a device with a factory image, in a folder that goes with the test.
pub struct World {
    pub folder: TempDir,
    pub programs: Programs,
    pub server: ServerProcess,
    pub workshop: Workshop,
    pub device: TestDevice,
}

impl World {
    pub fn new() -> Self {
        let programs = Programs::build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = ServerProcess::start(&programs, &folder.path().join("server"), "127.0.0.1:0").unwrap();
        let workshop =
            Workshop::create(&programs, &folder.path().join("workshop"), &server, MODEL, false).unwrap();
        let factory = images(&programs, folder.path(), 0);
        let device = TestDevice::create(&programs, &folder.path().join("device"), &factory).unwrap();
        device
            .configure(&server.url(), &workshop.first_root(), MODEL, CHANNEL)
            .unwrap();
        Self {
            folder,
            programs,
            server,
            workshop,
            device,
        }
    }

    /// The folder of a week's images, made at the first call.
    pub fn images(&self, week: u32) -> PathBuf {
        images(&self.programs, self.folder.path(), week)
    }

    pub fn publish(&self, week: u32) -> String {
        let (build, images) = (build(week), self.images(week));
        self.workshop.publish(&weekly(&build, &images)).unwrap();
        build
    }

    /// Publishes a week's build and offers it to everyone.
    pub fn release(&self, week: u32) {
        let build = self.publish(week);
        self.workshop.roll_out(MODEL, CHANNEL, &build).unwrap();
    }

    /// Installs what is on offer, boots it, confirms it, checks every byte of the slot, and says which payload it was.
    pub fn update_to(&self, week: u32) -> PayloadKind {
        let installed = self.device.run_once(false).unwrap();
        assert_eq!(
            installed.status.code(),
            Some(11),
            "no reboot was asked for; phase {}",
            self.device.phase()
        );
        let payload = serde_json::from_value(self.status()["update"]["payload"].clone()).unwrap();
        let slot = self.device.boot().unwrap();
        assert_eq!(self.device.run_once(false).unwrap().status.code(), Some(0));
        self.assert_slot_holds(slot, week);
        assert_eq!(self.status()["running"], build(week));
        payload
    }

    pub fn assert_slot_holds(&self, slot: Slot, week: u32) {
        self.device.check_slot(slot, &self.images(week)).unwrap();
    }

    /// `millet-agent status --json` as text.
    pub fn status(&self) -> serde_json::Value {
        let said = run(&mut self.device.agent(&["status", "--json"]), false).unwrap();
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }
}

pub fn build(week: u32) -> String {
    format!("V6.11.{week}")
}

pub fn weekly<'a>(build: &'a str, images: &'a Path) -> Publish<'a> {
    Publish {
        model: MODEL,
        build,
        images,
        channel: CHANNEL,
        entries: &["night-mode=Night mode: The screen turns warm at sunset."],
        notes: "A week's work.",
    }
}

/// Week 0 is what a device left the factory with: another seed's images, which no build has.
fn images(programs: &Programs, folder: &Path, week: u32) -> PathBuf {
    let out = folder.join(format!("week{week}"));
    let (seed, week) = if week == 0 { ("8", 1) } else { ("7", week) };
    if !out.is_dir() {
        let week = week.to_string();
        let mut command: Command = programs.test_images();
        command
            .args([
                "synthetic",
                "--seed",
                seed,
                "--size",
                "6",
                "--week",
                &week,
                "--out",
            ])
            .arg(&out);
        run(&mut command, false).unwrap().success("synthetic").unwrap();
    }
    out
}
