//! `millet`: what a release engineer does, from the first key to the rollout.
//!
//! Each subcommand is a file. Data goes to stdout, talk to stderr; the exit code is 0 when it is done, 1 when it
//! failed, 2 when the command line was wrong.

mod client;
mod config;
mod document;
mod edge;
mod images;
mod key;
mod keys;
mod model_add;
mod notes;
mod output;
mod payload;
mod progress;
mod promote;
mod publish;
mod repo_check;
mod repo_init;
mod repository;
mod rollout;
mod selection;
mod sign;
mod unfinished;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::edge::Edge;

/// Builds, signs, publishes and rolls out ROM images.
#[derive(Parser)]
#[command(name = "millet", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    /// Names server, keys and models; millet.toml when absent.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Reads passphrases and PINs from this file descriptor, a line for each in the order they are asked for.
    #[arg(long, global = true, value_name = "N")]
    passphrase_fd: Option<u32>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes, protects and shows keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Sets up a repository, and checks it.
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Adds device types.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Publishes a build: payload, manifest, signatures, upload.
    Publish(Box<publish::Args>),
    /// Allows a published build on another channel.
    Promote(promote::Args),
    /// Collects signatures of people who are elsewhere: signs a request, or makes, shows and imports one.
    Sign(sign::Args),
    /// Starts, watches and stops rollouts.
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// Makes and examines payloads without a repository.
    #[command(subcommand)]
    Payload(payload::Command),
}

#[derive(Subcommand)]
enum RepoCommand {
    /// Makes a new repository on the server: its first root and its empty list of models.
    Init(repo_init::Args),
    /// Checks all that devices would check, and what expires soon.
    Check(repo_check::Args),
}

#[derive(Subcommand)]
enum ModelCommand {
    /// Lets the keys that millet.toml names for a model sign its builds.
    Add(model_add::Args),
}

/// A command line that clap lets pass and that still makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let edge = Edge::ask(cli.passphrase_fd);
    match run(&cli, &edge) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli, edge: &Edge) -> anyhow::Result<()> {
    let path = cli.config.as_deref().unwrap_or(Path::new("millet.toml"));
    // Some commands do without a millet.toml, but not without the one that was named.
    if cli.config.is_some() {
        File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let config = || Config::read(path);
    match &cli.command {
        Command::Key(command) => key::run(command, path, edge),
        Command::Repo(RepoCommand::Check(args)) => repo_check::run(args, &config, edge),
        Command::Repo(RepoCommand::Init(args)) => repo_init::run(args, &config()?, edge),
        Command::Model(ModelCommand::Add(args)) => model_add::run(args, &config()?, edge),
        Command::Publish(args) => publish::run(args, &config()?, edge),
        Command::Promote(args) => promote::run(args, &config()?, edge),
        Command::Sign(args) => sign::run(args, &config, edge),
        Command::Rollout(command) => rollout::run(command, &config()?, edge),
        Command::Payload(command) => payload::run(command, edge),
    }
}
