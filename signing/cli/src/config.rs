//! `millet.toml`, which lies beside the images.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use millet_protocol::Model;
use serde::Deserialize;
use toml::Spanned;

use crate::keys::{KeyUri, PassphraseAgent};

/// The file with its paths resolved against its folder.
#[derive(Debug)]
pub struct Config {
    /// Where it lies.
    pub folder: PathBuf,
    /// Address of the server, without a `/` at its end.
    pub server: String,
    /// File that holds the server's publishing token.
    pub token: PathBuf,
    /// The zone in which weeks begin.
    pub time_zone: TimeZone,
    /// Keys of the root role.
    pub root: RoleConfig,
    /// Keys of the targets role.
    pub targets: RoleConfig,
    /// The device types.
    pub models: BTreeMap<Model, ModelConfig>,
    /// How keys are found and opened.
    pub keys: KeysConfig,
}

/// What finding and opening a key takes.
#[derive(Debug, Clone, Default)]
pub struct KeysConfig {
    /// Where paths count from.
    pub folder: PathBuf,
    /// Who keeps passphrases.
    pub passphrase_agent: Option<PassphraseAgent>,
    /// The keys that other programs hold, by name.
    pub programs: BTreeMap<String, ExecConfig>,
}

/// A key that another program holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecConfig {
    /// The program and its arguments. One with a `/` counts from the file's folder, any other is looked for in `PATH`.
    pub exec: Vec<String>,
    /// The file with the key's public half.
    pub public: PathBuf,
    /// How long one signature may take, in seconds, from 1 to 3600.
    #[serde(default = "two_minutes")]
    pub timeout_seconds: u32,
}

/// Keys of a top-level role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// Its keys.
    pub keys: Vec<KeyUri>,
    /// How many of them must sign.
    pub threshold: u64,
}

/// A device type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The keys that sign its builds.
    pub keys: Vec<KeyUri>,
    /// How many of them must sign.
    #[serde(default = "one")]
    pub threshold: u64,
    /// Folder of its images; `{model}` stands for its name.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Format of the user's data that its builds write.
    #[serde(default)]
    pub data_epoch: Option<u32>,
    /// Security patch level of its builds.
    #[serde(default)]
    pub security_patch: Option<Date>,
}

