//! Partitions that a phone keeps in `super`, and the snapshots that Virtual A/B writes instead of a second slot.

use std::collections::BTreeMap;

use millet_protocol::BLOCK_SIZE;
use prost::Message;

use super::PackageError;
use super::fields::{FieldError, Fields};
use crate::read::{Head, Partition};

/// How a build's partitions share `super`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicPartitions {
    groups: Vec<Group>,
    snapshots: bool,
    compression: Option<Compression>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    size: u64,
    partitions: Vec<String>,
}

/// Of snapshots: what they are compressed by, the version of their format, and bytes compressed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Compression {
    method: String,
    version: u32,
    factor: Option<u64>,
}

/// Why a `dynamic_partitions_info.txt` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DynamicError {
    /// A line that must be there.
    #[error("it does not say {0}")]
    Missing(String),
    /// A line that must be a number.
    #[error("what it says of {0} is not a number")]
    Number(String),
    /// The payload does not make what a group holds.
    #[error("its group {group} holds {partition}, which the payload does not make")]
    NotInPayload {
        /// The group.
        group: String,
        /// The partition.
        partition: String,
    },
    /// A group that its partitions do not fit in.
    #[error("its group {group} has room for {size} bytes, and the payload makes {needs} of them")]
    TooLarge {
        /// The group.
        group: String,
        /// Bytes of the group.
        size: u64,
        /// Bytes of its partitions.
        needs: u64,
    },
}

/// Fields of `DeltaArchiveManifest` and `PartitionUpdate` in AOSP's `update_metadata.proto`.
const PARTITIONS: u64 = 13;
pub(super) const DYNAMIC_PARTITION_METADATA: u64 = 15;
const ESTIMATE_COW_SIZE: u64 = 19;
const ESTIMATE_OP_COUNT_MAX: u64 = 20;

/// The format of snapshots that counts its operations in advance.
const COUNTING_VERSION: u32 = 3;

impl DynamicPartitions {
    /// Reads the `META/dynamic_partitions_info.txt` that AOSP's build writes, as `payload_generation_config.cc`
    /// (`LoadDynamicPartitionMetadata`) does, with its defaults.
    pub fn parse(text: &str) -> Result<Self, DynamicError> {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let lines: BTreeMap<&str, &str> = lines.map(|(key, value)| (key.trim(), value.trim())).collect();
        let number = |key: &str| -> Result<Option<u64>, DynamicError> {
            let value = lines.get(key).map(|value| value.parse());
            value
                .transpose()
                .map_err(|_| DynamicError::Number(key.to_owned()))
        };
        let missing = |key: &str| DynamicError::Missing(key.to_owned());
        let names = lines
            .get("super_partition_groups")
            .ok_or_else(|| missing("super_partition_groups"))?;
        let mut groups = Vec::new();
        for name in names.split_whitespace() {
            let key = format!("super_{name}_group_size");
            let partitions = lines.get(&*format!("super_{name}_partition_list"));
            groups.push(Group {
                name: name.to_owned(),
                size: number(&key)?.ok_or_else(|| missing(&key))?,
                partitions: partitions
                    .unwrap_or(&"")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
            });
        }
        let set = |key| lines.get(key) == Some(&"true");
        let compression = match set("virtual_ab_compression") {
            false => None,
            true => Some(Compression {
                method: lines
                    .get("virtual_ab_compression_method")
                    .map_or("gz", |method| method)
                    .to_owned(),
                version: number("virtual_ab_cow_version")?
                    .map_or(Ok(2), u32::try_from)
                    .map_err(|_| DynamicError::Number("virtual_ab_cow_version".to_owned()))?,
                factor: number("virtual_ab_compression_factor")?,
            }),
        };
        Ok(Self {
            groups,
            snapshots: set("virtual_ab"),
            compression,
        })
    }

    /// Makes a manifest, whose parsed form is `head`, say all this.
    pub(super) fn set(&self, fields: &mut Fields<'_>, head: &Head) -> Result<(), PackageError> {
        self.check(head).map_err(PackageError::Dynamic)?;
        fields.set_bytes(DYNAMIC_PARTITION_METADATA, &self.message().encode_to_vec());
        let Some(compression) = &self.compression else {
            return Ok(());
        };
        let mut partitions = head.partitions();
        fields.change_each(PARTITIONS, |update| {
            let mut fields = Fields::parse(update)?;
            // In the order of the manifest, as the head has them.
            if let Some(partition) = partitions.next()
                && self.holds(partition)
            {
                let (size, count) = snapshot(partition);
                fields.set_varint(ESTIMATE_COW_SIZE, size);
                if compression.version >= COUNTING_VERSION {
                    fields.set_varint(ESTIMATE_OP_COUNT_MAX, count);
                }
            }
            Ok::<_, FieldError>(fields.encode())
        })?;
        Ok(())
    }

