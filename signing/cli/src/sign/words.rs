//! What a request changes, in words, from nothing but the bytes to sign.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use millet_protocol::{BuildManifest, Channel, targets, visible};
use millet_signing::metadata::{Root, TargetFile, Targets};
use millet_signing::{Authority, PublicKey};

use super::request::Request;

/// One line for each change, under one for each role.
pub fn changes(request: &Request) -> Vec<String> {
    let mut lines = Vec::new();
    for role in request.roles() {
        match (role, request.next_root(), request.next_targets()) {
            ("root", Some(next), _) => root(request, next, &mut lines),
            ("targets", _, Some(next)) => models(request, next, &mut lines),
            _ => match request.builds(role) {
                Ok((now, next)) => builds(request, role, now.as_ref(), &next, &mut lines),
                Err(error) => lines.push(format!("{role}: unreadable: {error:#}")),
            },
        }
    }
    lines
}

fn root(request: &Request, next: &Root, lines: &mut Vec<String>) {
    let now = request.root();
    heading(
        "root",
        now.map(|now| (now.version, now.expires)),
        (next.version, next.expires),
        lines,
    );
    let anew = request.has_other_signers("root");
    let names: BTreeSet<&str> = (now.iter().copied().chain([next]))
        .flat_map(Root::role_names)
        .collect();
    for name in names {
        keys(
            name,
            now.and_then(|now| now.authority(name)),
            next.authority(name),
            anew,
            lines,
        );
    }
    if now.is_none_or(|now| now.consistent_snapshot) && !next.consistent_snapshot {
        lines.push("  no consistent snapshots: devices may see halves of two publications".to_owned());
    }
    other_fields(now.map(|now| &now.other), &next.other, lines);
}

fn models(request: &Request, next: &Targets, lines: &mut Vec<String>) {
    let now = request.targets();
    heading(
        "targets",
        now.map(|now| (now.version, now.expires)),
        (next.version, next.expires),
        lines,
    );
    let anew = request.has_other_signers("targets");
    let names: BTreeSet<&str> = (now.iter().copied().chain([next]))
        .flat_map(Targets::delegated_roles)
        .map(|role| role.name.as_str())
        .collect();
    for name in names {
        keys(
            name,
            now.and_then(|now| now.authority(name)),
            next.authority(name),
            anew,
            lines,
        );
        let of = |targets: &Targets| {
            let role = targets.delegated_roles().find(|role| role.name == name)?;
            Some((
                role.paths.clone().unwrap_or_default(),
                role.path_hash_prefixes.clone(),
                role.terminating,
            ))
        };
        let (before, after) = (now.and_then(of), of(next));
        let same = before == after;
        if let Some((paths, prefixes, terminating)) = after.filter(|_| anew || !same) {
            let is = if same { "stays" } else { "is" };
            let paths: Vec<String> = paths.iter().map(|path| shown(path)).collect();
            let ends = if terminating { ", and nobody else" } else { "" };
            lines.push(format!(
                "  {}: {is} trusted with {}{ends}",
                shown(name),
                paths.join(", ")
            ));
            if prefixes.is_some() {
                lines.push(format!(
                    "  {}: {is} trusted with paths by their hash",
                    shown(name)
                ));
            }
        }
    }
    files(now, next, anew, lines, plain);
    other_fields(now.map(|now| &now.other), &next.other, lines);
}

fn builds(request: &Request, role: &str, now: Option<&Targets>, next: &Targets, lines: &mut Vec<String>) {
    heading(
        role,
        now.map(|now| (now.version, now.expires)),
        (next.version, next.expires),
        lines,
    );
    files(now, next, request.has_other_signers(role), lines, |path, file| {
        if !path.ends_with(".json") {
            return plain(path, file);
        }
        match request.manifest(path, file) {
            Some(manifest) => {
                let mut text = describe(path, &manifest);
                for field in request.unknown_fields(path, &manifest) {
                    text.push_str(&format!(
                        "; the field {}, which this millet does not know",
                        shown(&field)
                    ));
                }
                text
            }
            None => format!("{}; its content is not in this request", plain(path, file)),
        }
    });
    if next.delegated_roles().next().is_some() {
        lines.push("  it trusts further roles, which no server takes".to_owned());
    }
    other_fields(now.map(|now| &now.other), &next.other, lines);
}

fn heading(role: &str, now: Option<(u64, Timestamp)>, next: (u64, Timestamp), lines: &mut Vec<String>) {
    let (version, expires) = next;
    lines.push(match now {
        None => format!(
            "{} {version} begins, valid until {}",
            shown(role),
            moment(expires)
        ),
        Some((before, until)) => format!(
            "{} {before} → {version}, valid until {} (was {})",
            shown(role),
            moment(expires),
            moment(until)
        ),
    });
}

