//! Computes what a payload leaves to the device, from what its operations have written.

mod fec;
mod hash_tree;

use super::ApplyError;
use crate::read::Partition;
use crate::storage::Target;

/// Writes the partition's hash tree and then its FEC, where it has them; all its operations must be done.
///
/// Everything is read back from the target, so that it comes out the same after a resume from any checkpoint. Memory
/// stays below 2 MiB whatever the partition's size.
pub(super) fn write(partition: &Partition, target: &mut dyn Target) -> Result<(), ApplyError> {
    let fail = |what| {
        move |error| ApplyError::Verity {
            partition: partition.name.clone(),
            what,
            error,
        }
    };
    if let Some(hash_tree) = &partition.verity.hash_tree {
        hash_tree::write(hash_tree, target).map_err(fail("hash tree"))?;
    }
    if let Some(fec) = &partition.verity.fec {
        fec::write(fec, target).map_err(fail("FEC"))?;
    }
    Ok(())
}
