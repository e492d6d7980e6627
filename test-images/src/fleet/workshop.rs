use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use millet_protocol::api::RolloutStatus;

use super::{Finished, Programs, ServerProcess, run};

/// A release engineer's folder: keys, `millet.toml` and the trusted metadata.
#[derive(Debug)]
pub struct Workshop {
    programs: Programs,
    folder: PathBuf,
    show: bool,
}

/// What the weekly command names.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The model.
    pub model: &'a str,
    /// The build's name.
    pub build: &'a str,
    /// The folder of `<partition>.img`.
    pub images: &'a Path,
    /// The channel.
    pub channel: &'a str,
    /// Entries as `id=Title: description`.
    pub entries: &'a [&'a str],
    /// Release notes.
    pub notes: &'a str,
}

impl Workshop {
    /// Makes keys (2 of 3 for root and targets, 1 for builds), the repository on the server, and one model.
    pub fn create(
        programs: &Programs,
        folder: &Path,
        server: &ServerProcess,
        model: &str,
        show: bool,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let workshop = Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
            show,
        };
        let names = [
            "root1", "root2", "root3", "targets1", "targets2", "targets3", "builds1",
        ];
        for name in names {
            workshop.millet(&["key", "new", name, "--out", "keys", "--no-passphrase"])?;
        }
        let uris = |role: &str, count: u32| {
            let uris: Vec<_> = (1..=count)
                .map(|index| format!("file:keys/{role}{index}.key"))
                .collect();
            format!("{uris:?}")
        };
        fs::copy(server.data().join("publish.token"), folder.join("publish.token"))
            .context("cannot copy the server's publish.token")?;
        let config = format!(
            r#"server = "{server}"
token = "publish.token"

[root]
keys = {root}
threshold = 2

[targets]
keys = {targets}
threshold = 2

[models.{model}]
keys = {builds}
threshold = 1
security_patch = "2026-11-05"
"#,
            server = server.url(),
            root = uris("root", 3),
            targets = uris("targets", 3),
            builds = uris("builds", 1),
        );
        fs::write(folder.join("millet.toml"), config)?;
        workshop.millet(&["repo", "init", "--yes"])?;
        workshop.millet(&["model", "add", model])?;
        Ok(workshop)
    }

    /// The first root, as an image ships it.
    pub fn first_root(&self) -> PathBuf {
        self.folder.join(".millet/1.root.json")
    }

    /// Runs `millet` in the workshop; anything but exit code 0 is an error with what it said.
    pub fn millet(&self, arguments: &[&str]) -> Result<Finished> {
        self.try_millet(arguments)?
            .success(&format!("millet {}", arguments.join(" ")))
    }

    /// Runs `millet` in the workshop and returns how it ended.
    pub fn try_millet(&self, arguments: &[&str]) -> Result<Finished> {
        run(self.command(arguments).current_dir(&self.folder), self.show)
    }

    /// A `millet` command, ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.millet);
        command.args(arguments).current_dir(&self.folder);
        command
    }

    /// The weekly command.
    pub fn publish_command(&self, publish: &Publish<'_>) -> Command {
        let mut command = self.command(&["publish", "--model", publish.model, "--build", publish.build]);
        // What is tried here is the way, not how small a full payload can be.
        command.args([
            "--xz-level",
            "1",
            "--channel",
            publish.channel,
            "--notes",
            publish.notes,
        ]);
        command.arg("--images").arg(publish.images);
        for entry in publish.entries {
            command.args(["--entry", entry]);
        }
        command
    }

    /// Runs the weekly command.
    pub fn publish(&self, publish: &Publish<'_>) -> Result<()> {
        run(&mut self.publish_command(publish), self.show)?.success("millet publish")?;
        Ok(())
    }

    /// Opens a rollout to everyone at once and waits until devices can see it.
    pub fn roll_out(&self, model: &str, channel: &str, build: &str) -> Result<()> {
        self.millet(&[
            "rollout",
            "start",
            "--model",
            model,
            "--channel",
            channel,
            "--build",
            build,
            "--over",
            "0",
        ])?;
        self.wait_until_open(model, channel, build)
    }

    /// Waits until the rollout's deltas are there and its document is signed.
    pub fn wait_until_open(&self, model: &str, channel: &str, build: &str) -> Result<()> {
        // Half an hour is far beyond the slowest delta that a release may take on two cores.
        for _ in 0..9_000 {
            let status = run(
                &mut self.command(&[
                    "rollout",
                    "status",
                    "--json",
                    "--model",
                    model,
                    "--channel",
                    channel,
                ]),
                false,
            )?
            .success("millet rollout status")?;
            let status: RolloutStatus = serde_json::from_str(&status.stdout)
                .with_context(|| format!("millet rollout status --json wrote {}", status.stdout))?;
            if status.build.as_str() == build && status.document.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bail!("the rollout of {build} to {channel} did not open within half an hour")
    }
}
