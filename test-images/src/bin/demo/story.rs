use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millet_protocol::Slot;
use millet_protocol::api::Builds;
use millet_test_images::fleet::measure::{self, Cost};
use millet_test_images::fleet::{Programs, Publish, ServerProcess, TestDevice, Workshop, run};
use millet_test_images::output;

use crate::images::{self, Images};
use crate::{Arguments, Kind};

const MODEL: &str = "rubik";
const CHANNEL: &str = "beta";
const FIRST: &str = "V6.11.13";
const SECOND: &str = "V6.11.20";
const THIRD: &str = "V6.11.27";

/// What the story measured.
pub struct Outcome {
    /// Bytes of the images of one build.
    pub image_bytes: u64,
    /// Bytes of the second build's full payload.
    pub full_bytes: u64,
    /// Bytes of the delta from the first to the second.
    pub delta_bytes: u64,
    /// Publishing the second build: payload built, verified, signed, uploaded.
    pub publish: Duration,
    /// From asking for the rollout until devices could see it: the delta made and verified.
    pub delta_made: Duration,
    /// The agent's run that installed from the full payload.
    pub full_install: Cost,
    /// The agent's run that installed from the delta.
    pub delta_install: Cost,
    /// What was checked, in order, each a sentence.
    pub checked: Vec<String>,
}

/// Tells the whole story, and returns the server that is still up.
pub fn tell(arguments: &Arguments, dir: &Path) -> Result<(ServerProcess, Outcome)> {
    say("building the programs");
    let programs = Programs::build()?;
    say("making the images");
    let images = images::prepare(&programs, arguments, dir)?;
    say("starting millet-server");
    let server = ServerProcess::start(&programs, &dir.join("server"), &arguments.listen)?;
    say("making keys and the repository");
    let workshop = Workshop::create(&programs, &dir.join("workshop"), &server, MODEL, true)?;
    let device = TestDevice::create(&programs, &dir.join("device"), &images.factory)?;
    device.configure(&server.url(), &workshop.first_root(), MODEL, CHANNEL)?;
    run(&mut device.agent(&["privacy", "on", "reports"]), false)?.success("millet-agent privacy on")?;
    let mut told = Story {
        images,
        server,
        workshop,
        device,
        checked: Vec::new(),
    };
    let outcome = told.three_weeks(arguments)?;
    Ok((told.server, outcome))
}

struct Story {
    images: Images,
    server: ServerProcess,
    workshop: Workshop,
    device: TestDevice,
    checked: Vec<String>,
}

