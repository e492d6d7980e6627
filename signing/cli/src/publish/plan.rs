use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::civil::Date;
use millet_payload::hash;
use millet_protocol::{BLOCK_SIZE, BuildManifest, Channel, Entry, Model, Requires, Sequence, Train};

use super::{Args, decide};
use crate::config::{Config, ModelConfig};
use crate::document::trusted_builds_keys;
use crate::edge::Edge;
use crate::images::Images;
use crate::repository::Repository;
use crate::{Usage, notes, output};

/// What there is to do for one model.
pub enum Planned {
    /// A build to make.
    New(Plan),
    /// The build is published already, from these very images: an earlier run of the same command came that far.
    There(BuildManifest),
}

/// A build before there is a payload: everything about it has been agreed to.
pub struct Plan {
    pub model: Model,
    pub train: Train,
    pub sequence: Sequence,
    pub channels: Vec<Channel>,
    pub data_epoch: u32,
    pub security_patch: Date,
    pub floor: Option<Sequence>,
    pub requires: Option<Requires>,
    pub notes: Option<String>,
    pub entries: Vec<Entry>,
    pub images: Images,
}

/// Refuses whatever can be refused before the work begins.
pub fn plan(
    args: &Args,
    config: &Config,
    edge: &Edge,
    repository: &Repository<'_>,
    model: &Model,
) -> anyhow::Result<Planned> {
    decide_for(args, config, edge, repository, model)
        .with_context(|| format!("{model} {} cannot be published", args.build))
}

fn decide_for(
    args: &Args,
    config: &Config,
    edge: &Edge,
    repository: &Repository<'_>,
    model: &Model,
) -> anyhow::Result<Planned> {
    let model_config = config.model(model)?;
    let builds = repository.builds(model)?;
    let mut channels = args.channels.clone();
    channels.sort();
    channels.dedup();
    let images = Images::open(
        &images_folder(args, config, model_config, model)?,
        args.making.pad,
        edge,
    )?;
    if let Some(taken) = builds.iter().find(|build| build.build == args.build) {
        if let Some(difference) = difference(taken, args, &channels, &images)? {
            bail!("{} is published already, with {difference}", taken.build);
        }
        return Ok(Planned::There(taken.clone()));
    }
    let keys = match args.request {
        Some(_) => None,
        None => Some(trusted_builds_keys(config, edge, repository, model)?),
    };
    let (train, sequence) = decide::sequence(&builds, args.sequence, edge.now, &config.time_zone)?;
    for channel in &channels {
        decide::check_growth(&builds, sequence, channel)?;
    }
    let newest = builds.last();
    let data_epoch = args
        .data_epoch
        .or(model_config.data_epoch)
        .or(newest.map(|build| build.data_epoch))
        .unwrap_or(1);
    decide::check_epoch(&builds, data_epoch, &channels)?;
    let floor = args.floor.map(Sequence);
    if floor.is_some_and(|floor| floor > sequence) {
        bail!("--floor is above the build's own sequence {sequence}");
    }
    let security_patch = security_patch(args, model_config, newest)?;
    if !args.partitions_changed {
        decide::check_partitions(&builds, images.names())?;
    }
    // Payloads take minutes: nobody should come back to a question.
    if let Some(keys) = keys {
        keys.unlock()?;
    }
    Ok(Planned::New(Plan {
        model: model.clone(),
        train,
        sequence,
        channels,
        data_epoch,
        security_patch,
        floor,
        requires: args.requires.map(|sequence| Requires {
            min_sequence: Sequence(sequence),
        }),
        notes: args.notes.as_deref().map(notes::read).transpose()?,
        entries: args.entries.clone(),
        images,
    }))
}

