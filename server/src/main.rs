//! `millet-server`.

mod output;
mod serve;
mod show_keys;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Publish, serve, roll out, listen.
#[derive(Debug, Parser)]
#[command(version, about, after_help = "Exit codes: 0 done, 1 failed, 2 usage.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the repository, the delta worker, the rollouts and the page.
    Serve(serve::Arguments),
    /// Show the identifiers of the keys that this server signs with.
    Keys(show_keys::Arguments),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // It would be said on the stderr that has just failed.
        .log_internal_errors(false)
        .init();
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Keys(arguments) => show_keys::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("millet-server: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