impl Story {
    fn three_weeks(&mut self, arguments: &Arguments) -> Result<Outcome> {
        let (first, second, broken) = (
            self.images.first.clone(),
            self.images.second.clone(),
            self.images.broken.clone(),
        );
        let notes = match arguments.images {
            Kind::Synthetic => "A synthetic week: binaries rebuilt, resources changed, files moved.",
            Kind::Debian => "Security updates of a real Debian week.",
        };

        say(&format!("week 1: {FIRST} is published and rolled out"));
        self.publish(
            FIRST,
            &first,
            notes,
            &["calls=Call log: Missed calls are grouped by caller."],
        )?;
        self.workshop.roll_out(MODEL, CHANNEL, FIRST)?;
        say("the device runs a factory image that nobody signed: a full payload");
        let full_install = self.install()?;
        self.boots_into(Slot::B, &first, FIRST)?;
        self.confirms(FIRST)?;

        say(&format!(
            "week 2: {SECOND} is published; the server makes the delta"
        ));
        let started = measure::now();
        self.publish(
            SECOND,
            &second,
            notes,
            &[
                "night-mode=Night mode: The screen turns warm at sunset.",
                "quiet-hours=Quiet hours: Calls from contacts ring twice before they are silenced.",
            ],
        )?;
        let publish = measure::now() - started;
        let started = measure::now();
        self.workshop.roll_out(MODEL, CHANNEL, SECOND)?;
        let delta_made = measure::now() - started;
        say("the device takes the delta");
        let delta_install = self.install()?;
        self.boots_into(Slot::A, &second, SECOND)?;
        self.confirms(SECOND)?;

        say(&format!("week 3: {THIRD} boots, but its health check fails"));
        self.publish(THIRD, &broken, notes, &[])?;
        self.workshop.roll_out(MODEL, CHANNEL, THIRD)?;
        self.install()?;
        ensure!(self.device.boot()? == Slot::B, "the device did not try {THIRD}");
        let trial = self.device.run_once(true)?;
        ensure!(
            trial.status.code() == Some(11),
            "the agent did not go back: {:?}",
            trial.status
        );
        self.boots_into(Slot::A, &second, SECOND)?;
        let settled = self.device.run_once(true)?;
        ensure!(
            settled.status.code() == Some(0),
            "the agent did not settle: {:?}",
            settled.status
        );
        self.checked.push(format!(
            "{THIRD} failed its health check; the device went back to {SECOND} by itself"
        ));

        self.workshop.millet(&[
            "rollout",
            "halt",
            "--yes",
            "--model",
            MODEL,
            "--channel",
            CHANNEL,
            "--reason",
            "It does not pass its health check.",
        ])?;

        say("the owner answers");
        let text = "Night mode is lovely; the clock widget jumps once at sunset.";
        run(&mut self.device.agent(&["feedback", text, "--yes"]), true)?.success("millet-agent feedback")?;
        run(&mut self.device.agent(&["vote", "night-mode", "--yes"]), true)?.success("millet-agent vote")?;
        self.page_shows(&[SECOND, "Night mode", text])?;

        let builds = format!("{}/api/v1/models/{MODEL}/builds", self.server.url());
        let builds: Builds = ureq::get(&builds)
            .call()
            .context("cannot list the builds")?
            .body_mut()
            .read_json()?;
        let summary = builds
            .builds
            .iter()
            .find(|summary| summary.build.as_str() == SECOND)
            .context("the server does not list the second build")?;
        let delta = summary.deltas.iter().find(|job| job.from.as_str() == FIRST);
        Ok(Outcome {
            image_bytes: folder_bytes(&second)?,
            full_bytes: summary.payload_size,
            delta_bytes: delta
                .and_then(|job| job.size)
                .context("the server lists no delta")?,
            publish,
            delta_made,
            full_install,
            delta_install,
            checked: std::mem::take(&mut self.checked),
        })
    }

    fn publish(&self, build: &str, images: &Path, notes: &str, entries: &[&str]) -> Result<()> {
        self.workshop.publish(&Publish {
            model: MODEL,
            build,
            images,
            channel: CHANNEL,
            entries,
            notes,
        })
    }

    fn install(&self) -> Result<Cost> {
        let cost = self.device.run_once(true)?;
        ensure!(
            cost.status.code() == Some(11),
            "the agent asked for no reboot: {:?}",
            cost.status
        );
        ensure!(
            self.device.reboot_requested(),
            "the agent's reboot command did not run"
        );
        Ok(cost)
    }

    fn boots_into(&mut self, slot: Slot, images: &Path, build: &str) -> Result<()> {
        let booted = self.device.boot()?;
        ensure!(booted == slot, "the device booted slot {booted}, not {slot}");
        let partitions = self.device.check_slot(slot, images)?;
        self.checked.push(format!(
            "slot {slot} runs {build}: the SHA-256 of {} equals the image's",
            partitions.join(", ")
        ));
        Ok(())
    }

    fn confirms(&mut self, build: &str) -> Result<()> {
        let cost = self.device.run_once(true)?;
        ensure!(
            cost.status.code() == Some(0),
            "{build} was not confirmed: {:?}",
            cost.status
        );
        self.checked
            .push(format!("{build} passed its health check and was confirmed"));
        Ok(())
    }

    fn page_shows(&mut self, texts: &[&str]) -> Result<()> {
        let page = ureq::get(format!("{}/", self.server.url()))
            .call()
            .context("cannot read the page")?
            .body_mut()
            .read_to_string()?;
        for text in texts {
            ensure!(page.contains(text), "the page does not show {text:?}");
        }
        self.checked
            .push("the page shows the build, its entries, the vote and the feedback".to_owned());
        Ok(())
    }
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "img")
        {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn say(what: &str) {
    output::say(format_args!("\n\x1b[1m▸ {what}\x1b[0m"));
}