/// What a published build has that is not what this command says; nothing if it is the very build.
fn difference(
    published: &BuildManifest,
    args: &Args,
    channels: &[Channel],
    images: &Images,
) -> anyhow::Result<Option<String>> {
    let BuildManifest { model, build, .. } = published;
    let once = "a name is used once";
    if let Some(sequence) = args
        .sequence
        .filter(|sequence| published.sequence != Sequence(*sequence))
    {
        return Ok(Some(format!(
            "sequence {} and not {sequence}: {once}",
            published.sequence
        )));
    }
    let requires = published
        .requires
        .as_ref()
        .map(|requires| requires.min_sequence.0);
    let other_fields = [
        (
            "--floor",
            differs(args.floor, published.floor.map(|floor| floor.0)),
        ),
        ("--requires", differs(args.requires, requires)),
        (
            "--data-epoch",
            differs(args.data_epoch, Some(published.data_epoch)),
        ),
        (
            "--security-patch",
            differs(args.security_patch, Some(published.security_patch)),
        ),
    ];
    if let Some((option, _)) = other_fields.iter().find(|(_, differs)| *differs) {
        return Ok(Some(format!("another {option}: {once}")));
    }
    let named = images
        .names()
        .eq(published.partitions.iter().map(|partition| &partition.name));
    if !named {
        return Ok(Some(format!("other partitions: {once}")));
    }
    for partition in &published.partitions {
        let file = images.get(&partition.name)?;
        let size = file.size()?.next_multiple_of(BLOCK_SIZE);
        if size != partition.size || hash(file, size, &mut |_| ())? != partition.sha256 {
            return Ok(Some(format!("another {}: {once}", partition.name)));
        }
    }
    if let Some(channel) = channels
        .iter()
        .find(|channel| !published.channels.contains(channel))
    {
        return Ok(Some(format!(
            "these images and not for {channel}: millet promote --model {model} --build {build} --channel {channel}"
        )));
    }
    let notes = args.notes.as_deref().map(notes::read).transpose()?;
    let other_notes = differs(notes.as_ref(), published.notes.get(&args.notes_language));
    let other_entries = !args.entries.is_empty() && args.entries != published.entries;
    let other_issues = !args.known_issues.is_empty() && args.known_issues != published.known_issues;
    Ok((other_notes || other_entries || other_issues).then(|| {
        "these images and other notes, entries or known issues: its words are signed, and new ones need a new build"
            .to_owned()
    }))
}

/// Whether something is asked for that the published build does not have.
fn differs<T: PartialEq>(asked: Option<T>, published: Option<T>) -> bool {
    asked.is_some() && asked != published
}

fn security_patch(
    args: &Args,
    model_config: &ModelConfig,
    newest: Option<&BuildManifest>,
) -> anyhow::Result<Date> {
    if let Some(named) = args.security_patch.or(model_config.security_patch) {
        return Ok(named);
    }
    let Some(newest) = newest else {
        bail!("its security patch level is not known: name it with --security-patch or in millet.toml");
    };
    output::say(&format!(
        "{}: security patch level {}, as in {}",
        newest.model, newest.security_patch, newest.build
    ));
    Ok(newest.security_patch)
}

/// Where the images of a model lie. One folder cannot be the images of two models.
fn images_folder(
    args: &Args,
    config: &Config,
    model_config: &ModelConfig,
    model: &Model,
) -> anyhow::Result<PathBuf> {
    let fill = |path: &Path| PathBuf::from(path.to_string_lossy().replace("{model}", model.as_str()));
    match (&args.images, &model_config.images) {
        (Some(named), _) => {
            if args.selection.is_for_many(config) && !named.to_string_lossy().contains("{model}") {
                let text = "--images must hold {model} when there are several models, such as out/{model}";
                return Err(Usage(text.to_owned()).into());
            }
            Ok(fill(named))
        }
        (None, Some(configured)) => Ok(config.resolve(&fill(configured))),
        (None, None) => Err(Usage(format!(
            "name the folder with --images, or `images` in [models.{model}]"
        ))
        .into()),
    }
}
