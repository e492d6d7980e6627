use anyhow::Context;
use clap::Args;
use millet_agent::output::print;
use millet_agent::repository::Keep;
use millet_agent::{Device, Error};
use millet_machine::Identity;
use millet_protocol::{BuildManifest, EntryId, MessageKind, Vote};

use super::{Exit, send::send};

/// Vote for an entry of the build that runs, signed with this device's key. The latest vote counts.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The entry.
    entry: EntryId,
    /// Do not ask before sending.
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub async fn run(device: &Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    let knowledge = device.knowledge()?;
    let refuse = |what: &str| Error::NotConfirmed {
        what: what.to_owned(),
    };
    let identity = knowledge
        .running()
        .ok_or_else(|| refuse("this device does not know what it runs; next: millet-agent run --once"))?;
    let confirmed_at = knowledge
        .journal
        .confirmed_at(knowledge.boot.running)
        .filter(|_| knowledge.boot.good)
        .ok_or_else(|| {
            refuse("the running build is not confirmed yet, and only a confirmed build can be voted on")
        })?;
    let manifest = manifest(device, identity).await?;
    if !manifest.entries.iter().any(|entry| entry.id == arguments.entry) {
        let known: Vec<&str> = manifest.entries.iter().map(|entry| entry.id.as_str()).collect();
        return Err(Error::NoEntry {
            build: identity.build.clone(),
            entry: arguments.entry.to_string(),
            known: known.join(", "),
        }
        .into());
    }
    let vote = Vote {
        model: device.config.model.clone(),
        build: identity.build.clone(),
        entry: arguments.entry.clone(),
        confirmed_at,
        cast_at: device.edge.now(),
    };
    send(device, MessageKind::Vote, &vote, "/api/v1/votes", arguments.yes).await?;
    print(&format!("voted for {} of {}", vote.entry, vote.build))?;
    Ok(Exit::Done)
}

/// The running build's manifest: kept under its hash since it was installed, or asked for.
async fn manifest(device: &Device, identity: &Identity) -> anyhow::Result<BuildManifest> {
    if let Some(bytes) = device.state.document(&identity.manifest.to_string()) {
        return serde_json::from_slice(&bytes).context("the kept manifest is damaged");
    }
    let look = device.repository.look(Keep::No).await?;
    let found = device
        .repository
        .manifest(&look.set, &identity.build, Keep::No)
        .await?;
    found.with_context(|| format!("the repository no longer lists {}", identity.build))
}