/// New signers vouch `anew` for every role, so that they see also what stays.
fn keys(
    role: &str,
    now: Option<Authority<'_>>,
    next: Option<Authority<'_>>,
    anew: bool,
    lines: &mut Vec<String>,
) {
    let role = shown(role);
    let Some(next) = next else {
        if now.is_some() {
            lines.push(format!("  {role}: nobody is trusted with it any more"));
        }
        return;
    };
    for key in next.keys() {
        if now.is_none_or(|now| !now.has(key)) {
            lines.push(format!("  {role}: key {} joins ({})", key.id(), kind(key)));
        } else if anew {
            lines.push(format!("  {role}: key {} stays", key.id()));
        }
    }
    for key in now.iter().flat_map(Authority::keys).filter(|key| !next.has(key)) {
        lines.push(format!("  {role}: key {} leaves", key.id()));
    }
    let count = |authority: &Authority<'_>| (authority.threshold(), authority.keyids().len());
    let (threshold, of) = count(&next);
    match now.as_ref().map(count) {
        Some(before) if before == (threshold, of) && anew => {
            lines.push(format!("  {role}: {threshold} of {of} must sign, as before"));
        }
        Some(before) if before == (threshold, of) => {}
        Some((before, before_of)) => lines.push(format!(
            "  {role}: {threshold} of {of} must sign (was {before} of {before_of})"
        )),
        None => lines.push(format!("  {role}: {threshold} of {of} must sign")),
    }
}

/// New signers vouch `anew` for everything in the list, so that they see everything; others have signed what stays.
fn files(
    now: Option<&Targets>,
    next: &Targets,
    anew: bool,
    lines: &mut Vec<String>,
    describe: impl Fn(&str, &TargetFile) -> String,
) {
    let none = BTreeMap::new();
    let before = now.map_or(&none, |now| &now.targets);
    let mut same = 0_usize;
    for (path, file) in &next.targets {
        match before.get(path) {
            Some(known) if known == file && anew => lines.push(format!("  stays: {}", describe(path, file))),
            Some(known) if known == file => same = same.saturating_add(1),
            Some(_) => lines.push(format!("  becomes {}", describe(path, file))),
            None => lines.push(format!("  new: {}", describe(path, file))),
        }
    }
    for path in before.keys().filter(|path| !next.targets.contains_key(*path)) {
        lines.push(format!("  gone: {}", shown(path)));
    }
    match same {
        0 => {}
        1 => lines.push("  1 file stays as it is".to_owned()),
        _ => lines.push(format!("  {same} files stay as they are")),
    }
}

fn plain(path: &str, file: &TargetFile) -> String {
    format!("{}, {} bytes, {}", shown(path), file.length, sha256(file))
}

fn describe(path: &str, manifest: &BuildManifest) -> String {
    let mut text = String::new();
    if path != targets::manifest(&manifest.model, &manifest.build) {
        text.push_str(&format!("{}, which speaks of ", shown(path)));
    }
    let channels: Vec<&str> = manifest.channels.iter().map(Channel::as_str).collect();
    text.push_str(&format!(
        "{} {} of {}, sequence {}, for {}, security patches of {}, data epoch {}, dated {}",
        manifest.model,
        manifest.build,
        manifest.train,
        manifest.sequence,
        channels.join(", "),
        manifest.security_patch,
        manifest.data_epoch,
        moment(manifest.released)
    ));
    if let Some(floor) = manifest.floor {
        text.push_str(&format!(", nothing below {floor} after it"));
    }
    if let Some(requires) = &manifest.requires {
        text.push_str(&format!(", from {} upwards", requires.min_sequence));
    }
    for partition in &manifest.partitions {
        text.push_str(&format!("; {} {}", partition.name, partition.sha256));
    }
    if manifest.payload.path != targets::full_payload(&manifest.model, &manifest.build) {
        text.push_str(&format!("; payload {}", shown(&manifest.payload.path)));
    }
    for (language, notes) in &manifest.notes {
        text.push_str(&format!("; notes in {}: {}", shown(language), whole(notes)));
    }
    for entry in &manifest.entries {
        let (title, description) = (whole(&entry.title), whole(&entry.description));
        text.push_str(&format!("; entry {}: {title}: {description}", entry.id));
    }
    for issue in &manifest.known_issues {
        text.push_str(&format!("; known issue: {}", whole(issue)));
    }
    text
}

fn other_fields<T: PartialEq>(
    now: Option<&BTreeMap<String, T>>,
    next: &BTreeMap<String, T>,
    lines: &mut Vec<String>,
) {
    let names: BTreeSet<&String> = (now.into_iter().chain([next])).flat_map(BTreeMap::keys).collect();
    for name in names {
        if now.and_then(|now| now.get(name)) != next.get(name) {
            lines.push(format!(
                "  the field {}, which this millet does not know, changes",
                shown(name)
            ));
        }
    }
}

fn kind(key: &PublicKey) -> String {
    if key.is_supported() {
        key.scheme().to_owned()
    } else {
        "of a type that verifies nothing".to_owned()
    }
}

fn sha256(file: &TargetFile) -> String {
    file.sha256().map_or_else(
        || "without SHA-256".to_owned(),
        |digest| format!("SHA-256 {digest}"),
    )
}

fn moment(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Longest name from outside that is shown whole, in characters.
const LONGEST: usize = 200;

/// A name that came from outside, on one line.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    whole(&shown)
}

/// Words that devices show, on one line: whoever signs them reads all of them.
fn whole(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}
