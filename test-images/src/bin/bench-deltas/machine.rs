use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use millet_test_images::digest;
use millet_test_images::fleet::measure;

use crate::pairs::Pair;

/// What no applier can undercut: each measured alone, on this machine, in this run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Reading the old image.
    pub read: Duration,
    /// Writing the new image until it is durable.
    pub write: Duration,
    /// SHA-256 of the new image.
    pub hash: Duration,
}

impl Limits {
    /// The slowest of the three.
    pub fn slowest(&self) -> Duration {
        self.read.max(self.write).max(self.hash)
    }
}

/// Measures the three for a pair.
pub fn limits(pair: &Pair, scratch: &Path) -> Result<Limits> {
    let mut old = File::open(pair.older())?;
    let mut buffer = vec![0; 1 << 20];
    let started = measure::now();
    while old.read(&mut buffer)? > 0 {}
    let read = measure::now() - started;

    let bytes = fs::read(pair.newer())?;
    let mut file = tempfile::tempfile_in(scratch)?;
    let started = measure::now();
    for piece in bytes.chunks(1 << 20) {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    let write = measure::now() - started;
    drop(bytes);

    let started = measure::now();
    digest::of_file(&pair.newer())?;
    let hash = measure::now() - started;
    Ok(Limits { read, write, hash })
}

/// Processor, cores and memory, as the kernel tells.
pub fn describe() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = processors
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model)
        .collect();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or_default();
    let model = models.first().copied().unwrap_or("unknown processor");
    Ok(format!(
        "{} × {model}, {} GiB of memory",
        models.len().max(1),
        kib >> 20
    ))
}
