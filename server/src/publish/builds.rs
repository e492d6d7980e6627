//! Whether a model's list of builds may follow the builds that are known.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use millet_payload::Head;
use millet_protocol::{Build, BuildManifest, Channel, Model, Sequence, Sha256Digest, targets};
use millet_signing::metadata::{TargetFile, Targets};
use sha2::{Digest, Sha256};

use super::PublishError;
use crate::objects::Objects;
use crate::store::{BuildRow, TargetRow};

/// A manifest that the list names, with what its files really are.
#[derive(Debug)]
pub struct Examined {
    manifest: BuildManifest,
    manifest_sha256: Sha256Digest,
    payload_sha256: Sha256Digest,
    payload_size: u64,
}

/// What a list changes.
#[derive(Debug)]
pub struct Changes {
    /// Builds that are new or differ.
    pub rows: Vec<BuildRow>,
    /// Those among them whose name is new.
    pub added: BTreeSet<Build>,
    /// Every file that the list names.
    pub targets: Vec<TargetRow>,
}

/// A manifest names a few partitions and a page of words; a megabyte is more than any has.
const LONGEST_MANIFEST: u64 = 1 << 20;

/// Reads and checks the manifests that are not known yet, and the heads of their payloads.
pub async fn examine(
    objects: &Objects,
    model: &Model,
    list: &Targets,
    known: &[BuildRow],
) -> Result<Vec<Examined>, PublishError> {
    let mut examined = Vec::new();
    for (path, file) in &list.targets {
        let sha256 = sha256_of(path, file)?;
        check_uploaded(objects, path, file.length, sha256).await?;
        let Some(build) = manifest_build(model, path)? else {
            continue;
        };
        let same = known
            .iter()
            .find(|row| row.manifest.build == build && row.manifest_sha256 == sha256);
        let manifest = match same {
            Some(row) => row.manifest.clone(),
            None => read_manifest(objects, model, &build, path, file.length, sha256).await?,
        };
        let payload_path = manifest.payload.path.clone();
        let payload_file = list
            .targets
            .get(&payload_path)
            .ok_or_else(|| PublishError::PayloadNotListed {
                path: path.clone(),
                payload: payload_path.clone(),
            })?;
        let payload_sha256 = sha256_of(&payload_path, payload_file)?;
        if same.is_none_or(|row| row.payload_sha256 != payload_sha256) {
            check_payload(objects, &manifest, payload_file.length, payload_sha256).await?;
        }
        examined.push(Examined {
            manifest,
            manifest_sha256: sha256,
            payload_sha256,
            payload_size: payload_file.length,
        });
    }
    Ok(examined)
}

/// Compares the list with the builds that are known. Pure.
pub fn decide(
    list: &Targets,
    known: &[BuildRow],
    mut examined: Vec<Examined>,
    on_offer: &BTreeSet<Build>,
    now: Timestamp,
) -> Result<Changes, PublishError> {
    // In order of sequence, so that two new builds of one channel judge each other in the order that devices take them.
    examined.sort_by_key(|new| new.manifest.sequence);
    let mut ranks = Ranks::of(known);
    let mut rows = Vec::new();
    let mut added = BTreeSet::new();
    let mut named = BTreeSet::new();
    for new in examined {
        named.insert(new.manifest.build.clone());
        let old = known.iter().find(|row| row.manifest.build == new.manifest.build);
        match old {
            Some(old) => check_promotion(old, &new)?,
            None => drop(added.insert(new.manifest.build.clone())),
        }
        ranks.take(&new.manifest, old.map(|row| &row.manifest))?;
        let row = BuildRow {
            manifest: new.manifest,
            manifest_sha256: new.manifest_sha256,
            payload_sha256: new.payload_sha256,
            payload_size: new.payload_size,
            listed: true,
            published: old.map_or(now, |row| row.published),
        };
        if old != Some(&row) {
            rows.push(row);
        }
    }
    for dropped in known
        .iter()
        .filter(|row| row.listed && !named.contains(&row.manifest.build))
    {
        if on_offer.contains(&dropped.manifest.build) {
            return Err(PublishError::OnOffer(dropped.manifest.build.clone()));
        }
        rows.push(BuildRow {
            listed: false,
            ..dropped.clone()
        });
    }
    let target = |(path, file): (&String, &TargetFile)| {
        Ok(TargetRow {
            path: path.clone(),
            sha256: sha256_of(path, file)?,
            length: file.length,
        })
    };
    let targets = list
        .targets
        .iter()
        .map(target)
        .collect::<Result<_, PublishError>>()?;
    Ok(Changes { rows, added, targets })
}

