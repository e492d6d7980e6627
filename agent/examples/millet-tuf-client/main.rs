//! A TUF client for testing: the driver that devices run, on anyone's repository, speaking the protocol of the public
//! conformance suite (theupdateframework/tuf-conformance, `CLIENT-CLI.md`).
//!
//! ```text
//! millet-tuf-client --metadata-dir D init ROOT
//! millet-tuf-client --metadata-dir D --metadata-url U refresh
//! millet-tuf-client --metadata-dir D --metadata-url U --target-name T --target-base-url V --target-dir W download
//! ```
//!
//! It exits with 0 when all was done and with 1 whatever else happened. Build it with the feature `rsa`.

mod target_folder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use millet_agent::edge::{Edge, System};
use millet_agent::state::MetadataFolder;
use millet_agent::updater::Updater;
use millet_agent::{Client, Error, output};
use millet_signing::{Refresh, verify_first_root};

use crate::target_folder::TargetFolder;

/// Bytes of a target that are fetched; they lie in memory.
const LARGEST_TARGET: u64 = 1 << 30;

/// A TUF client for testing.
#[derive(Parser)]
struct Arguments {
    /// Trusted metadata is kept here
    #[arg(long, value_name = "DIR")]
    metadata_dir: PathBuf,
    /// Where the repository's metadata is
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// A target path; may be given several times
    #[arg(long = "target-name", value_name = "PATH", allow_hyphen_values = true)]
    target_names: Vec<String>,
    /// Where the repository's targets are
    #[arg(long, value_name = "URL")]
    target_base_url: Option<String>,
    /// Targets are stored here
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trusts a root; asks nobody
    Init {
        /// The root's file
        root: PathBuf,
    },
    /// Brings the metadata up to date
    Refresh,
    /// Brings the metadata up to date and fetches targets, one after the other
    Download,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("millet-tuf-client: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match &arguments.command {
        Command::Init { root } => init(&arguments.metadata_dir, root),
        Command::Refresh => {
            let updater = updater(arguments)?;
            runtime.block_on(refresh(&updater))?;
            Ok(())
        }
        Command::Download => runtime.block_on(download(arguments)),
    }
}

fn init(folder: &Path, root: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(root).with_context(|| format!("cannot read {}", root.display()))?;
    verify_first_root(&bytes).with_context(|| format!("{} is not trusted", root.display()))?;
    Ok(MetadataFolder::new(folder).save_root(&bytes)?)
}

async fn refresh(updater: &Updater) -> Result<Refresh, Error> {
    let mut refresh = updater.start(None, &[], System.now())?;
    advance(updater, &mut refresh).await?;
    Ok(refresh)
}

async fn download(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments
        .target_dir
        .as_deref()
        .context("--target-dir is missing")?;
    if arguments.target_names.is_empty() {
        bail!("--target-name is missing");
    }
    if arguments.target_base_url.is_none() {
        bail!("--target-base-url is missing");
    }
    let folder = TargetFolder::new(folder);
    let updater = updater(arguments)?;
    let mut refresh = refresh(&updater).await?;
    for name in &arguments.target_names {
        refresh.want_target(name).map_err(updater.trust())?;
        advance(&updater, &mut refresh).await?;
        let set = refresh.set();
        let file = set
            .target(name)
            .with_context(|| format!("the repository has no target {name:?}"))?;
        if folder.has(name, file) {
            continue;
        }
        if file.length > LARGEST_TARGET {
            bail!(
                "{name:?} has {} bytes, more than the {LARGEST_TARGET} that are fetched",
                file.length
            );
        }
        let bytes = updater.fetch(set, name, file).await?;
        folder.store(name, &bytes)?;
    }
    Ok(())
}

/// What was verified is kept before the error is told.
async fn advance(updater: &Updater, refresh: &mut Refresh) -> Result<(), Error> {
    let outcome = updater.drive(refresh, &mut None).await;
    updater.keep(refresh)?;
    outcome
}

fn updater(arguments: &Arguments) -> anyhow::Result<Updater> {
    let metadata = arguments
        .metadata_url
        .as_deref()
        .context("--metadata-url is missing")?;
    let targets = arguments.target_base_url.as_deref().unwrap_or_default();
    Ok(Updater {
        metadata: metadata.trim_end_matches('/').to_owned(),
        targets: targets.trim_end_matches('/').to_owned(),
        client: Client::new(Arc::new(System)).impatient(),
        cache: MetadataFolder::new(&arguments.metadata_dir),
    })
}
