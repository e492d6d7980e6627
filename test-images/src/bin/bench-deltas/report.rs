use std::fmt::Write;
use std::time::Duration;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::machine::Limits;
use crate::methods::{Measured, Method};
use crate::pairs::Pair;

/// Everything measured on one pair.
pub struct Result {
    /// The pair.
    pub pair: Pair,
    /// Bytes of its older and its newer image.
    pub sizes: (u64, u64),
    /// What no applier can undercut.
    pub limits: Limits,
    /// What each method needed; `None` for one that was given up.
    pub rows: Vec<(Method, Option<Measured>)>,
}

impl Result {
    /// What the method that all are compared with needed.
    pub fn reference(&self) -> Option<&Measured> {
        self.rows
            .iter()
            .find(|(method, _)| *method == Method::REFERENCE)
            .and_then(|(_, measured)| measured.as_ref())
    }
}

/// One method's figures on one line.
pub fn line(measured: &Measured) -> String {
    format!(
        "{} bytes; made in {} CPU s, {} MiB; applied in {} CPU s, {} MiB",
        grouped(measured.bytes),
        seconds(measured.made.cpu),
        mebibytes(measured.made.peak_rss),
        seconds(measured.applied.cpu),
        mebibytes(measured.applied.peak_rss)
    )
}

/// What stands where a method has no figures.
pub fn given_up(patience: Duration) -> String {
    format!("not done after {} min", patience.as_secs() / 60)
}

/// The page with every table, for docs.
pub fn markdown(results: &[Result], machine: &str, when: &str, patience: Duration) -> String {
    let mut page = String::from(
        "# Deltas beside other tools\n\n\
         Every delta was applied by its own tool, and the result had the SHA-256 of the new image, before its size was \
         written here. Millet's processor time includes that check, which `millet payload delta` never leaves out. \
         Bytes and seconds of making are also given as ratios to HDiffPatch with zstd.\n\n\
         ![Bytes of each delta, as a ratio to HDiffPatch with zstd](deltas.svg)\n",
    );
    // Writing to a String does not fail.
    let _ = writeln!(
        page,
        "\nMeasured on {when}, on {machine}, in one run of `cargo bench-deltas`."
    );
    for result in results {
        let (old, new) = result.sizes;
        let _ = writeln!(
            page,
            "\n## {}\n\n{}; {} → {} bytes.\n\n{}",
            result.pair.name,
            sentence(result.pair.is),
            grouped(old),
            grouped(new),
            table(result, patience)
        );
        let Limits { read, write, hash } = result.limits;
        let _ = writeln!(
            page,
            "\nAlone, reading the old image takes {} s, writing the new one {} s, hashing it {} s.",
            seconds(read),
            seconds(write),
            seconds(hash)
        );
        if let Some((_, Some(ours))) = result.rows.iter().find(|(method, _)| *method == Method::Millet) {
            let _ = writeln!(
                page,
                "Millet applies in {} s: {:.2} times the slowest of the three.",
                seconds(ours.applied.wall),
                ours.applied.wall.as_secs_f64() / result.limits.slowest().as_secs_f64()
            );
        }
    }
    page.push_str("\n## Commands\n\n");
    let measured = |method: &Method| {
        let mut rows = results.iter().flat_map(|result| &result.rows);
        rows.any(|(known, _)| known == method)
    };
    for method in Method::ALL.into_iter().filter(measured) {
        let [make, apply] = method.commands();
        let _ = writeln!(page, "- {}: `{make}`, `{apply}`", method.name());
    }
    page
}

fn table(result: &Result, patience: Duration) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "method",
        "bytes",
        "ratio",
        "made, CPU s",
        "ratio",
        "made, MiB",
        "applied, CPU s",
        "applied, MiB",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (method, measured) in &result.rows {
        let Some(measured) = measured else {
            table.add_row([method.name().to_owned(), given_up(patience)]);
            continue;
        };
        let ratio = |of: fn(&Measured) -> f64| {
            let reference = result.reference().map(of);
            reference.map_or_else(String::new, |reference| {
                format!("{:.2}", of(measured) / reference)
            })
        };
        table.add_row([
            method.name().to_owned(),
            grouped(measured.bytes),
            ratio(|measured| measured.bytes as f64),
            seconds(measured.made.cpu),
            ratio(|measured| measured.made.cpu.as_secs_f64()),
            mebibytes(measured.made.peak_rss),
            seconds(measured.applied.cpu),
            mebibytes(measured.applied.peak_rss),
        ]);
    }
    table
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
