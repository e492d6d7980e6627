//! Runs the commands of the configuration: health checks and the reboot.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::error::Error;

/// Runs a command; anything but exit code 0 in time is an error that names it.
pub async fn run(command: &[String], time: Duration) -> Result<(), Error> {
    let refuse = |outcome: String| Error::Command {
        command: command.join(" "),
        outcome,
    };
    let Some((program, arguments)) = command.split_first() else {
        return Err(refuse("is empty".to_owned()));
    };
    let mut child = Command::new(program)
        .args(arguments)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(command: &[&str]) -> String {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        match runtime.block_on(run(&command, Duration::from_millis(300))) {
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
        assert!(outcome(&["sleep", "10"]).contains("took longer"));
        assert!(outcome(&["/nowhere/at/all"]).contains("cannot be started"));
        assert!(outcome(&[]).contains("is empty"));
    }
}
