//! `millet publish`: images in, a signed build out.
//!
//! First everything that can be refused without work is refused for all models; then the payloads are made and tried;
//! then everything is signed; and only then something leaves the machine, ending in one publication for all models.

mod decide;
mod devices;
mod make;
mod plan;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::Date;
use millet_protocol::api::Published;
use millet_protocol::{Build, BuildManifest, Channel, Entry, Sequence};
use serde::Serialize;

use crate::client::Client;
use crate::config::Config;
use crate::document::{ask_for_signatures, next_builds, sign_builds};
use crate::edge::Edge;
use crate::notes;
use crate::output;
use crate::payload::Making;
use crate::progress::Meter;
use crate::repository::Repository;
use crate::rollout;
use crate::selection::Selection;
use crate::sign::check_new;

pub use decide::{check_epoch, check_growth};
use devices::Answer;
use make::Made;
use plan::Planned;

/// `millet publish`
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// The build's name, new for every model.
    #[arg(long)]
    build: Build,
    /// Folder of <partition>.img, an OTA zip, a zip of images, or a full payload; {model} stands for the model. By
    /// default what millet.toml says.
    #[arg(long, value_name = "PATH")]
    images: Option<PathBuf>,
    /// A channel that the build may go to; may be given several times.
    #[arg(long = "channel", value_name = "CHANNEL", required = true)]
    channels: Vec<Channel>,
    /// Release notes: a file or the text itself.
    #[arg(long, value_name = "FILE|TEXT")]
    notes: Option<String>,
    /// Language of the notes, a BCP 47 tag.
    #[arg(long, value_name = "TAG", default_value = "en")]
    notes_language: String,
    /// A feature that testers vote on; may be given several times.
    #[arg(long = "entry", value_name = "ID=TITLE: DESCRIPTION", value_parser = notes::parse_entry)]
    entries: Vec<Entry>,
    /// Something that is known not to work; may be given several times.
    #[arg(long = "known-issue", value_name = "TEXT")]
    known_issues: Vec<String>,
    /// Year, week and respin, such as 202645002 for a hotfix of an older train; by default the next of this week.
    #[arg(long, value_name = "NUMBER")]
    sequence: Option<u64>,
    /// Devices that have confirmed this build take nothing below this sequence from anywhere.
    #[arg(long, value_name = "SEQUENCE")]
    floor: Option<u64>,
    /// Security patch level; by default what millet.toml says, or the newest build's.
    #[arg(long, value_name = "YYYY-MM-DD")]
    security_patch: Option<Date>,
    /// Format of the user's data; by default what millet.toml says, or the newest build's.
    #[arg(long, value_name = "NUMBER")]
    data_epoch: Option<u32>,
    /// The lowest sequence that a device may come from.
    #[arg(long, value_name = "SEQUENCE")]
    requires: Option<u64>,
    /// Agrees that the build has other partitions than the newest one.
    #[arg(long)]
    partitions_changed: bool,
    #[command(flatten)]
    making: Making,
    /// Uploads the payload and writes a request that others sign, instead of signing here.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    request: Option<PathBuf>,
    /// Does everything but the upload, and says what devices of each channel would do.
    #[arg(long)]
    dry_run: bool,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// What a script reads of one model.
#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    build: &'a str,
    train: String,
    sequence: Sequence,
    channels: Vec<&'a str>,
    payload_size: u64,
    published: bool,
    /// What devices would do with it, of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<Answer>,
}

impl<'a> Line<'a> {
    fn of(manifest: &'a BuildManifest, payload_size: u64, published: bool) -> Self {
        Self {
            model: manifest.model.as_str(),
            build: manifest.build.as_str(),
            train: manifest.train.to_string(),
            sequence: manifest.sequence,
            channels: manifest.channels.iter().map(Channel::as_str).collect(),
            payload_size,
            published,
            devices: Vec::new(),
        }
    }
}

