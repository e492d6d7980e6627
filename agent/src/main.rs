//! `millet-agent`: gets updates by itself, and lets a device's owner see and steer.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use millet_agent::Device;
use millet_agent::config::Config;
use millet_agent::edge::System;
use millet_agent::output::say;

use commands::{Exit, check, feedback, install, privacy, rollback, run, status, vote, why};

/// Keeps this device up to date: signed builds, in waves, to the slot that does not run.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 10 an update is available, 11 a reboot is needed."
)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, default_value = "/etc/millet/agent.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work: look, install, reboot, confirm; for ever, or once.
    Run(run::Arguments),
    /// Ask the repository whether a build waits for this device.
    Check(check::Arguments),
    /// Install what is offered, and reboot.
    Install(install::Arguments),
    /// What this device runs and does.
    Status(status::Arguments),
    /// Why this device does or does not get a build, and when.
    Why(why::Arguments),
    /// Say something about a build, signed with this device's key.
    Feedback(feedback::Arguments),
    /// Vote for an entry of the build that runs, signed with this device's key.
    Vote(vote::Arguments),
    /// See and choose what this device tells.
    Privacy(privacy::Arguments),
    /// Boot the build in the other slot.
    Rollback(rollback::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match go(cli) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            say(&format!("millet-agent: {error:#}"));
            ExitCode::from(Exit::Failed.code())
        }
    }
}

fn go(cli: Cli) -> anyhow::Result<Exit> {
    let config = Config::read(&cli.config)?;
    let device = Device::open(config, Arc::new(System))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Run(arguments) => run::run(device, &arguments).await,
            Command::Check(arguments) => check::run(&device, &arguments).await,
            Command::Install(arguments) => install::run(device, &arguments).await,
            Command::Status(arguments) => status::run(&device, &arguments),
            Command::Why(arguments) => why::run(&device, &arguments).await,
            Command::Feedback(arguments) => feedback::run(&device, &arguments).await,
            Command::Vote(arguments) => vote::run(&device, &arguments).await,
            Command::Privacy(arguments) => privacy::run(&device, &arguments),
            Command::Rollback(arguments) => rollback::run(device, &arguments).await,
        }
    })
}
