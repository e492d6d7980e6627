use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Programs;
use super::measure::{self, Cost};
use crate::{bootloader, device, digest};
use millet_protocol::Slot;

/// A folder that behaves like a device with two slots, and the agent on it.
#[derive(Debug)]
pub struct TestDevice {
    programs: Programs,
    folder: PathBuf,
}

/// How much larger than its first image a partition is, in bytes: images grow from week to week.
const HEADROOM: u64 = 4 << 20;

impl TestDevice {
    /// Makes a device whose slots fit `images` and whose slot a runs them.
    pub fn create(programs: &Programs, folder: &Path, images: &Path) -> Result<Self> {
        let device = Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
        };
        device::create(folder, images, HEADROOM)?;
        device.flash(Slot::A, images)?;
        device.boot()?;
        Ok(device)
    }

    /// Writes images to a slot by hand and marks it good, as a person with a cable would.
    pub fn flash(&self, slot: Slot, images: &Path) -> Result<()> {
        Ok(device::flash(&self.folder, slot, images)?)
    }

    /// Writes the agent's configuration. The root of trust is the workshop's first root, as the image ships it.
    pub fn configure(&self, server: &str, root: &Path, model: &str, channel: &str) -> Result<()> {
        fs::copy(root, self.folder.join("root.json"))
            .with_context(|| format!("cannot copy {}", root.display()))?;
        let folder = self.folder.canonicalize()?;
        let selftest = [
            self.programs.test_images.as_path(),
            Path::new("selftest"),
            &folder,
        ];
        let config = format!(
            r#"model = "{model}"
channel = "{channel}"
server = "{server}"
state = "state"
root = "root.json"

[slots]
directory = "."

[boot]
misc = "misc"
cmdline = "cmdline"
reboot = ["touch", "{reboot}"]

[health]
checks = [{selftest:?}]
timeout_seconds = 60
"#,
            reboot = folder.join("reboot").display(),
        );
        fs::write(self.config(), config)?;
        Ok(())
    }

    /// The agent's configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    /// The device's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Compares every image with what a slot holds, and returns the partitions' names.
    pub fn check_slot(&self, slot: Slot, images: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for image in crate::images(images)? {
            let partition = device::slot_path(&self.folder, &image.partition, slot);
            let written = digest::of_beginning(&partition, image.size)
                .with_context(|| format!("cannot read {}", partition.display()))?;
            ensure!(
                written == digest::of_file(&image.path)?,
                "{} is not {}",
                partition.display(),
                image.path.display()
            );
            names.push(image.partition.to_string());
        }
        Ok(names)
    }

    /// The phase that the agent last wrote down.
    pub fn phase(&self) -> String {
        fs::read_to_string(self.folder.join("state/phase"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// Switches the device on: the bootloader chooses a slot.
    pub fn boot(&self) -> Result<Slot> {
        let _ = fs::remove_file(self.folder.join("reboot"));
        bootloader::boot(&self.folder).context("the test bootloader found nothing to boot")
    }

    /// Whether the agent asked for a reboot since the device was switched on.
    pub fn reboot_requested(&self) -> bool {
        self.folder.join("reboot").exists()
    }

    /// An agent command, ready to run.
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.agent);
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// What the agent said in the runs that were not shown.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }

    /// Starts `millet-agent run --once` and leaves it running. What it says is shown or kept.
    pub fn start_once(&self, show: bool) -> Result<Child> {
        let stderr = if show {
            Stdio::inherit()
        } else {
            let log = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.folder.join("agent.log"));
            log.context("cannot keep what the agent says")?.into()
        };
        self.agent(&["run", "--once"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .context("cannot start the agent")
    }

    /// Runs `millet-agent run --once` to its end. Exit code 0: nothing to do; 10: not due; 11: a reboot was asked for.
    pub fn run_once(&self, show: bool) -> Result<Cost> {
        measure::wait(&mut self.start_once(show)?)
    }
}
