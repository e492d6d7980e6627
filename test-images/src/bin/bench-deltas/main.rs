//! `cargo bench-deltas`: our delta payload beside HDiffPatch's on the same real images, in one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use indicatif::HumanBytes;
use millet_test_images::fleet::measure::{self, Cost};
use millet_test_images::fleet::{Programs, drop_separator, run};

/// Reads two files, writes their diff: whole files in memory, zstd at level 21 with a window of 2^27 bytes.
const HDIFFPATCH: &str = "
import sys, hdiffpatch
old, new, out = (open(path, mode) for path, mode in zip(sys.argv[1:], ('rb', 'rb', 'wb')))
out.write(hdiffpatch.diff(old.read(), new.read(), hdiffpatch.ZStdConfig(level=21, window=27), validate=False))
";

/// Measures deltas of two weekly builds beside HDiffPatch (PyPI hdiffpatch, zstd 21), partition by partition.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-deltas")]
struct Arguments {
    /// Folder with `older/` and `newer/`, each of `<partition>.img`; made when it is not there.
    #[arg(long, default_value = "target/debian-pair")]
    pair: PathBuf,
    /// A Python that has hdiffpatch.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse_from(drop_separator(std::env::args_os()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo bench-deltas: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    run(
        Command::new(&arguments.python).args(["-c", "import hdiffpatch"]),
        false,
    )?
    .success("import hdiffpatch")
    .context("install it with `pip install hdiffpatch`, or name another --python")?;
    let programs = Programs::build(true)?;
    if !arguments.pair.join("newer/system.img").is_file() {
        let mut command = programs.test_images();
        run(command.arg("debian").arg("--out").arg(&arguments.pair), true)?
            .success("millet-test-images debian")?;
    }
    let scratch = tempfile::tempdir_in(&arguments.pair)?;
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "partition",
        "image",
        "millet",
        "hdiffpatch zstd 21",
        "ratio of bytes",
        "CPU s",
        "CPU s",
        "ratio of CPU",
        "peak memory",
        "peak memory",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for name in ["system", "vendor", "boot"] {
        eprintln!("{name} …");
        let file = format!("{name}.img");
        let (older, newer) = (scratch.path().join("older"), scratch.path().join("newer"));
        let (old, new) = (
            alone(arguments, "older", &file, &older)?,
            alone(arguments, "newer", &file, &newer)?,
        );
        let (payload, patch) = (scratch.path().join("payload"), scratch.path().join("patch"));
        let mut ours = Command::new(&programs.millet);
        ours.args(["payload", "delta", "--from"])
            .arg(&older)
            .arg("--to")
            .arg(&newer)
            .arg("--out")
            .arg(&payload);
        let ours = cost(&mut ours)?;
        // No size is quoted of a payload that was not applied and hashed.
        let mut verify = Command::new(&programs.millet);
        verify
            .args(["payload", "verify"])
            .arg(&payload)
            .arg("--from")
            .arg(&older)
            .arg("--images")
            .arg(&newer);
        run(&mut verify, false)?.success("millet payload verify")?;
        let mut theirs = Command::new(&arguments.python);
        let theirs = cost(theirs.args(["-c", HDIFFPATCH]).arg(&old).arg(&new).arg(&patch))?;
        let (our_bytes, their_bytes) = (fs::metadata(&payload)?.len(), fs::metadata(&patch)?.len());
        let (our_cpu, their_cpu) = (ours.cpu.as_secs_f64(), theirs.cpu.as_secs_f64());
        table.add_row([
            name.to_owned(),
            HumanBytes(fs::metadata(&new)?.len()).to_string(),
            our_bytes.to_string(),
            their_bytes.to_string(),
            format!("{:.2}", our_bytes as f64 / their_bytes as f64),
            format!("{our_cpu:.1}"),
            format!("{their_cpu:.1}"),
            format!("{:.2}", our_cpu / their_cpu),
            HumanBytes(ours.peak_rss).to_string(),
            HumanBytes(theirs.peak_rss).to_string(),
        ]);
        fs::remove_dir_all(&older)?;
        fs::remove_dir_all(&newer)?;
    }
    println!("{table}");
    Ok(())
}

/// A folder that holds one partition of the pair, so that both programs see the same bytes and no more.
fn alone(arguments: &Arguments, week: &str, file: &str, folder: &Path) -> Result<PathBuf> {
    let image = arguments.pair.join(week).join(file).canonicalize()?;
    fs::create_dir(folder)?;
    let link = folder.join(file);
    std::os::unix::fs::symlink(image, &link)?;
    Ok(link)
}

fn cost(command: &mut Command) -> Result<Cost> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let cost = measure::wait(&mut child)?;
    ensure!(
        cost.status.success(),
        "{} ended with {}",
        command.get_program().display(),
        cost.status
    );
    Ok(cost)
}
