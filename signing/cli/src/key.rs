//! `millet key`: makes, protects and shows keys.

mod export_public;
mod new;
mod passphrase;
mod show;

use std::path::Path;

use anyhow::Context;
use millet_signing::PublicKey;

use crate::config::{Config, KeysConfig};
use crate::edge::Edge;
use crate::keys::KeyUri;
use crate::unfinished::{Existing, Unfinished, write_whole_as};

/// `millet key`
#[derive(clap::Subcommand)]
pub enum Command {
    /// Makes a key: NAME.key, which only you can read and a passphrase opens, and NAME.pub.
    New(new::Args),
    /// Changes the passphrase of a key file; a plain file becomes an encrypted one.
    Passphrase(passphrase::Args),
    /// Shows what a key is and which roles of millet.toml it signs for.
    Show(show::Args),
    /// Writes the public half of a key, for those who list it.
    ExportPublic(export_public::Args),
}

pub fn run(command: &Command, config: &Path, edge: &Edge) -> anyhow::Result<()> {
    match command {
        Command::New(args) => new::run(args, edge),
        Command::Passphrase(args) => passphrase::run(args, edge),
        Command::Show(args) => show::run(args, read_config(config)?.as_ref(), edge),
        Command::ExportPublic(args) => export_public::run(args, read_config(config)?.as_ref(), edge),
    }
}

/// A key without a millet.toml is still a key.
fn read_config(path: &Path) -> anyhow::Result<Option<Config>> {
    path.exists().then(|| Config::read(path)).transpose()
}

/// A key as an argument names it, by URI or path, with what finding it takes: its paths count from here.
fn named(argument: &str, config: Option<&Config>) -> anyhow::Result<(KeyUri, KeysConfig)> {
    let uri = match argument.split_once(':') {
        Some(_) => argument.parse()?,
        None => KeyUri::File(argument.into()),
    };
    let mut keys = config.map(|config| config.keys.clone()).unwrap_or_default();
    if !matches!(uri, KeyUri::Exec(_)) {
        keys.folder = "".into();
    }
    Ok((uri, keys))
}

/// Writes a TUF key object, never over an existing file.
fn write_public(unfinished: &Unfinished, path: &Path, key: &PublicKey) -> anyhow::Result<()> {
    let object = object(key)?;
    write_whole_as(
        unfinished,
        path,
        format!("{object}\n").as_bytes(),
        0o644,
        Existing::Kept,
    )
}

fn object(key: &PublicKey) -> anyhow::Result<String> {
    serde_json::to_string_pretty(key).context("cannot write the public key")
}
