//! Data for stdout, talk for stderr.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use comfy_table::{Table, presets};
use millet_protocol::{visible, visible_json};
use serde::Serialize;

/// Prints data. A reader that has gone away has heard enough.
pub fn print(text: &str) -> anyhow::Result<()> {
    write_out(&visible(text))
}

/// Prints data for scripts.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    write_out(&visible_json(&serde_json::to_string_pretty(value)?))
}

/// Prints one of several values for scripts, on a line of its own.
pub fn print_line(value: &impl Serialize) -> anyhow::Result<()> {
    write_out(&visible_json(&serde_json::to_string(value)?))
}

fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

/// Says something to the person.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Says which command comes next.
pub fn next(command: &str) {
    say(&format!("next: {command}"));
}

/// Prints an error once, as a chain.
pub fn error(error: &anyhow::Error) {
    let mut text = String::from("error: ");
    for (depth, cause) in error.chain().enumerate() {
        if depth > 0 {
            text.push_str("\n  because: ");
        }
        text.push_str(&cause.to_string());
    }
    say(&text);
}

/// Asks a question that only `y` or `yes` agrees to. Without a person at the terminal `--yes` is the only answer.
pub fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
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
        _ => bail!("nothing was done"),
    }
}

/// A number of bytes for people, in binary units.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// A table without lines, which reads well and cuts well.
pub fn columns() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// The text of a table that [`columns`] began.
pub fn table(table: &Table) -> String {
    let lines = table.lines().map(|line| {
        // The first column's padding is an indent that nobody asked for.
        line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
