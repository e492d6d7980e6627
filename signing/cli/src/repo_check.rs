//! `millet repo check`: what every device would check, before one does.

mod files;
mod place;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use millet_signing::metadata::{Targets, lifetime};
use millet_signing::{Files, Limits, Refresh, Step, Verified, file_name};
use serde::Serialize;

use crate::config::Config;
use crate::edge::Edge;
use crate::output;
use crate::repository::FIRST_ROOT;
use place::Place;

/// `millet repo check`
#[derive(clap::Args)]
pub struct Args {
    /// Addresses or folders that hold `metadata/` and `targets/`; of several, all must agree. By default the server's.
    #[arg(value_name = "URL|DIR")]
    places: Vec<String>,
    /// The first root of the repository; by default the one that this workshop trusts.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Fails when an offline role expires within so many days; by default a quarter of its life.
    #[arg(long, value_name = "DAYS")]
    warn_days: Option<u32>,
    /// Hashes whole payloads also where they come over the network.
    #[arg(long)]
    full: bool,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// What was found at one place.
#[derive(Serialize)]
struct Report {
    place: String,
    roles: Vec<RoleReport>,
    targets: usize,
    problems: Vec<String>,
}

#[derive(Serialize, Clone, PartialEq)]
struct RoleReport {
    role: String,
    version: u64,
    expires: Timestamp,
    #[serde(skip)]
    file: Vec<u8>,
}

pub fn run(args: &Args, config: &dyn Fn() -> anyhow::Result<Config>, edge: &Edge) -> anyhow::Result<()> {
    let places = match args.places.as_slice() {
        [] => vec![format!("{}/repo", config()?.server)],
        named => named.to_vec(),
    };
    let root = first_root(args, config)?;
    let mut reports = Vec::new();
    for name in places {
        let place = Place::new(&name)?;
        reports.push(check(args, edge, &name, &place, &root)?);
    }
    compare(&mut reports);
    let problems: usize = reports.iter().map(|report| report.problems.len()).sum();
    if args.json {
        output::print_json(&reports)?;
    } else {
        for report in &reports {
            print(report, edge.now)?;
        }
    }
    match problems {
        0 => Ok(()),
        1 => bail!("1 problem was found"),
        _ => bail!("{problems} problems were found"),
    }
}

fn first_root(args: &Args, config: &dyn Fn() -> anyhow::Result<Config>) -> anyhow::Result<Vec<u8>> {
    let path = match &args.root {
        Some(path) => path.clone(),
        None => config()
            .context("a check begins with a root: name one with --root, or a millet.toml beside .millet")?
            .trusted_folder()
            .join(FIRST_ROOT),
    };
    fs::read(&path).with_context(|| {
        format!(
            "cannot read the first root {}: millet repo init makes it, or a colleague has it",
            path.display()
        )
    })
}

fn check(args: &Args, edge: &Edge, name: &str, place: &Place, root: &[u8]) -> anyhow::Result<Report> {
    let mut report = Report {
        place: name.to_owned(),
        roles: Vec::new(),
        targets: 0,
        problems: Vec::new(),
    };
    let verified = match refresh(place, root, edge.now) {
        Ok(verified) => verified,
        Err(error) => {
            report
                .problems
                .push(format!("devices trust nothing here: {}", chain(&error)));
            return Ok(report);
        }
    };
    report.roles = roles(&verified);
    for role in &report.roles {
        let left = role.expires.duration_since(edge.now);
        if left < warning(args, &role.role) {
            report
                .problems
                .push(format!("{} expires in {}", role.role, span(left)));
        }
    }
    report.targets = files::check(args.full, place, &verified.set, &mut report.problems)?;
    Ok(report)
}

/// Everything that a device could load, with every delegated role.
fn refresh(place: &Place, root: &[u8], now: Timestamp) -> anyhow::Result<Verified> {
    let first = fetch(place, root, Files::new(), &[], now)?;
    let roles: Vec<String> = (first.set.targets().into_iter())
        .flat_map(Targets::delegated_roles)
        .map(|role| role.name.clone())
        .collect();
    let root = first.files.get("root.json").cloned().unwrap_or_default();
    fetch(place, &root, first.files, &roles, now)
}

fn fetch(
    place: &Place,
    root: &[u8],
    cached: Files,
    roles: &[String],
    now: Timestamp,
) -> anyhow::Result<Verified> {
    let mut refresh = Refresh::start(root, cached, roles, Limits::default(), now)?;
    while let Step::Fetch { name, max_length, .. } = refresh.next() {
        let bytes = place.metadata(&name, max_length)?;
        refresh.supply(bytes)?;
    }
    Ok(refresh.finish()?)
}

fn roles(verified: &Verified) -> Vec<RoleReport> {
    let set = &verified.set;
    let report = |role: &str, version: u64, expires: Timestamp| RoleReport {
        role: role.to_owned(),
        version,
        expires,
        file: verified.files.get(&file_name(role)).cloned().unwrap_or_default(),
    };
    let mut roles = vec![report("root", set.root().version, set.root().expires)];
    if let Some(timestamp) = set.timestamp() {
        roles.push(report("timestamp", timestamp.version, timestamp.expires));
    }
    if let Some(snapshot) = set.snapshot() {
        roles.push(report("snapshot", snapshot.version, snapshot.expires));
    }
    if let Some(targets) = set.targets() {
        roles.push(report("targets", targets.version, targets.expires));
        for role in targets.delegated_roles() {
            if let Some(delegated) = set.delegated(&role.name) {
                roles.push(report(&role.name, delegated.version, delegated.expires));
            }
        }
    }
    roles
}

/// How long before its end a role's expiry is a problem.
fn warning(args: &Args, role: &str) -> SignedDuration {
    let kind = role.split('.').next().unwrap_or(role);
    let (life, offline) = match kind {
        "root" => (lifetime::ROOT, true),
        "targets" => (lifetime::TARGETS, true),
        "builds" => (lifetime::BUILDS, true),
        "timestamp" => (lifetime::TIMESTAMP, false),
        // The others that a server renews live equally long.
        _ => (lifetime::SNAPSHOT, false),
    };
    match args.warn_days {
        Some(days) if offline => SignedDuration::from_hours(i64::from(days).saturating_mul(24)),
        _ => life / 4,
    }
}

/// Mirrors serve the same files, or say that one of them is behind.
fn compare(reports: &mut [Report]) {
    let Some((first, others)) = reports.split_first_mut() else {
        return;
    };
    let known: BTreeMap<&str, &RoleReport> = (first.roles.iter())
        .map(|role| (role.role.as_str(), role))
        .collect();
    for other in others {
        let mut differences = Vec::new();
        for role in &other.roles {
            match known.get(role.role.as_str()) {
                Some(same) if same.file == role.file => {}
                Some(same) if same.version == role.version => differences.push(format!(
                    "{} {} is another file than at {}",
                    role.role, role.version, first.place
                )),
                Some(same) => differences.push(format!(
                    "{} is at version {}, and at {} at {}",
                    role.role, role.version, first.place, same.version
                )),
                None => differences.push(format!("{} is not at {}", role.role, first.place)),
            }
        }
        for role in known
            .keys()
            .filter(|known| other.roles.iter().all(|role| role.role != **known))
        {
            differences.push(format!("{role} is not here, and is at {}", first.place));
        }
        other.problems.extend(differences);
    }
}

fn print(report: &Report, now: Timestamp) -> anyhow::Result<()> {
    let mut table = output::columns();
    table.set_header(["role", "version", "expires", "in"]);
    for role in &report.roles {
        table.add_row([
            role.role.clone(),
            role.version.to_string(),
            role.expires.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            span(role.expires.duration_since(now)),
        ]);
    }
    output::print(&format!("{}\n{}", report.place, output::table(&table)))?;
    output::print(&format!("{} files are named and were checked", report.targets))?;
    for problem in &report.problems {
        output::print(&format!("problem: {problem}"))?;
    }
    Ok(())
}

fn span(left: SignedDuration) -> String {
    let hours = left.as_hours();
    match hours {
        ..0 => "the past".to_owned(),
        0..48 => format!("{hours} h"),
        _ => format!("{} days", hours / 24),
    }
}

fn chain(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}
