//! `cargo bench-deltas`: our delta payload beside other people's delta tools on the same real images, in one run.

mod chart;
mod machine;
mod methods;
mod pairs;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use millet_test_images::fleet::{Programs, drop_separator, run};
use millet_test_images::output::{print, say};

use crate::methods::Method;
use crate::pairs::{NAMES, Pair};

/// Measures deltas of real weekly builds beside bsdiff, xdelta3, zstd and HDiffPatch: bytes, processor time, memory.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-deltas")]
struct Arguments {
    /// Folder of the Debian pair, made when it is not there
    #[arg(long, default_value = "target/debian-pair")]
    debian: PathBuf,
    /// Folder of the pair of app partitions, made when it is not there
    #[arg(long, default_value = "target/wheels-pair")]
    wheels: PathBuf,
    /// A Python that has PyPI's hdiffpatch
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Only these pairs
    #[arg(long, value_parser = NAMES, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these methods
    #[arg(long, value_enum, value_delimiter = ',')]
    methods: Vec<Method>,
    /// Minutes after which a tool that is not done is given up
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    patience: u32,
    /// Receives deltas.md and deltas.svg; without it the table goes to stdout
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse_from(drop_separator(std::env::args_os()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("cargo bench-deltas: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let methods = match arguments.methods.as_slice() {
        [] => Method::ALL.to_vec(),
        chosen => chosen.to_vec(),
    };
    for method in &methods {
        method.is_there(&arguments.python)?;
    }
    // Before anything is built: what is measured is this commit, whatever happens to the checkout meanwhile.
    let when = when()?;
    let programs = Programs::build()?;
    let patience = Duration::from_secs(60) * arguments.patience;
    let pairs: Vec<Pair> = pairs::all(&arguments.debian, &arguments.wheels)
        .into_iter()
        .filter(|pair| arguments.only.is_empty() || arguments.only.iter().any(|name| name == pair.name))
        .collect();
    for pair in &pairs {
        if !pair.newer().is_file() {
            let mut command = programs.test_images();
            command.arg(pair.made_by).arg("--out").arg(&pair.folder);
            run(&mut command, true)?.success("millet-test-images")?;
        }
    }
    fs::create_dir_all("target").context("cannot make target")?;
    let scratch = tempfile::tempdir_in("target")?;
    let machine = machine::describe()?;
    let mut results = Vec::new();
    for pair in &pairs {
        let limits = machine::limits(pair, scratch.path())?;
        let mut rows = Vec::new();
        for method in &methods {
            say(format_args!("{} by {} …", pair.name, method.name()));
            let measured = method.measure(pair, &programs, &arguments.python, scratch.path(), patience)?;
            say(format_args!(
                "  {}",
                measured
                    .as_ref()
                    .map_or_else(|| report::given_up(patience), report::line)
            ));
            rows.push((*method, measured));
        }
        results.push(report::Result {
            pair: pair.clone(),
            sizes: (
                fs::metadata(pair.older())?.len(),
                fs::metadata(pair.newer())?.len(),
            ),
            limits,
            rows,
        });
        // Hours may have passed: what is measured is kept, whatever happens to the pairs that follow.
        if let Some(folder) = &arguments.out {
            write(
                folder,
                "deltas.md",
                &report::markdown(&results, &machine, &when, patience),
            )?;
            write(folder, "deltas.svg", &chart::svg(&results, patience))?;
        }
    }
    if arguments.out.is_none() {
        print(report::markdown(&results, &machine, &when, patience))?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    say(path.display());
    Ok(())
}

/// The day and the commit of the run.
fn when() -> Result<String> {
    let date = said(Command::new("date").args(["--utc", "+%F"]))?;
    let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]))?;
    Ok(format!("{date} at commit {commit}"))
}

fn said(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    Ok(run(command, false)?.success(&program)?.stdout.trim().to_owned())
}
