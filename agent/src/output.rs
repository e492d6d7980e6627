//! Answers for stdout, talk for stderr. A reader that has gone away has heard enough: a device goes on.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use millet_protocol::{visible, visible_json};
use serde::Serialize;

/// Prints an answer.
pub fn print(text: &str) -> anyhow::Result<()> {
    write_out(&visible(text))
}

/// Prints an answer for scripts.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    write_out(&visible_json(&serde_json::to_string_pretty(value)?))
}

/// Says something to the person, if one is there.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Asks a question that only `y` or `yes` agrees to. Without a person at the terminal `--yes` is the only answer.
pub fn confirm(question: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("{question} Nobody is there to ask: repeat the command with --yes if so");
    }
    let _ = write!(io::stderr(), "{} [y/N] ", visible(question));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was sent"),
    }
}

fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}
