//! The commands of the configuration: health checks and the reboot.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::Access;
use serde::Deserialize;
use tokio::process::Command;

use crate::error::Error;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

impl TryFrom<Vec<String>> for CommandLine {
    type Error = &'static str;

    fn try_from(words: Vec<String>) -> Result<Self, Self::Error> {
        let mut words = words.into_iter();
        match words.next() {
            Some(program) if !program.is_empty() => Ok(Self {
                program,
                arguments: words.collect(),
            }),
            _ => Err("it names no program"),
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(out, " {argument}"))
    }
}

impl CommandLine {
    /// As configured.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Whether the program can be started in this folder; if not, why, in the words that follow "which".
    pub fn find(&self, folder: &Path) -> Result<(), String> {
        if let Some(path) = self.path(folder) {
            return if !path.exists() {
                Err(format!("is not there: no {}", path.display()))
            } else if !can_run(&path) {
                Err(format!("cannot be run: {} is no executable file", path.display()))
            } else {
                Ok(())
            };
        }
        // As execvp(3) looks for it. A folder of PATH that is relative counts from where the command will run.
        let folders = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
        let found =
            std::env::split_paths(&folders).any(|in_path| can_run(&folder.join(in_path).join(&self.program)));
        if found {
            Ok(())
        } else {
            Err(format!("is in no folder of PATH ({})", folders.display()))
        }
    }

    /// Runs it in a folder; anything but exit code 0 in time is an error that names it.
    pub async fn run(&self, folder: &Path, time: Duration) -> Result<(), Error> {
        let refuse = |outcome: String| Error::Command {
            command: self.to_string(),
            outcome,
        };
        let program = self.path(folder).unwrap_or_else(|| PathBuf::from(&self.program));
        let mut child = Command::new(program)
            .args(&self.arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            // Data on stdout is ours; what a check says belongs to the talk.
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| refuse(format!("cannot be started: {error}")))?;
        match tokio::time::timeout(time, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(refuse(format!("failed: {status}"))),
            Ok(Err(error)) => Err(refuse(format!("was lost: {error}"))),
            Err(_) => Err(refuse(format!("took longer than {} seconds", time.as_secs()))),
        }
    }

    /// Where the program lies, if its name says so. A name without a slash is looked for in PATH, as a shell does.
    fn path(&self, folder: &Path) -> Option<PathBuf> {
        self.program.contains('/').then(|| folder.join(&self.program))
    }
}

fn can_run(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(command: &[&str]) -> CommandLine {
        let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        words.try_into().unwrap()
    }

    fn outcome(command: &[&str]) -> String {
        outcome_within(Duration::from_secs(60), command)
    }

    fn outcome_within(time: Duration, command: &[&str]) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let command = line(command);
        match runtime.block_on(command.run(Path::new("/usr"), time)) {
            Ok(()) => "well".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_zero_in_time_is_well() {
        assert_eq!(outcome(&["true"]), "well");
        assert_eq!(
            outcome(&["sh", "-c", "exit 3"]),
            "the command \"sh -c exit 3\" failed: exit status: 3"
        );
        assert!(outcome_within(Duration::from_millis(100), &["sleep", "600"]).contains("took longer"));
        assert!(outcome(&["/nowhere/at/all"]).contains("cannot be started"));
    }

    #[test]
    fn programs_and_arguments_count_from_the_folder() {
        assert_eq!(outcome(&["bin/test", "-d", "bin"]), "well");
        assert_eq!(outcome(&["./bin/test", "-d", "bin"]), "well");
        assert_eq!(outcome(&["test", "-d", "bin"]), "well");
    }

    #[test]
    fn a_program_is_found_where_it_would_be_started() {
        let find = |program: &str| line(&[program]).find(Path::new("/usr"));
        for program in ["true", "bin/true", "./bin/true", "/usr/bin/true"] {
            assert_eq!(find(program), Ok(()), "{program}");
        }
        assert_eq!(
            find("bin/nothing").unwrap_err(),
            "is not there: no /usr/bin/nothing"
        );
        assert_eq!(
            find("./bin").unwrap_err(),
            "cannot be run: /usr/./bin is no executable file"
        );
        assert!(
            find("nothing-of-this-name")
                .unwrap_err()
                .starts_with("is in no folder of PATH (")
        );
    }
}
