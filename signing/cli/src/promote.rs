use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use millet_protocol::{Build, BuildManifest, Channel, Model, targets};
use serde::Serialize;

use crate::client::Client;
use crate::config::Config;
use crate::document::{Document, ask_for_signatures, next_builds, sign_builds};
use crate::edge::Edge;
use crate::output;
use crate::publish::{check_epoch, check_growth};
use crate::repository::Repository;
use crate::rollout;
use crate::selection::Selection;
use crate::sign::check_new;

/// `millet promote`
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// The build, which is published already.
    #[arg(long)]
    build: Build,
    /// A channel that it may go to from now on; may be given several times.
    #[arg(long = "channel", value_name = "CHANNEL", required = true)]
    channels: Vec<Channel>,
    /// Writes a request that others sign, instead of signing here.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Writes JSON: every build that goes further, with all its channels.
    #[arg(long)]
    json: bool,
}

/// What a script reads of one model.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a Model,
    build: &'a Build,
    channels: &'a [Channel],
}

pub fn run(args: &Args, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    if let Some(path) = &args.request {
        check_new(path)?;
    }
    let models = args.selection.models(config)?;
    let client = Client::new(config)?;
    let repository = Repository::refresh(config, &client, edge, &models)?;
    let mut manifests = Vec::new();
    for model in &models {
        match promoted(&repository, model, args)? {
            Some(manifest) => manifests.push(manifest),
            None => output::say(&format!("{model}: {} is allowed there already", args.build)),
        }
    }
    let documents = (manifests.iter())
        .map(Document::of)
        .collect::<Result<Vec<_>, _>>()?;
    let mut lists = BTreeMap::new();
    for (manifest, document) in manifests.iter().zip(&documents) {
        let model = &manifest.model;
        let files = [(targets::manifest(model, &manifest.build), document.target())];
        lists.insert(model.clone(), next_builds(edge, &repository, model, files)?);
    }
    let upload = || (documents.iter()).try_for_each(|document| document.upload(&client, edge));
    match &args.request {
        _ if lists.is_empty() => {}
        Some(path) => {
            upload()?;
            report(args, &manifests)?;
            let documents: Vec<_> = documents.iter().collect();
            return ask_for_signatures(path, edge, &repository, &lists, &documents);
        }
        None => {
            let publication = sign_builds(config, edge, &repository, &lists)?;
            upload()?;
            client.publish(&publication)?;
        }
    }
    report(args, &manifests)?;
    rollout::say_how_to_start(&models, &args.channels, &args.build);
    Ok(())
}

/// Says which builds go further.
fn report(args: &Args, manifests: &[BuildManifest]) -> anyhow::Result<()> {
    if args.json {
        let lines: Vec<_> = (manifests.iter())
            .map(|manifest| Line {
                model: &manifest.model,
                build: &manifest.build,
                channels: &manifest.channels,
            })
            .collect();
        return output::print_json(&lines);
    }
    for BuildManifest {
        model,
        build,
        channels,
        ..
    } in manifests
    {
        let channels: Vec<&str> = channels.iter().map(Channel::as_str).collect();
        output::print(&format!("{model} {build}: {}", channels.join(", ")))?;
    }
    Ok(())
}

/// The same manifest with a longer list of channels; `None` when it allows them all.
fn promoted(
    repository: &Repository<'_>,
    model: &Model,
    args: &Args,
) -> anyhow::Result<Option<BuildManifest>> {
    let builds = repository.builds(model)?;
    let Some(found) = builds.iter().find(|build| build.build == args.build) else {
        bail!("{model} has no build {}", args.build);
    };
    let mut manifest = found.clone();
    for channel in &args.channels {
        if !manifest.channels.contains(channel) {
            check_growth(&builds, manifest.sequence, channel)?;
            check_epoch(&builds, manifest.data_epoch, std::slice::from_ref(channel))?;
            manifest.channels.push(channel.clone());
        }
    }
    Ok((manifest != *found).then_some(manifest))
}
