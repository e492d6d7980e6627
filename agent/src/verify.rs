//! Reads partitions back and says what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use millet_payload::{ReadAt, hash};
use millet_protocol::{PartitionEntry, PartitionName, Sha256Digest, Slot};

use crate::error::Error;
use crate::screen::Screen;
use crate::slots::Storage;

/// Whether every partition of a slot, read past the page cache, has its SHA-256; the first that has not is named.
pub fn verify(
    storage: &dyn Storage,
    slot: Slot,
    partitions: &[PartitionEntry],
    screen: &dyn Screen,
) -> Result<Option<PartitionName>, Error> {
    let total = partitions.iter().map(|partition| partition.size).sum();
    let mut before = 0;
    for partition in partitions {
        let fail = |source| Error::Partition {
            operation: "read back",
            partition: partition.name.clone(),
            slot,
            source,
        };
        let bytes = storage.read_back(&partition.name, slot).map_err(fail)?;
        let sha256 = hash(&*bytes, partition.size, &mut |done| {
            screen.advance(before + done, total);
        })
        .map_err(fail)?;
        if sha256 != partition.sha256 {
            return Ok(Some(partition.name.clone()));
        }
        before += partition.size;
    }
    Ok(None)
}

/// Compares slots with manifests; no partition is hashed twice for the same length.
pub struct Fingerprints {
    storage: Arc<dyn Storage>,
    slot: Slot,
    known: BTreeMap<(PartitionName, u64), Option<Sha256Digest>>,
}

impl Fingerprints {
    /// Of a slot.
    pub fn new(storage: Arc<dyn Storage>, slot: Slot) -> Self {
        Self {
            storage,
            slot,
            known: BTreeMap::new(),
        }
    }

    /// Whether the slot holds exactly these partitions. One that is missing or too short does not match.
    pub fn match_all(&mut self, partitions: &[PartitionEntry]) -> bool {
        partitions
            .iter()
            .all(|partition| self.of(&partition.name, partition.size) == Some(partition.sha256))
    }

    fn of(&mut self, partition: &PartitionName, size: u64) -> Option<Sha256Digest> {
        let (storage, slot) = (&self.storage, self.slot);
        *self.known.entry((partition.clone(), size)).or_insert_with(|| {
            let bytes: Box<dyn ReadAt> = storage.read(partition, slot).ok()?;
            hash(&*bytes, size, &mut |_| ()).ok()
        })
    }
}
