//! `millet sign`: signatures of people who are not at the machine that talks to the server.
//!
//! A request travels as one file. Who signs sees what changes, recomputed from the bytes to sign and not from what the
//! file says of itself; the server is not asked and not believed.

mod ask;
mod import;
mod request;
mod show;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use millet_protocol::targets::builds_role;
use millet_signing::KeyId;
use sha2::{Digest, Sha256};

use crate::config::{Config, KeysConfig};
use crate::edge::Edge;
use crate::keys::{KeyRing, KeyUri};
use crate::repository::FIRST_ROOT;
use crate::{Usage, output};

pub use request::{Parts, Request, check_new};

/// `millet sign`
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The request, which receives the signatures.
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// A key to sign with; may be given several times. By default the keys of millet.toml that are here.
    #[arg(long = "key", value_name = "URI")]
    keys: Vec<KeyUri>,
    /// Signs without asking.
    #[arg(long)]
    yes: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a file with what millet.toml changes, for others to sign.
    Request(ask::Args),
    /// Says what a request changes, recomputed from the bytes to sign, and who has signed.
    Show(show::Args),
    /// Brings copies of a request together, and publishes it once enough have signed.
    Import(import::Args),
}

pub fn run(args: &Args, config: &dyn Fn() -> anyhow::Result<Config>, edge: &Edge) -> anyhow::Result<()> {
    match (&args.command, &args.file) {
        (Some(Command::Request(args)), _) => ask::run(args, &config()?, edge),
        (Some(Command::Show(args)), _) => show::run(args, if_there(config)?.as_ref()),
        (Some(Command::Import(args)), _) => import::run(args, &config()?, edge),
        (None, Some(file)) => add(args, file, config, edge),
        (None, None) => Err(Usage("name the request to sign".to_owned()).into()),
    }
}

/// A machine that only holds a key needs no millet.toml. One with a mistake in it is not one that is missing: the first
/// root to compare with lies beside it.
fn if_there(config: &dyn Fn() -> anyhow::Result<Config>) -> anyhow::Result<Option<Config>> {
    match config() {
        Ok(config) => Ok(Some(config)),
        Err(error) => match error.downcast_ref::<io::Error>() {
            Some(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        },
    }
}

/// Adds the signatures of the keys that are here.
fn add(
    args: &Args,
    file: &Path,
    config: &dyn Fn() -> anyhow::Result<Config>,
    edge: &Edge,
) -> anyhow::Result<()> {
    let mut request = Request::read(file)?;
    let config = if args.keys.is_empty() {
        Some(config()?)
    } else {
        if_there(config)?
    };
    check_first_root(&request, config.as_ref())?;
    output::say(&words::changes(&request).join("\n"));
    output::confirm("Sign this?", args.yes)?;
    let mut signed = 0_usize;
    let roles: Vec<String> = request.roles().map(str::to_owned).collect();
    for role in &roles {
        for signer in keys(args, config.as_ref(), edge, role)?.here() {
            if request.sign(role, signer)? {
                output::say(&format!("{role}: signed with {}", signer.public_key().id()));
                signed = signed.saturating_add(1);
            }
        }
    }
    if signed == 0 {
        print_progress(&request)?;
        bail!("nothing was signed: no key that is here is missing from it");
    }
    request.write(file, &edge.unfinished)?;
    print_progress(&request)?;
    next_for(&request, file);
    Ok(())
}

/// Prints of each role how many of its signatures are there.
fn print_progress(request: &Request) -> anyhow::Result<()> {
    let mut table = output::columns();
    table.set_header(["role", "signed", "could sign"]);
    for progress in request.progress() {
        let short = |ids: &[KeyId]| {
            let short: Vec<&str> = ids.iter().map(KeyId::short).collect();
            short.join(" ")
        };
        let missing = if progress.is_complete() {
            String::new()
        } else {
            short(&progress.missing)
        };
        table.add_row([
            progress.whose.clone(),
            format!(
                "{} of {}  {}",
                progress.signed.len(),
                progress.threshold,
                short(&progress.signed)
            ),
            missing,
        ]);
    }
    output::print(&output::table(&table))
}

fn next_for(request: &Request, file: &Path) {
    if request.progress().iter().all(request::Progress::is_complete) {
        output::next(&format!("millet sign import {}", file.display()));
    } else {
        output::next(&format!(
            "millet sign {0}, by each who holds a key; then millet sign import {0} COPY…",
            file.display()
        ));
    }
}

/// Holds the request's first root against the one that this machine began with; both or neither must be there.
fn check_first_root(request: &Request, config: Option<&Config>) -> anyhow::Result<()> {
    let folder = config.map_or_else(|| PathBuf::from(".millet"), Config::trusted_folder);
    let own = std::fs::read(folder.join(FIRST_ROOT)).ok();
    match (request.first_root(), own) {
        (Some(theirs), Some(own)) if theirs == own => {}
        // An import that broke off before its upload has left the root that it was about to publish.
        (None, Some(own)) if request.begins_with(&own) => {}
        (_, Some(_)) => bail!(
            "the request is for another repository than the one whose first root is in .millet/{FIRST_ROOT} here"
        ),
        (Some(theirs), None) => output::say(&format!(
            "this machine has no .millet/{FIRST_ROOT}: compare the repository's first root yourself, SHA-256 {}",
            hex::encode(Sha256::digest(theirs))
        )),
        (None, None) => output::say("this begins a new repository"),
    }
    Ok(())
}

/// The keys that may sign a role: those that were named, or those of millet.toml.
fn keys(args: &Args, config: Option<&Config>, edge: &Edge, role: &str) -> anyhow::Result<KeyRing> {
    if let Some(config) = config.filter(|_| args.keys.is_empty()) {
        let uris = match role {
            "root" => &config.root.keys,
            "targets" => &config.targets.keys,
            _ => {
                let model = config.models.iter().find(|(model, _)| builds_role(model) == role);
                match model {
                    Some((_, model)) => &model.keys,
                    None => bail!("millet.toml has no model with the role {role}: name the key with --key"),
                }
            }
        };
        return KeyRing::load(config, edge, role, uris, 1);
    }
    let here = KeysConfig {
        passphrase_agent: config.and_then(|config| config.keys.passphrase_agent),
        ..KeysConfig::default()
    };
    let ring = KeyRing::find(&here, edge, role, &args.keys, 1)?;
    if let Some(elsewhere) = ring.elsewhere().first() {
        bail!("the private half of {elsewhere} is not here");
    }
    Ok(ring)
}
