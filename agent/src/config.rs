//! The configuration file, TOML.

use std::path::{Path, PathBuf};

use millet_protocol::{Channel, Model};
use serde::Deserialize;

use crate::error::Error;

/// What a device is told once. Relative paths count from the file's own folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
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
    pub reboot: Vec<String>,
}

/// What shows that a build is well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Commands; each must exit 0.
    pub checks: Vec<Vec<String>>,
    /// A command that takes longer has failed.
    pub timeout_seconds: u64,
}

/// How often to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PollsConfig {
    /// Instead of what the rollout says.
    pub seconds: Option<u32>,
    /// Never more often than this; 60 when absent.
    pub min_seconds: Option<u32>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            checks: Vec::new(),
            timeout_seconds: 60,
        }
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
        let rule = |message: &str| Error::ConfigRule {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        if config.boot.reboot.is_empty() {
            return Err(rule("boot.reboot names no command"));
        }
        if config.health.checks.iter().any(Vec::is_empty) {
            return Err(rule("one of health.checks names no command"));
        }
        config.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(config)
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
    fn paths_count_from_the_file() {
        let config = Config::parse(WHOLE, Path::new("/etc/millet/agent.toml")).unwrap();
        assert_eq!(config.state, Path::new("/etc/millet/device/state"));
        assert_eq!(config.boot.properties[0], Path::new("/vendor/build.prop"));
        assert_eq!(config.repository(), "http://127.0.0.1:8080/repo");
        assert_eq!(config.health.timeout_seconds, 60);
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
    fn commands_are_not_empty() {
        let empty = WHOLE.replace("[\"touch\", \"device/reboot\"]", "[]");
        assert_eq!(refuse(&empty), "etc/agent.toml: boot.reboot names no command");
    }
}