impl Config {
    /// Reads the file; an error names file, line and column.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        parse(&text, folder).map_err(|Fault { at, message }| {
            let (line, column) = position(&text, at);
            anyhow!("{}:{line}:{column}: {message}", path.display())
        })
    }

    /// A path of the file, which counts from the file's folder.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Where trusted metadata is kept.
    pub fn trusted_folder(&self) -> PathBuf {
        self.folder.join(".millet")
    }

    /// What it says of a model.
    pub fn model(&self, model: &Model) -> anyhow::Result<&ModelConfig> {
        match self.models.get(model) {
            Some(config) => Ok(config),
            None => bail!("millet.toml has no [models.{model}]"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Spanned<String>,
    token: PathBuf,
    #[serde(default)]
    time_zone: Option<Spanned<String>>,
    #[serde(default)]
    passphrase_agent: Option<PassphraseAgent>,
    #[serde(default)]
    keys: BTreeMap<String, Spanned<ExecConfig>>,
    root: Spanned<RoleConfig>,
    targets: Spanned<RoleConfig>,
    #[serde(default)]
    models: BTreeMap<String, Spanned<ModelConfig>>,
}

struct Fault {
    /// Offset in the text, in bytes.
    at: usize,
    message: String,
}

fn parse(text: &str, folder: PathBuf) -> Result<Config, Fault> {
    let file: File = toml::from_str(text).map_err(|error| Fault {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    })?;
    let mut programs = BTreeMap::new();
    for (name, config) in file.keys {
        let at = config.span().start;
        check_program(&name, config.get_ref()).map_err(|message| Fault { at, message })?;
        programs.insert(name, config.into_inner());
    }
    let mut models = BTreeMap::new();
    for (name, config) in file.models {
        let at = config.span().start;
        let model: Model = name.parse().map_err(|error| Fault {
            at,
            message: format!("{error}"),
        })?;
        let config = config.into_inner();
        check_threshold(config.keys.len(), config.threshold, at)?;
        check_named(&config.keys, &programs, at)?;
        models.insert(model, config);
    }
    let role = |role: Spanned<RoleConfig>| {
        let at = role.span().start;
        check_threshold(role.get_ref().keys.len(), role.get_ref().threshold, at)?;
        check_named(&role.get_ref().keys, &programs, at)?;
        Ok(role.into_inner())
    };
    Ok(Config {
        server: server(&file.server)?,
        token: folder.join(file.token),
        time_zone: file.time_zone.as_ref().map_or(Ok(TimeZone::UTC), zone)?,
        root: role(file.root)?,
        targets: role(file.targets)?,
        models,
        keys: KeysConfig {
            // A path is shown as it was written wherever that is the same.
            folder: if folder == Path::new(".") {
                PathBuf::new()
            } else {
                folder.clone()
            },
            passphrase_agent: file.passphrase_agent,
            programs,
        },
        folder,
    })
}

fn server(address: &Spanned<String>) -> Result<String, Fault> {
    let text = address.get_ref();
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !text.contains(['?', '#', ' ']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(Fault {
            at: address.span().start,
            message: format!("{text:?} is not an address such as https://rom.example.org"),
        }),
    }
}

fn zone(name: &Spanned<String>) -> Result<TimeZone, Fault> {
    TimeZone::get(name.get_ref()).map_err(|error| Fault {
        at: name.span().start,
        message: format!("{:?} is not a time zone: {error}", name.get_ref()),
    })
}

fn check_threshold(keys: usize, threshold: u64, at: usize) -> Result<(), Fault> {
    if threshold == 0 || u64::try_from(keys).is_ok_and(|keys| threshold > keys) {
        return Err(Fault {
            at,
            message: format!("a threshold of {threshold} cannot be reached with {keys} keys"),
        });
    }
    Ok(())
}

fn check_program(name: &str, config: &ExecConfig) -> Result<(), String> {
    if config.exec.first().is_none_or(String::is_empty) {
        return Err(format!(
            "[keys.{name}] names no program: exec = [\"program\", \"argument\"]"
        ));
    }
    if !(1..=3600).contains(&config.timeout_seconds) {
        return Err(format!("timeout_seconds of [keys.{name}] is not from 1 to 3600"));
    }
    Ok(())
}

/// Names of programs are checked where roles list them.
fn check_named(keys: &[KeyUri], programs: &BTreeMap<String, ExecConfig>, at: usize) -> Result<(), Fault> {
    let unknown = keys.iter().find_map(|key| match key {
        KeyUri::Exec(name) if !programs.contains_key(name) => Some(name),
        _ => None,
    });
    match unknown {
        Some(name) => Err(Fault {
            at,
            message: format!("there is no [keys.{name}] that says which program exec:{name} is"),
        }),
        None => Ok(()),
    }
}

/// Line and column, both from 1, of an offset.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn two_minutes() -> u32 {
    120
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"server = "http://127.0.0.1:8080/"
token = "publish.token"

[root]
keys = ["file:a", "file:b", "file:c"]
threshold = 2

[targets]
keys = ["file:d"]
threshold = 1

[models.rubik]
keys = ["file:e"]
security_patch = "2026-11-05"
"#;

    fn fault(text: &str) -> (usize, usize, String) {
        let Fault { at, message } = parse(text, PathBuf::from("x")).unwrap_err();
        let (line, column) = position(text, at);
        (line, column, message)
    }

    #[test]
    fn a_good_file() {
        let config = parse(GOOD, PathBuf::from("x"))
            .map_err(|fault| fault.message)
            .unwrap();
        assert_eq!(config.server, "http://127.0.0.1:8080");
        assert_eq!(config.token, Path::new("x/publish.token"));
        let model = config.model(&"rubik".parse().unwrap()).unwrap();
        assert_eq!(
            (model.threshold, model.security_patch),
            (1, Some(jiff::civil::date(2026, 11, 5)))
        );
        assert!(config.model(&"cube".parse().unwrap()).is_err());
    }

    #[test]
    fn faults_are_found_where_they_stand() {
        let (line, column, message) = fault(&GOOD.replace("threshold = 2", "treshold = 2"));
        assert_eq!((line, column), (6, 1), "{message}");
        assert!(message.contains("unknown field `treshold`"), "{message}");
        assert_eq!(fault(&GOOD.replace("token = ", "token : ")).0, 2);
        let (line, column, message) = fault(&GOOD.replace("http:", "ftp:"));
        assert_eq!((line, column), (1, 10), "{message}");
        assert_eq!(fault(&GOOD.replace("threshold = 2", "threshold = 4")).0, 4);
        assert_eq!(fault(&GOOD.replace("models.rubik", "models.Rubik")).0, 12);
        let (line, column, _) = fault(&GOOD.replace("\n\n[root]", "\ntime_zone = \"Nowhere\"\n[root]"));
        assert_eq!((line, column), (3, 13));
        let (line, column, message) = fault(&GOOD.replace("file:b", "fiel:b"));
        assert_eq!((line, column), (5, 8), "{message}");
        assert!(message.contains("\"fiel:b\" names no key"), "{message}");
        let (line, column, message) =
            fault(&GOOD.replace("\n\n[root]", "\npassphrase_agent = \"ssh\"\n[root]"));
        assert_eq!((line, column), (3, 20), "{message}");
    }
}
