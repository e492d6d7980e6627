use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Build, Channel, EntryId, FORMAT, Model, PartitionName, Sequence, Sha256Digest, Train};

/// Bytes in a block of every partition image.
pub const BLOCK_SIZE: u64 = 4096;

/// `<model>/builds/<build>.json`: what a build is, under offline signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildManifest {
    /// Document format, [`FORMAT`].
    pub format: u32,
    /// The device type it is for.
    pub model: Model,
    /// The build's name, unique within the model.
    pub build: Build,
    /// Its rank: devices only go up.
    pub sequence: Sequence,
    /// The week it leaves in.
    pub train: Train,
    /// Format of the user's data that it writes; a device never goes to a lower one.
    pub data_epoch: u32,
    /// The channels its signers allow it on.
    pub channels: Vec<Channel>,
    /// When it was signed.
    pub released: Timestamp,
    /// Security patch level, `YYYY-MM-DD`.
    pub security_patch: jiff::civil::Date,
    /// Every partition that must hold these bytes before the slot may boot.
    pub partitions: Vec<PartitionEntry>,
    /// The full payload.
    pub payload: PayloadRef,
    /// Once confirmed, the device takes nothing below this sequence from anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Sequence>,
    /// What a device must run before it may take this build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    /// Release notes by BCP 47 language tag.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
    /// What testers vote on.
    #[serde(default)]
    pub entries: Vec<Entry>,
    /// What is known not to work.
    #[serde(default)]
    pub known_issues: Vec<String>,
}

/// One partition's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEntry {
    /// Name without slot suffix.
    pub name: PartitionName,
    /// Bytes, a multiple of [`BLOCK_SIZE`].
    pub size: u64,
    /// SHA-256 of those bytes.
    pub sha256: Sha256Digest,
}

/// A payload and the hash of its head, which is checked before anything in it is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadRef {
    /// TUF target path.
    pub path: String,
    /// Bytes of header and manifest: 24 + manifest length.
    pub metadata_size: u64,
    /// SHA-256 of those bytes.
    pub metadata_sha256: Sha256Digest,
}

/// A stepping stone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requires {
    /// The lowest sequence a device may come from.
    pub min_sequence: Sequence,
}

/// One feature of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique within the build.
    pub id: EntryId,
    /// A few words.
    pub title: String,
    /// A sentence or two.
    pub description: String,
}

/// A manifest that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A newer document format.
    #[error("manifest format {0} is not {FORMAT}: this Millet is too old for it")]
    Format(u32),
    /// Nothing to write.
    #[error("the manifest names no partition")]
    NoPartitions,
    /// A name appears twice.
    #[error("the manifest names {0} twice")]
    Twice(String),
    /// Images are whole blocks.
    #[error("partition {name} is {size} bytes, which is not a multiple of {BLOCK_SIZE} above zero")]
    Size {
        /// The partition.
        name: PartitionName,
        /// Its size in bytes.
        size: u64,
    },
    /// A floor above the build would shut the build itself out.
    #[error("floor {floor} is above the build's own sequence {sequence}")]
    Floor {
        /// Named floor.
        floor: Sequence,
        /// The build's sequence.
        sequence: Sequence,
    },
    /// Nobody could ever take it.
    #[error("the manifest allows no channel")]
    NoChannels,
}

impl BuildManifest {
    /// Checks the rules that tie the fields together.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format));
        }
        if self.partitions.is_empty() {
            return Err(ManifestError::NoPartitions);
        }
        if self.channels.is_empty() {
            return Err(ManifestError::NoChannels);
        }
        if let Some(floor) = self.floor.filter(|floor| *floor > self.sequence) {
            return Err(ManifestError::Floor {
                floor,
                sequence: self.sequence,
            });
        }
        for partition in &self.partitions {
            if partition.size == 0 || !partition.size.is_multiple_of(BLOCK_SIZE) {
                return Err(ManifestError::Size {
                    name: partition.name.clone(),
                    size: partition.size,
                });
            }
        }
        once(self.partitions.iter().map(|partition| partition.name.as_str()))?;
        once(self.channels.iter().map(Channel::as_str))?;
        once(self.entries.iter().map(|entry| entry.id.as_str()))
    }
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ManifestError::Twice(name.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> BuildManifest {
        let digest = Sha256Digest([7; 32]);
        BuildManifest {
            format: FORMAT,
            model: "rubik".parse().unwrap(),
            build: "V6.11.20".parse().unwrap(),
            sequence: Sequence(202_647_001),
            train: "2026-W47".parse().unwrap(),
            data_epoch: 1,
            channels: vec!["beta".parse().unwrap()],
            released: "2026-11-20T12:00:00Z".parse().unwrap(),
            security_patch: "2026-11-05".parse().unwrap(),
            partitions: vec![PartitionEntry {
                name: "system".parse().unwrap(),
                size: 8192,
                sha256: digest,
            }],
            payload: PayloadRef {
                path: "rubik/builds/V6.11.20.payload".into(),
                metadata_size: 100,
                metadata_sha256: digest,
            },
            floor: None,
            requires: None,
            notes: BTreeMap::new(),
            entries: Vec::new(),
            known_issues: Vec::new(),
        }
    }

    #[test]
    fn rules() {
        assert_eq!(manifest().validate(), Ok(()));
        let mut odd = manifest();
        odd.partitions[0].size = 4097;
        assert!(matches!(
            odd.validate(),
            Err(ManifestError::Size { size: 4097, .. })
        ));
        let mut twice = manifest();
        twice.partitions.push(twice.partitions[0].clone());
        assert_eq!(twice.validate(), Err(ManifestError::Twice("system".into())));
        let mut floor = manifest();
        floor.floor = Some(Sequence(202_647_002));
        assert!(matches!(floor.validate(), Err(ManifestError::Floor { .. })));
        let mut newer = manifest();
        newer.format = 2;
        assert_eq!(newer.validate(), Err(ManifestError::Format(2)));
    }

    #[test]
    fn json_round_trip() {
        let text = serde_json::to_string(&manifest()).unwrap();
        assert!(!text.contains("floor"), "{text}");
        assert_eq!(serde_json::from_str::<BuildManifest>(&text).unwrap(), manifest());
    }
}
