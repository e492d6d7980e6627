//! The configuration file, TOML.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millet_protocol::{Channel, Model};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::command::CommandLine;
use crate::error::Error;

/// What a device is told once. Relative paths count from the file's own folder, and commands run there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file itself, absolute.
    #[serde(skip)]
    pub file: PathBuf,
    /// The device type.
    pub model: Model,
    /// The channel it follows.
    pub channel: Channel,
    /// Where reports, feedback and votes go.
    pub server: String,
    /// Where the repository is; `<server>/repo` when absent.
    pub repository: Option<String>,
    /// The agent's own folder.
    pub state: PathBuf,
    /// The first trusted root, which ships in the image.
    pub root: PathBuf,
    /// Where the partitions are.
    pub slots: SlotsConfig,
    /// How to choose a slot and reboot.
    pub boot: BootConfig,
    /// What shows that a build is well.
    #[serde(default)]
    pub health: HealthConfig,
    /// How often to ask.
    #[serde(default)]
    pub polls: PollsConfig,
}

/// Where the partitions are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsConfig {
    /// A folder that holds `<partition>_a` and `<partition>_b`, such as `/dev/block/by-name`.
    pub directory: PathBuf,
}

/// How to choose a slot and reboot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootConfig {
    /// The partition or file with Android's boot control block.
    pub misc: PathBuf,
    /// Says which slot runs, as `androidboot.slot_suffix`.
    #[serde(default = "proc_cmdline")]
    pub cmdline: PathBuf,
    /// Android property files that tell a Virtual A/B device; those that do not exist tell nothing.
    #[serde(default = "property_files")]
    pub properties: Vec<PathBuf>,
    /// The command that reboots.
    pub reboot: CommandLine,
}

/// What shows that a build is well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Commands; each must exit 0.
    pub checks: Vec<CommandLine>,
    /// A command that takes longer has failed.
    #[serde(deserialize_with = "some_seconds")]
    pub timeout_seconds: NonZeroU64,
}

/// How often to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PollsConfig {
    /// Instead of what the rollout says.
    pub seconds: Option<NonZeroU32>,
}

impl PollsConfig {
    /// A rollout may not ask for more polls than one a minute.
    const SHORTEST: Duration = Duration::from_secs(60);

    /// As often as a rollout that does not say how often.
    const USUAL: Duration = Duration::from_secs(600);

    /// How long from one look to the next, when the rollout, if there is one, asks for `rollout_seconds`.
    pub fn every(&self, rollout_seconds: Option<u32>) -> Duration {
        match (self.seconds, rollout_seconds) {
            (Some(own), _) => Duration::from_secs(own.get().into()),
            (None, Some(asked)) => Duration::from_secs(asked.into()).max(Self::SHORTEST),
            (None, None) => Self::USUAL,
        }
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            checks: Vec::new(),
            timeout_seconds: NonZeroU64::MIN.saturating_add(59),
        }
    }
}

impl HealthConfig {
    /// How long one check may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.get())
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        Self::parse(&text, path)
    }

    /// Checks the text of a file that stands at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            Error::Config {
                path: path.to_owned(),
                line,
                column,
                message: error.message().to_owned(),
            }
        })?;
        config.file = std::path::absolute(path).map_err(Error::file("find", path))?;
        let folder = config.folder().to_owned();
        config.resolve(&folder);
        Ok(config)
    }

    /// The folder that relative paths count from and commands run in.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// Whether every program that an update will need can be started, before one begins.
    pub fn check_programs(&self) -> Result<(), Error> {
        let reboot = std::iter::once(("boot.reboot", &self.boot.reboot));
        let checks = self.health.checks.iter().map(|check| ("health.checks", check));
        for (setting, command) in reboot.chain(checks) {
            command.find(self.folder()).map_err(|reason| Error::NoProgram {
                path: self.file.clone(),
                setting,
                program: command.program().to_owned(),
                reason,
            })?;
        }
        Ok(())
    }

    /// The repository's address, without a slash at its end.
    pub fn repository(&self) -> String {
        match &self.repository {
            Some(address) => address.trim_end_matches('/').to_owned(),
            None => format!("{}/repo", self.server()),
        }
    }

    /// The server's address, without a slash at its end.
    pub fn server(&self) -> &str {
        self.server.trim_end_matches('/')
    }

    fn resolve(&mut self, folder: &Path) {
        for path in [
            &mut self.state,
            &mut self.root,
            &mut self.slots.directory,
            &mut self.boot.misc,
            &mut self.boot.cmdline,
        ]
        .into_iter()
        .chain(&mut self.boot.properties)
        {
            *path = folder.join(&path);
        }
    }
}

