use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use millet_protocol::api::Publication;
use serde::Serialize;

use super::request::{Progress, Request};
use super::show::Shown;
use super::{check_first_root, next_for, print_progress, words};
use crate::client::Client;
use crate::config::Config;
use crate::edge::Edge;
use crate::output;
use crate::repository::begin_with;

/// `millet sign import`
#[derive(clap::Args)]
pub struct Args {
    /// Copies of one request, in any order. The first receives the signatures of all, and is removed once it is published.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Publishes without asking, if enough have signed.
    #[arg(long)]
    yes: bool,
    /// Writes JSON, which says whether it was published.
    #[arg(long)]
    json: bool,
}

/// What a script reads.
#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    request: Shown,
    /// The snapshot that it was published in; none while signatures are missing.
    published_in_snapshot: Option<u64>,
}

pub fn run(args: &Args, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    let Some((first, others)) = args.files.split_first() else {
        bail!("name the request");
    };
    let mut request = Request::read(first)?;
    check_first_root(&request, Some(config))?;
    for path in others {
        let other = Request::read(path)?;
        request
            .merge(&other)
            .with_context(|| format!("{} is not a copy of {}", path.display(), first.display()))?;
    }
    request.write(first, &edge.unfinished)?;
    let changes = words::changes(&request);
    output::say(&changes.join("\n"));
    let report = |published_in_snapshot| {
        if !args.json {
            return Ok(());
        }
        output::print_json(&Imported {
            request: Shown::of(&request, changes.clone()),
            published_in_snapshot,
        })
    };
    if !args.json {
        print_progress(&request)?;
    }
    if !request.progress().iter().all(Progress::is_complete) {
        next_for(&request, first);
        return report(None);
    }
    let client = Client::new(config)?;
    output::confirm(&format!("Publish this at {}?", client.server()), args.yes)?;
    let metadata = (request.files()?.into_iter())
        .map(|(role, bytes)| Ok((role, String::from_utf8(bytes)?)))
        .collect::<anyhow::Result<std::collections::BTreeMap<_, _>>>()?;
    if request.first_root().is_none()
        && let Some(root) = metadata.get("root")
    {
        // Before the upload: if that breaks off, running the command again finds the same root.
        begin_with(root.as_bytes(), config, edge)?;
    }
    let published = client.publish(&Publication { metadata })?;
    output::say(&format!("published: snapshot {}", published.snapshot_version));
    fs::remove_file(first).with_context(|| format!("cannot remove {}", first.display()))?;
    output::next("millet repo check");
    report(Some(published.snapshot_version))
}
