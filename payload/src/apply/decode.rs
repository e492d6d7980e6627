//! The thread that decodes: from blobs and old bytes that were checked to new ones.

use std::sync::mpsc::Receiver;

use super::extents::ExtentReader;
use super::write::Orders;
use super::{Checkpoint, Fault, Halt, copy, patch, replace};
use crate::format::{Action, Operation};
use crate::storage::ReadAt;

/// What the decoding thread is given.
pub(super) enum Task<'a> {
    /// An operation whose blob and source have the right hash, but for SOURCE_COPY's, which is hashed on the way.
    Operation {
        /// Counted from 0 within the partition.
        index: usize,
        operation: &'a Operation,
        blob: Vec<u8>,
        /// Where the update stands when it is done.
        after: Checkpoint,
    },
    /// Everything before is to be made durable.
    Sync(Checkpoint),
}

/// An operation that failed, and why.
pub(super) type Failed = (usize, Fault);

/// Does every task, until there are no more, one fails or it is told to stop. Then what it has done is made durable.
pub(super) fn run<'a>(
    tasks: Receiver<Task<'a>>,
    source: Option<&dyn ReadAt>,
    orders: Orders<'a>,
    halt: &Halt,
) -> Result<(), Failed> {
    let mut last = 0;
    let mut done = None;
    for task in tasks {
        match task {
            Task::Operation {
                index,
                operation,
                blob,
                after,
            } => {
                last = index;
                let made = execute(operation, source, &blob, &orders, halt);
                match made.and_then(|()| orders.done(after.blob_offset)) {
                    Ok(()) => done = Some(after),
                    Err(Fault::Stopped) => {
                        let kept = done.map_or(Ok(()), |at| orders.sync(at));
                        return kept.map_err(|fault| (index, fault));
                    }
                    Err(fault) => return Err((index, fault)),
                }
            }
            Task::Sync(at) => orders.sync(at).map_err(|fault| (last, fault))?,
        }
    }
    Ok(())
}

fn execute<'a>(
    operation: &'a Operation,
    source: Option<&dyn ReadAt>,
    blob: &[u8],
    orders: &Orders<'a>,
    halt: &Halt,
) -> Result<(), Fault> {
    halt.check()?;
    let mut writer = orders.begin(&operation.destination)?;
    match &operation.action {
        Action::Replace { coder, .. } => replace::replace(*coder, blob, &mut writer)?,
        Action::Zero => copy::zero(&mut writer)?,
        Action::Copy { source: from } => {
            copy::copy(
                &ExtentReader::new(source, &from.extents, halt)?,
                from,
                &mut writer,
            )?;
        }
        Action::Patch {
            kind, source: from, ..
        } => {
            let mut reader = ExtentReader::new(source, &from.extents, halt)?;
            patch::patch(&mut reader, *kind, blob, &mut writer)?;
        }
    }
    writer.finish()
}
