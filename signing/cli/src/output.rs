//! Data for stdout, talk for stderr.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use comfy_table::{Table, presets};
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

/// Text with everything spelt out that could move a terminal's cursor or turn its writing around: names, reasons and
/// key identifiers come from whoever wrote the file.
pub fn visible(text: &str) -> String {
    spell(text, |c| c.escape_unicode().to_string())
}

/// The same for JSON, where such characters stand in strings only; serde leaves those above U+007E as they are.
fn visible_json(json: &str) -> String {
    spell(json, |c| format!("\\u{:04x}", u32::from(c)))
}

fn spell(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut spelt = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => spelt.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => spelt.push_str(&escape(c)),
            _ if c.is_control() => spelt.push_str(&escape(c)),
            _ => spelt.push(c),
        }
    }
    spelt
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_moves_the_cursor_or_turns_the_writing() {
        assert_eq!(visible("a\tb\nc é 火 👩\u{200d}🚒"), "a\tb\nc é 火 👩\u{200d}🚒");
        assert_eq!(
            visible("\u{1b}[99A\r\u{9b}2J\u{202e}x\u{7f}"),
            "\\u{1b}[99A\\u{d}\\u{9b}2J\\u{202e}x\\u{7f}"
        );
        let name = "\u{9b}2J\u{202e}";
        let json = visible_json(&serde_json::to_string(name).unwrap());
        assert_eq!(json, r#""\u009b2J\u202e""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }
}
