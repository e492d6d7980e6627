//! Every file that the roles name, held against what is there and against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use millet_payload::LONGEST_HEAD;
use millet_protocol::{Build, BuildManifest, DeltaCustom, Model, RolloutDocument, Sha256Digest, targets};
use millet_signing::metadata::{TargetFile, Targets};
use millet_signing::{Search, TrustedSet};
use sha2::{Digest, Sha256};

use super::chain;
use super::place::{Place, stored_name};
use crate::progress::Meter;

/// Longest document that is read, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Checks the files of every role; says how many they name.
pub fn check(
    full: bool,
    place: &Place,
    set: &TrustedSet,
    problems: &mut Vec<String>,
) -> anyhow::Result<usize> {
    let Some(top) = set.targets() else { return Ok(0) };
    let mut named = BTreeSet::new();
    let mut builds: BTreeMap<Model, BTreeMap<Build, BuildManifest>> = BTreeMap::new();
    let delegated =
        (top.delegated_roles()).filter_map(|role| Some((role.name.as_str(), set.delegated(&role.name)?)));
    let lists: Vec<(&str, &Targets)> = iter::once(("targets", top)).chain(delegated).collect();
    let mut check = Check {
        full: full || matches!(place, Place::Folder(_)),
        place,
        problems,
    };
    // Builds first: deltas and rollouts are held against them.
    for (role, list) in &lists {
        for (path, file) in &list.targets {
            named.insert(stored_name(path, file).unwrap_or_else(|_| path.clone()));
            match set.search(path) {
                Search::Found { role: finder, .. } if finder == *role => {}
                _ => check.problem(path, "devices never find it in this role"),
            }
            if *role == "targets" {
                check.problem(path, "stands in the list of models, which should name no files");
            }
        }
        let Some(model) = targets::model_of("builds.", role) else {
            continue;
        };
        let manifests = check.builds(&model, list);
        builds.insert(model, manifests);
    }
    for (role, list) in &lists {
        for (kind, document) in [("deltas.", false), ("rollouts.", true)] {
            let Some(manifests) = targets::model_of(kind, role).and_then(|model| builds.get(&model)) else {
                continue;
            };
            for (path, file) in &list.targets {
                if document {
                    check.rollout(path, file, manifests);
                } else {
                    check.delta(path, file, manifests);
                }
            }
        }
    }
    for stray in place.stored()?.unwrap_or_default().difference(&named) {
        problems.push(format!("{stray}: no role names it"));
    }
    Ok(named.len())
}

