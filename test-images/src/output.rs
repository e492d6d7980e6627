//! Data for stdout, talk for stderr. A reader that has gone away has heard enough.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;

/// Prints data.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

/// Says something to the person.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