pub fn run(args: &Args, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    if let Some(path) = &args.request {
        check_new(path)?;
    }
    let models = args.selection.models(config)?;
    let client = Client::new(config)?;
    let repository = Repository::refresh(config, &client, edge, &models)?;
    let mut plans = Vec::new();
    let mut there = Vec::new();
    for model in &models {
        match plan::plan(args, config, edge, &repository, model)? {
            Planned::New(plan) => plans.push(plan),
            Planned::There(manifest) => {
                output::say(&format!(
                    "{model}: {} is published already, from these images",
                    args.build
                ));
                there.push(manifest);
            }
        }
    }
    let made: Vec<_> = plans
        .into_iter()
        .map(|plan| make::make(plan, args, edge))
        .collect::<Result<_, _>>()?;
    let mut lines = Vec::new();
    for manifest in &there {
        let payload = repository.set().target(&manifest.payload.path);
        lines.push(Line::of(
            manifest,
            payload.map_or(0, |payload| payload.length),
            true,
        ));
    }
    for made in &made {
        let published = !args.dry_run && args.request.is_none();
        let mut line = Line::of(&made.manifest, made.payload.length, published);
        if args.dry_run {
            let builds = repository.builds(&made.manifest.model)?;
            line.devices = devices::ask(&builds, &made.manifest, edge.now);
        }
        lines.push(line);
    }
    let mut lists = BTreeMap::new();
    for made in &made {
        let model = &made.manifest.model;
        let builds = next_builds(edge, &repository, model, made.targets())?;
        lists.insert(model.clone(), builds);
    }
    let upload = || (made.iter()).try_for_each(|made| upload(&client, edge, made));
    match &args.request {
        _ if lists.is_empty() => {}
        Some(path) => {
            upload()?;
            report(args, &lines)?;
            let documents: Vec<_> = made.iter().map(|made| &made.document).collect();
            return ask_for_signatures(path, edge, &repository, &lists, &documents);
        }
        None => {
            let publication = sign_builds(config, edge, &repository, &lists)?;
            if !args.dry_run {
                upload()?;
                say_jobs(&client.publish(&publication)?);
            }
        }
    }
    report(args, &lines)?;
    if args.dry_run {
        output::say("dry run: payloads were made, tried and signed for, and nothing was uploaded");
        output::next("the same command without --dry-run");
    } else {
        rollout::say_how_to_start(&models, &args.channels, &args.build);
    }
    Ok(())
}

fn upload(client: &Client, edge: &Edge, made: &Made<'_>) -> anyhow::Result<()> {
    let meter = Meter::new(&format!("{} upload", made.manifest.model), made.payload.length);
    if !client.upload(&made.payload_sha256, made.payload_path(), &meter)? {
        output::say(&format!(
            "{}: the server has the payload already",
            made.manifest.model
        ));
    }
    drop(meter);
    made.document.upload(client, edge)
}

fn report(args: &Args, lines: &[Line<'_>]) -> anyhow::Result<()> {
    if args.json {
        return output::print_json(&lines);
    }
    let mut table = output::columns();
    table.set_header(["model", "build", "train", "sequence", "channels", "payload"]);
    for line in lines {
        table.add_row([
            line.model.to_owned(),
            line.build.to_owned(),
            line.train.clone(),
            line.sequence.to_string(),
            line.channels.join(", "),
            output::bytes(line.payload_size),
        ]);
    }
    output::print(&output::table(&table))?;
    if !args.dry_run {
        return Ok(());
    }
    let mut table = output::columns();
    table.set_header(["model", "channel", "a device on", "once it is rolled out"]);
    for answer in lines.iter().flat_map(|line| &line.devices) {
        table.add_row([
            answer.model.as_str(),
            answer.channel.as_str(),
            answer.runs.as_deref().unwrap_or("no known build"),
            answer.answer.as_str(),
        ]);
    }
    output::print(&format!("\n{}", output::table(&table)))
}

fn say_jobs(published: &Published) {
    for job in &published.delta_jobs {
        output::say(&format!(
            "{}: the server makes a delta {} → {}",
            job.model, job.from, job.to
        ));
    }
}
