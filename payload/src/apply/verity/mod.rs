//! Computes what a payload leaves to the device, from what its operations have written.

mod fec;
mod hash_tree;

use std::io;

use super::ApplyError;
use crate::read::Partition;
use crate::storage::Target;

/// Says whether the observer wants to stop.
type Stops<'a> = &'a mut dyn FnMut() -> bool;

/// Why a computation ended early.
enum End {
    Failed(io::Error),
    Stopped,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Goes on unless the observer wants to stop.
fn go_on(stops: Stops) -> Result<(), End> {
    if stops() { Err(End::Stopped) } else { Ok(()) }
}

/// Writes the partition's hash tree and then its FEC, where it has them; all its operations must be done.
///
/// Everything is read back from the target, so that it comes out the same after a resume from any checkpoint. Memory
/// stays below 2 MiB whatever the partition's size. Nothing is kept of what was begun when `stops` says so.
pub(super) fn write(partition: &Partition, target: &mut dyn Target, stops: Stops) -> Result<(), ApplyError> {
    let fail = |what| {
        move |end| match end {
            End::Failed(error) => ApplyError::Verity {
                partition: partition.name.clone(),
                what,
                error,
            },
            End::Stopped => ApplyError::Stopped,
        }
    };
    if let Some(hash_tree) = &partition.verity.hash_tree {
        hash_tree::write(hash_tree, target, stops).map_err(fail("hash tree"))?;
    }
    if let Some(fec) = &partition.verity.fec {
        fec::write(fec, target, stops).map_err(fail("FEC"))?;
    }
    Ok(())
}
