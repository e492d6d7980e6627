//! What phones are told of the build before they take it.

use std::path::PathBuf;

use anyhow::Context;
use jiff::civil::Date;
use millet_payload::{Description, DynamicPartitions, PhoneBuild};

use super::build_prop::{BuildProp, read_text};
use crate::Usage;

/// Options that describe the build, or say where it describes itself.
#[derive(clap::Args)]
pub struct Describing {
    /// build.prop of the build that the payload makes; may be repeated, the first to name a property counts.
    #[arg(long, value_name = "FILE")]
    build_prop: Vec<PathBuf>,
    /// Phone that may take it, as ro.product.device names it; may be repeated.
    #[arg(long = "device", value_name = "NAME")]
    devices: Vec<String>,
    /// ro.build.fingerprint of the build that the payload makes.
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// ro.build.version.incremental of it.
    #[arg(long, value_name = "VERSION")]
    incremental: Option<String>,
    /// ro.build.date.utc of it; phones refuse a build that is older than their own.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
    timestamp: Option<i64>,
    /// ro.build.version.sdk of it.
    #[arg(long, value_name = "LEVEL")]
    sdk_level: Option<String>,
    /// ro.build.version.security_patch of it; phones refuse an older one than their own.
    #[arg(long, value_name = "YYYY-MM-DD")]
    security_patch: Option<Date>,
    /// META/dynamic_partitions_info.txt of it: phones that keep partitions in super, as Virtual A/B does, need what it says.
    #[arg(long, value_name = "FILE")]
    dynamic_partitions: Option<PathBuf>,
    /// build.prop of the build that a delta is applied to; may be repeated.
    #[arg(long, value_name = "FILE")]
    from_build_prop: Vec<PathBuf>,
    /// ro.build.fingerprint of the build that a delta is applied to.
    #[arg(long, value_name = "FINGERPRINT")]
    from_fingerprint: Option<String>,
    /// ro.build.version.incremental of it.
    #[arg(long, value_name = "VERSION")]
    from_incremental: Option<String>,
}

/// A full payload's build may be named by any of these, the device's own name first.
const DEVICE: [&str; 2] = ["ro.product.device", "ro.product.vendor.device"];
/// Since Android 11 each partition has its own names, and init makes the first one of them when it boots.
const FINGERPRINT: [&str; 2] = ["ro.build.fingerprint", "ro.system.build.fingerprint"];
const INCREMENTAL: [&str; 2] = [
    "ro.build.version.incremental",
    "ro.system.build.version.incremental",
];
const TIMESTAMP: [&str; 2] = ["ro.build.date.utc", "ro.system.build.date.utc"];
const SDK_LEVEL: [&str; 2] = ["ro.build.version.sdk", "ro.system.build.version.sdk"];
const SECURITY_PATCH: [&str; 1] = ["ro.build.version.security_patch"];

impl Describing {
    /// What the options say, and for the rest the build's properties.
    pub fn description(&self, delta: bool) -> anyhow::Result<Description> {
        let known = BuildProp::read(&self.build_prop)?;
        let devices = match self.devices.as_slice() {
            [] => vec![required(None, &known, &DEVICE, "--device", "--build-prop")?],
            devices => devices.to_vec(),
        };
        let timestamp = match self.timestamp {
            Some(timestamp) => timestamp,
            None => required(None, &known, &TIMESTAMP, "--timestamp", "--build-prop")?
                .parse()
                .ok()
                .filter(|seconds| *seconds > 0)
                .context("ro.build.date.utc in the build.prop is not a number of seconds")?,
        };
        let security_patch = match self.security_patch {
            Some(date) => Some(date),
            None => known
                .get(&SECURITY_PATCH)
                .map(str::parse)
                .transpose()
                .context("ro.build.version.security_patch in the build.prop is not a date")?,
        };
        Ok(Description {
            devices,
            from: delta.then(|| self.from()).transpose()?,
            to: PhoneBuild {
                fingerprint: required(
                    self.fingerprint.as_ref(),
                    &known,
                    &FINGERPRINT,
                    "--fingerprint",
                    "--build-prop",
                )?,
                incremental: optional(self.incremental.as_ref(), &known, &INCREMENTAL),
            },
            timestamp,
            sdk_level: optional(self.sdk_level.as_ref(), &known, &SDK_LEVEL),
            security_patch: security_patch.map(|date: Date| date.to_string()),
            dynamic: self.dynamic()?,
        })
    }

    fn dynamic(&self) -> anyhow::Result<Option<DynamicPartitions>> {
        let Some(path) = &self.dynamic_partitions else {
            return Ok(None);
        };
        let text = read_text(path)?;
        let read = DynamicPartitions::parse(&text);
        Ok(Some(
            read.with_context(|| format!("{} cannot be used", path.display()))?,
        ))
    }

    fn from(&self) -> anyhow::Result<PhoneBuild> {
        let known = BuildProp::read(&self.from_build_prop)?;
        Ok(PhoneBuild {
            fingerprint: required(
                self.from_fingerprint.as_ref(),
                &known,
                &FINGERPRINT,
                "--from-fingerprint",
                "--from-build-prop",
            )?,
            incremental: optional(self.from_incremental.as_ref(), &known, &INCREMENTAL),
        })
    }
}

fn optional(named: Option<&String>, known: &BuildProp, names: &[&str]) -> Option<String> {
    named
        .map(String::as_str)
        .or_else(|| known.get(names))
        .map(str::to_owned)
}

fn required(
    named: Option<&String>,
    known: &BuildProp,
    names: &[&str],
    option: &str,
    file_option: &str,
) -> anyhow::Result<String> {
    optional(named, known, names).ok_or_else(|| {
        let name = names.first().copied().unwrap_or_default();
        Usage(format!(
            "phones must be told {name}: name it with {option}, or a build.prop that says it with {file_option}"
        ))
        .into()
    })
}
