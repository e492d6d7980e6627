use std::path::PathBuf;

use anyhow::bail;
use millet_server::data_folder::{self, Found};
use millet_server::keys::OnlineKeys;
use serde::Serialize;

use crate::output;

/// What `keys` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The server's data folder. The server may be running.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// What a script reads.
#[derive(Serialize)]
struct Line<'a> {
    role: &'a str,
    keyid: String,
}

/// Prints the identifiers of the online keys, for whoever compares them.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let data = &arguments.data;
    if data_folder::look(data)? == Found::New {
        bail!(
            "{} has no keys yet: a server makes them at its first start",
            data.display()
        );
    }
    let keys = OnlineKeys::read(&data.join(data_folder::KEYS))?;
    let lines = keys.public().map(|(role, key)| Line {
        role,
        keyid: key.id().to_string(),
    });
    if arguments.json {
        return output::print(&serde_json::to_string_pretty(&lines)?);
    }
    let lines = lines.map(|line| format!("{:<9}  {}", line.role, line.keyid));
    output::print(&lines.join("\n"))
}
