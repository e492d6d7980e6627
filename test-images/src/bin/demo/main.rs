//! `cargo demo`: one weekly build travels the whole way, from image to confirmed boot, and comes back as feedback.

mod images;
mod report;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use millet_test_images::fleet::drop_separator;
use millet_test_images::output::{print, say};

/// Sends three weekly builds through real keys, a real server and a real device folder, and shows what happened.
#[derive(Debug, Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// Which images travel.
    #[arg(long, value_enum, default_value = "synthetic")]
    images: Kind,
    /// Size of the synthetic images, in MiB.
    #[arg(long, default_value_t = 96)]
    size: u32,
    /// Keep the server up at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where the server listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Folder for everything the demo makes; it is emptied first.
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
    /// Where the debian pair lies or will be made.
    #[arg(long, default_value = "target/debian-pair")]
    pair: PathBuf,
}

/// Which images travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Three deterministic weeks; needs nothing but this program.
    Synthetic,
    /// Two real weeks of Debian arm64; needs apt, e2fsprogs and erofs-utils.
    Debian,
}

fn main() -> ExitCode {
    match run(&Arguments::parse_from(drop_separator(std::env::args_os()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("cargo demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.dir.exists() {
        std::fs::remove_dir_all(&arguments.dir)
            .with_context(|| format!("cannot empty {}", arguments.dir.display()))?;
    }
    std::fs::create_dir_all(&arguments.dir)
        .with_context(|| format!("cannot make {}", arguments.dir.display()))?;
    let dir = arguments.dir.canonicalize()?;
    let (server, outcome) = story::tell(arguments, &dir)?;
    report::print(&outcome)?;
    print(format_args!("\nThe page: {}/", server.url()))?;
    if arguments.keep {
        print(format_args!(
            "It stays up until Ctrl-C. Everything lies in {}.",
            dir.display()
        ))?;
        loop {
            std::thread::park();
        }
    }
    print("The server is down again; `cargo demo --keep` leaves it up.")
}