    fn holds(&self, partition: &Partition) -> bool {
        let mut names = self.groups.iter().flat_map(|group| &group.partitions);
        names.any(|name| name == partition.name.as_str())
    }

    fn check(&self, head: &Head) -> Result<(), DynamicError> {
        for group in &self.groups {
            let mut needs: u64 = 0;
            for name in &group.partitions {
                let found = head
                    .partitions()
                    .find(|partition| partition.name.as_str() == name);
                let found = found.ok_or_else(|| DynamicError::NotInPayload {
                    group: group.name.clone(),
                    partition: name.clone(),
                })?;
                needs = needs.saturating_add(found.new.size);
            }
            if needs > group.size {
                return Err(DynamicError::TooLarge {
                    group: group.name.clone(),
                    size: group.size,
                    needs,
                });
            }
        }
        Ok(())
    }

    fn message(&self) -> DynamicPartitionMetadata {
        let group = |group: &Group| DynamicPartitionGroup {
            name: group.name.clone(),
            size: Some(group.size),
            partition_names: group.partitions.clone(),
        };
        let compression = self.compression.as_ref();
        DynamicPartitionMetadata {
            groups: self.groups.iter().map(group).collect(),
            snapshot_enabled: Some(self.snapshots),
            vabc_enabled: compression.map(|_| true),
            vabc_compression_param: compression.map(|compression| compression.method.clone()),
            cow_version: compression.map(|compression| compression.version),
            compression_factor: compression.and_then(|compression| compression.factor),
        }
    }
}

/// The most bytes that a partition's compressed snapshot takes, and the most operations.
///
/// libsnapshot refuses a payload without (`partition_cow_creator.cpp`). Without a merge sequence update_engine writes
/// copied blocks as data too, so each block may be stored as it is, beside an operation of 20 bytes, a share of the
/// cluster's and what a compressor adds to noise; each of the payload's operations is followed by a label.
fn snapshot(partition: &Partition) -> (u64, u64) {
    const PER_BLOCK: u64 = BLOCK_SIZE + 64;
    const PER_OPERATION: u64 = 64;
    const HEADERS: u64 = 1 << 20;
    let blocks = partition.new.size / BLOCK_SIZE;
    let operations = partition.operations.len() as u64;
    // A partition has 2^40 bytes at most.
    (
        blocks * PER_BLOCK + operations * PER_OPERATION + HEADERS,
        blocks + operations + 1,
    )
}

#[derive(Clone, PartialEq, Message)]
struct DynamicPartitionMetadata {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<DynamicPartitionGroup>,
    #[prost(bool, optional, tag = "2")]
    snapshot_enabled: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    vabc_enabled: Option<bool>,
    #[prost(string, optional, tag = "4")]
    vabc_compression_param: Option<String>,
    #[prost(uint32, optional, tag = "5")]
    cow_version: Option<u32>,
    #[prost(uint64, optional, tag = "7")]
    compression_factor: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct DynamicPartitionGroup {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(uint64, optional, tag = "2")]
    size: Option<u64>,
    #[prost(string, repeated, tag = "3")]
    partition_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_build_writes_is_read() {
        let text = "super_partition_groups=main spare\nsuper_main_group_size=1000\nsuper_main_partition_list=system vendor\n\
                    super_spare_group_size=5\nvirtual_ab=true\nvirtual_ab_compression=true\nuse_dynamic_partitions=true\n";
        let read = DynamicPartitions::parse(text).unwrap();
        assert_eq!(read.groups[0].partitions, ["system", "vendor"]);
        assert_eq!((read.groups[1].size, read.groups[1].partitions.len()), (5, 0));
        assert!(read.snapshots);
        let compression = read.compression.unwrap();
        assert_eq!(
            (&*compression.method, compression.version, compression.factor),
            ("gz", 2, None)
        );
        let missing = |text: &str| DynamicPartitions::parse(text).unwrap_err();
        assert_eq!(
            missing("virtual_ab=true"),
            DynamicError::Missing("super_partition_groups".into())
        );
        assert_eq!(
            missing("super_partition_groups=a\n"),
            DynamicError::Missing("super_a_group_size".into())
        );
        assert_eq!(
            missing("super_partition_groups=a\nsuper_a_group_size=1G\n"),
            DynamicError::Number("super_a_group_size".into())
        );
    }
}
