//! Answers for stdout, talk for stderr. A reader that has gone away has heard enough: a device goes on.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
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

/// Text with everything spelt out that could move a terminal's cursor or turn its writing around: a rollout's reason, a
/// server's answer and the notes of a build are other people's words.
pub fn visible(text: &str) -> String {
    spell(text, |c| c.escape_unicode().to_string())
}

/// The same for JSON, where such characters stand in strings only; serde leaves those above U+007E as they are. It still
/// says the same.
pub fn visible_json(json: &str) -> String {
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
        let words = "\u{9b}2J\u{202e}";
        let json = visible_json(&serde_json::to_string(words).unwrap());
        assert_eq!(json, r#""\u009b2J\u202e""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), words);
    }
}