fn proc_cmdline() -> PathBuf {
    PathBuf::from("/proc/cmdline")
}

fn property_files() -> Vec<PathBuf> {
    [
        "/vendor/build.prop",
        "/product/etc/build.prop",
        "/system/build.prop",
    ]
    .map(PathBuf::from)
    .to_vec()
}

fn some_seconds<'de, D: Deserializer<'de>>(seconds: D) -> Result<NonZeroU64, D::Error> {
    NonZeroU64::new(u64::deserialize(seconds)?)
        .ok_or_else(|| D::Error::custom("in 0 seconds every check would fail"))
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
model = "rubik"
channel = "beta"
server = "http://127.0.0.1:8080/"
state = "device/state"
root = "device/root.json"
[slots]
directory = "device"
[boot]
misc = "device/misc"
cmdline = "device/cmdline"
reboot = ["touch", "device/reboot"]
"#;

    fn refuse(text: &str) -> String {
        Config::parse(text, Path::new("etc/agent.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_rollout_may_ask_for_a_poll_a_minute_and_the_owner_for_more() {
        let every = |polls: &str, asked| {
            let config = Config::parse(&format!("{WHOLE}{polls}"), Path::new("agent.toml")).unwrap();
            config.polls.every(asked).as_secs()
        };
        assert_eq!(
            [every("", Some(1)), every("", Some(900)), every("", None)],
            [60, 900, 600]
        );
        assert_eq!(every("[polls]\nseconds = 5\n", Some(900)), 5);
        assert!(refuse(&format!("{WHOLE}[polls]\nseconds = 0\n")).contains("agent.toml"));
    }

    #[test]
    fn paths_count_from_the_file() {
        let config = Config::parse(WHOLE, Path::new("/etc/millet/agent.toml")).unwrap();
        assert_eq!(config.state, Path::new("/etc/millet/device/state"));
        assert_eq!(config.boot.properties[0], Path::new("/vendor/build.prop"));
        assert_eq!(config.repository(), "http://127.0.0.1:8080/repo");
        assert_eq!(config.health.timeout(), Duration::from_secs(60));
        assert_eq!(config.folder(), Path::new("/etc/millet"));
        let config = Config::parse(WHOLE, Path::new("agent.toml")).unwrap();
        assert!(config.folder().is_absolute() && config.state.is_absolute());
    }

    #[test]
    fn an_error_names_file_line_and_column() {
        let unknown = WHOLE.replace("misc =", "mics =");
        assert!(
            refuse(&unknown).starts_with("etc/agent.toml:10:1: unknown field `mics`"),
            "{}",
            refuse(&unknown)
        );
        let wrong = WHOLE.replace("\"beta\"", "\"Beta!\"");
        assert!(
            refuse(&wrong).starts_with("etc/agent.toml:3:11: "),
            "{}",
            refuse(&wrong)
        );
        let broken = WHOLE.replace("[slots]", "[slots");
        assert!(
            refuse(&broken).starts_with("etc/agent.toml:7:7: "),
            "{}",
            refuse(&broken)
        );
        let missing = WHOLE.replace("channel = \"beta\"\n", "");
        assert!(
            refuse(&missing).contains("missing field `channel`"),
            "{}",
            refuse(&missing)
        );
    }

    #[test]
    fn commands_are_not_empty_and_have_time() {
        for (old, new, place) in [
            ("reboot = [\"touch\", \"device/reboot\"]", "reboot = []", "12:10"),
            (
                "reboot = [\"touch\", \"device/reboot\"]",
                "reboot = [\"\"]",
                "12:10",
            ),
        ] {
            let refused = refuse(&WHOLE.replace(old, new));
            assert_eq!(
                refused,
                format!("etc/agent.toml:{place}: it names no program"),
                "{new}"
            );
        }
        let refused = refuse(&format!("{WHOLE}[health]\nchecks = [[\"true\"], []]\n"));
        assert_eq!(refused, "etc/agent.toml:14:10: it names no program");
        let refused = refuse(&format!("{WHOLE}[health]\ntimeout_seconds = 0\n"));
        assert_eq!(
            refused,
            "etc/agent.toml:14:19: in 0 seconds every check would fail"
        );
    }
}