/// Who has, or ever had, which sequence, and the newest of each channel among the builds that stand.
struct Ranks {
    taken: BTreeMap<Sequence, Build>,
    newest: BTreeMap<Channel, Sequence>,
}

impl Ranks {
    fn of(known: &[BuildRow]) -> Self {
        let mut ranks = Self {
            taken: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        for row in known {
            let manifest = &row.manifest;
            ranks.taken.insert(manifest.sequence, manifest.build.clone());
            if row.listed {
                ranks.add(manifest);
            }
        }
        ranks
    }

    fn take(&mut self, new: &BuildManifest, old: Option<&BuildManifest>) -> Result<(), PublishError> {
        if let Some(other) = self.taken.get(&new.sequence).filter(|other| **other != new.build) {
            return Err(PublishError::SequenceTaken {
                build: new.build.clone(),
                sequence: new.sequence,
                other: other.clone(),
            });
        }
        let joined = new
            .channels
            .iter()
            .filter(|channel| old.is_none_or(|old| !old.channels.contains(channel)));
        for channel in joined {
            if let Some(newest) = self.newest.get(channel).filter(|newest| **newest >= new.sequence) {
                return Err(PublishError::SequenceNotGrowing {
                    build: new.build.clone(),
                    sequence: new.sequence,
                    channel: channel.clone(),
                    newest: *newest,
                });
            }
        }
        self.add(new);
        Ok(())
    }

    fn add(&mut self, manifest: &BuildManifest) {
        self.taken.insert(manifest.sequence, manifest.build.clone());
        for channel in &manifest.channels {
            let newest = self.newest.entry(channel.clone()).or_insert(manifest.sequence);
            *newest = (*newest).max(manifest.sequence);
        }
    }
}

/// The same build again: only words may differ, and channels and entries may be added.
fn check_promotion(old: &BuildRow, new: &Examined) -> Result<(), PublishError> {
    let content = |manifest: &BuildManifest| BuildManifest {
        channels: Vec::new(),
        released: Timestamp::UNIX_EPOCH,
        notes: BTreeMap::new(),
        entries: Vec::new(),
        known_issues: Vec::new(),
        ..manifest.clone()
    };
    let build = &new.manifest.build;
    if content(&old.manifest) != content(&new.manifest) || old.payload_sha256 != new.payload_sha256 {
        return Err(PublishError::BuildTaken(build.clone()));
    }
    let lost = old
        .manifest
        .channels
        .iter()
        .find(|channel| !new.manifest.channels.contains(channel));
    if let Some(channel) = lost {
        return Err(PublishError::ChannelLost {
            build: build.clone(),
            channel: channel.clone(),
        });
    }
    let keeps = |id| new.manifest.entries.iter().any(|entry| entry.id == id);
    match old.manifest.entries.iter().find(|entry| !keeps(entry.id.clone())) {
        Some(entry) => Err(PublishError::EntryLost {
            build: build.clone(),
            entry: entry.id.to_string(),
        }),
        None => Ok(()),
    }
}

/// The build of a manifest's path; nothing for a payload's.
fn manifest_build(model: &Model, path: &str) -> Result<Option<Build>, PublishError> {
    let refuse = || PublishError::TargetPath(path.chars().take(200).collect());
    let name = path
        .strip_prefix(&format!("{model}/builds/"))
        .ok_or_else(refuse)?;
    if let Some(build) = name.strip_suffix(".json") {
        return build.parse().map(Some).map_err(|_| refuse());
    }
    match name.strip_suffix(".payload").map(str::parse::<Build>) {
        Some(Ok(_)) => Ok(None),
        _ => Err(refuse()),
    }
}

fn sha256_of(path: &str, file: &TargetFile) -> Result<Sha256Digest, PublishError> {
    file.sha256()
        .ok_or_else(|| PublishError::NoSha256(path.to_owned()))
}

async fn check_uploaded(
    objects: &Objects,
    path: &str,
    expected: u64,
    sha256: Sha256Digest,
) -> Result<(), PublishError> {
    match objects.size(sha256).await? {
        Some(actual) if actual == expected => Ok(()),
        Some(actual) => Err(PublishError::Length {
            path: path.to_owned(),
            expected,
            actual,
        }),
        None => Err(PublishError::NotUploaded {
            path: path.to_owned(),
            sha256,
        }),
    }
}

async fn read_manifest(
    objects: &Objects,
    model: &Model,
    build: &Build,
    path: &str,
    length: u64,
    sha256: Sha256Digest,
) -> Result<BuildManifest, PublishError> {
    if length > LONGEST_MANIFEST {
        return Err(PublishError::Length {
            path: path.to_owned(),
            expected: LONGEST_MANIFEST,
            actual: length,
        });
    }
    let bytes = objects.read(sha256, None).await?;
    let manifest: BuildManifest =
        serde_json::from_slice(&bytes).map_err(|source| PublishError::ManifestForm {
            path: path.to_owned(),
            source,
        })?;
    manifest.validate().map_err(|source| PublishError::Manifest {
        path: path.to_owned(),
        source,
    })?;
    if manifest.model != *model || manifest.build != *build {
        return Err(PublishError::OtherManifest {
            path: path.to_owned(),
            found: targets::manifest(&manifest.model, &manifest.build),
        });
    }
    Ok(manifest)
}

/// The payload's head is the one that the manifest names, and makes exactly the manifest's partitions from nothing.
async fn check_payload(
    objects: &Objects,
    manifest: &BuildManifest,
    length: u64,
    sha256: Sha256Digest,
) -> Result<(), PublishError> {
    let path = || manifest.payload.path.clone();
    let no_payload = |source| PublishError::Payload { path: path(), source };
    let prefix_size = millet_payload::PREFIX as u64;
    let short = |needed| PublishError::PayloadShort {
        path: path(),
        needed,
        actual: length,
    };
    if length < prefix_size {
        return Err(short(prefix_size));
    }
    let prefix = objects.read(sha256, Some(0..prefix_size)).await?;
    let prefix: [u8; millet_payload::PREFIX] = prefix.try_into().map_err(|_| short(prefix_size))?;
    let metadata_size = millet_payload::metadata_size(&prefix).map_err(no_payload)?;
    if metadata_size != manifest.payload.metadata_size {
        return Err(PublishError::PayloadHead(path()));
    }
    if length < metadata_size {
        return Err(short(metadata_size));
    }
    let head = objects.read(sha256, Some(0..metadata_size)).await?;
    if Sha256Digest(Sha256::digest(&head).into()) != manifest.payload.metadata_sha256 {
        return Err(PublishError::PayloadHead(path()));
    }
    let head = Head::parse(&head).map_err(no_payload)?;
    let needed = head.blobs_offset().saturating_add(head.blobs_length());
    if needed > length {
        return Err(short(needed));
    }
    if head.is_delta() {
        return Err(PublishError::IsDelta(path()));
    }
    head.check_against(&manifest.partitions)
        .map_err(|source| PublishError::PayloadPartitions { path: path(), source })?;
    let made: BTreeSet<_> = head.partitions().map(|partition| &partition.name).collect();
    match manifest
        .partitions
        .iter()
        .find(|entry| !made.contains(&entry.name))
    {
        Some(entry) => Err(PublishError::PartitionMissing {
            path: path(),
            partition: entry.name.clone(),
        }),
        None => Ok(()),
    }
}