struct Check<'a> {
    full: bool,
    place: &'a Place,
    problems: &'a mut Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, path: &str, what: &str) {
        self.problems.push(format!("{path}: {what}"));
    }

    fn builds(&mut self, model: &Model, list: &Targets) -> BTreeMap<Build, BuildManifest> {
        let mut manifests = BTreeMap::new();
        let mut payloads = BTreeSet::new();
        for (path, file) in list.targets.iter().filter(|(path, _)| path.ends_with(".json")) {
            let Some(manifest) = self.document::<BuildManifest>(path, file) else {
                continue;
            };
            if let Err(error) = manifest.validate() {
                self.problem(path, &format!("contradicts itself: {error}"));
            } else if manifest.model != *model || targets::manifest(model, &manifest.build) != *path {
                self.problem(path, &format!("is of {} {}", manifest.model, manifest.build));
            } else if let Some(payload) = list.targets.get(&manifest.payload.path) {
                payloads.insert(manifest.payload.path.clone());
                self.payload(
                    &manifest.payload.path,
                    payload,
                    manifest.payload.metadata_size,
                    &manifest.payload.metadata_sha256,
                );
                manifests.insert(manifest.build.clone(), manifest);
            } else {
                self.problem(
                    path,
                    &format!("its payload {} is not named", manifest.payload.path),
                );
            }
        }
        for path in list.targets.keys().filter(|path| !path.ends_with(".json")) {
            if !payloads.contains(path) {
                self.problem(path, "no manifest of a build names it");
            }
        }
        manifests
    }

    fn delta(&mut self, path: &str, file: &TargetFile, builds: &BTreeMap<Build, BuildManifest>) {
        let custom = file
            .custom
            .clone()
            .and_then(|custom| serde_json::from_value::<DeltaCustom>(custom).ok());
        let Some(custom) = custom else {
            return self.problem(path, "does not say from which build to which");
        };
        for build in [&custom.from, &custom.to] {
            if !builds.contains_key(build) {
                self.problem(path, &format!("no manifest is there of {build}"));
            }
        }
        self.payload(path, file, custom.metadata_size, &custom.metadata_sha256);
    }

    fn rollout(&mut self, path: &str, file: &TargetFile, builds: &BTreeMap<Build, BuildManifest>) {
        let Some(rollout) = self.document::<RolloutDocument>(path, file) else {
            return;
        };
        if let Err(error) = rollout.validate() {
            return self.problem(path, &format!("contradicts itself: {error}"));
        }
        match builds.get(&rollout.build) {
            None => self.problem(path, &format!("no manifest is there of {}", rollout.build)),
            Some(manifest) if manifest.sequence != rollout.sequence => self.problem(
                path,
                &format!(
                    "says sequence {} of {}, and its manifest {}",
                    rollout.sequence, rollout.build, manifest.sequence
                ),
            ),
            Some(manifest) if !manifest.channels.contains(&rollout.channel) => self.problem(
                path,
                &format!(
                    "the signers of {} do not allow it on {}",
                    rollout.build, rollout.channel
                ),
            ),
            Some(_) => {}
        }
    }

    fn document<T: serde::de::DeserializeOwned>(&mut self, path: &str, file: &TargetFile) -> Option<T> {
        if file.length > LONGEST {
            self.problem(path, "is too long for a document");
            return None;
        }
        match self.place.beginning(path, file, file.length.saturating_add(1)) {
            Err(error) => self.problem(path, &chain(&error)),
            Ok(None) => self.problem(path, "is not there"),
            Ok(Some(bytes)) if !file.matches(&bytes) => self.problem(path, "is not the file that was signed"),
            Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(document) => return Some(document),
                Err(error) => self.problem(path, &format!("cannot be read: {error}")),
            },
        }
        None
    }

    /// The head by its hash, the whole by its length, or by its hash too.
    fn payload(&mut self, path: &str, file: &TargetFile, metadata_size: u64, head: &Sha256Digest) {
        if metadata_size > file.length.min(LONGEST_HEAD) {
            return self.problem(path, "its head is longer than a device takes");
        }
        match self.place.beginning(path, file, metadata_size) {
            Err(error) => return self.problem(path, &chain(&error)),
            Ok(None) => return self.problem(path, "is not there"),
            Ok(Some(bytes)) if Sha256Digest(Sha256::digest(&bytes).into()) != *head => {
                return self.problem(path, "its head is not the one that was signed");
            }
            Ok(Some(_)) => {}
        }
        if !self.full {
            return match self.place.length(path, file) {
                Err(error) => self.problem(path, &chain(&error)),
                Ok(Some(length)) if length == file.length => {}
                Ok(Some(length)) => {
                    self.problem(
                        path,
                        &format!("has {length} bytes and not the signed {}", file.length),
                    );
                }
                Ok(None) => self.problem(path, "nobody says how long it is"),
            };
        }
        let meter = Meter::new(path, file.length);
        let digest = self.place.digest(path, file, &meter);
        drop(meter);
        match digest {
            Err(error) => self.problem(path, &chain(&error)),
            Ok(Some((length, sha256))) if length == file.length && file.sha256() == Some(sha256) => {}
            Ok(_) => self.problem(path, "is not the file that was signed"),
        }
    }
}
