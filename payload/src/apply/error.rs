use std::io;

use millet_protocol::PartitionName;

use super::Fault;
use crate::puff::PuffError;

/// Why a payload could not be applied. The slot that was being written is incomplete then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The download ended or failed; apply again from the last checkpoint.
    #[error("the payload's data could not be read")]
    Blobs(#[source] io::Error),
    /// The running slot could not be read.
    #[error("partition {partition} of the running slot could not be read")]
    Source {
        /// The partition.
        partition: PartitionName,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The running slot is not what the payload was made from: take the full payload.
    #[error("partition {partition} is not the image that this delta was made from")]
    OtherSource {
        /// The partition.
        partition: PartitionName,
    },
    /// The other slot could not be opened, written or synced.
    #[error("partition {partition} of the other slot could not be written")]
    Storage {
        /// The partition.
        partition: PartitionName,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The hash tree or FEC that a payload leaves to the device could not be read for or written.
    #[error("the {what} of partition {partition} of the other slot could not be made")]
    Verity {
        /// The partition.
        partition: PartitionName,
        /// `hash tree` or `FEC`.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The image does not fit.
    #[error("partition {partition} of the other slot holds {has} bytes, the image needs {needs}")]
    TooSmall {
        /// The partition.
        partition: PartitionName,
        /// Bytes there.
        has: u64,
        /// Bytes needed.
        needs: u64,
    },
    /// A blob is not what the payload's head promises, or a source not what it was made from.
    #[error("the {what} of operation {operation} ({kind}) of partition {partition} has another SHA-256")]
    HashMismatch {
        /// The partition.
        partition: PartitionName,
        /// Counted from 0 within the partition.
        operation: usize,
        /// The operation's type.
        kind: &'static str,
        /// `data` or `source`.
        what: &'static str,
    },
    /// A blob with the right hash that its decoder refuses: the payload was made wrongly.
    #[error("operation {operation} ({kind}) of partition {partition} could not be decoded")]
    Refused {
        /// The partition.
        partition: PartitionName,
        /// Counted from 0 within the partition.
        operation: usize,
        /// The operation's type.
        kind: &'static str,
        /// What is wrong.
        #[source]
        error: DecodeError,
    },
    /// The checkpoint belongs to another payload.
    #[error("the checkpoint at operation {operation}, byte {blob_offset}, does not belong to this payload")]
    OtherCheckpoint {
        /// Its operation.
        operation: u64,
        /// Its offset.
        blob_offset: u64,
    },
    /// The observer could not keep the checkpoint.
    #[error("the progress of the update could not be saved")]
    Checkpoint(#[source] io::Error),
    /// The system gave no thread to decode or to write in.
    #[error("no thread could be started to apply the payload")]
    Threads(#[source] io::Error),
    /// The observer asked for it.
    #[error("the update was stopped")]
    Stopped,
}

/// What is wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A compressed stream is broken, or needs more memory than a device gives it.
    #[error("its {stream} stream is broken")]
    Stream {
        /// `data`, `control`, `diff` or `extra`.
        stream: &'static str,
        /// What the decoder said.
        #[source]
        error: io::Error,
    },
    /// A stream yields more or less than it must.
    #[error("its {0} stream has another length than its destination")]
    Length(&'static str),
    /// Not a bsdiff patch.
    #[error("its data is no BSDIFF40 or BSDF2 patch")]
    NotAPatch,
    /// A patch's control triple that is negative or too long.
    #[error("its patch has an impossible control triple")]
    Control,
    /// Deflate that is patched by its tokens.
    #[error("its deflate cannot be patched")]
    Puff(#[source] PuffError),
}

impl ApplyError {
    pub(super) fn source_of(partition: &PartitionName) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Source {
            partition: partition.clone(),
            error,
        }
    }

    pub(super) fn storage_of(partition: &PartitionName) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Storage {
            partition: partition.clone(),
            error,
        }
    }

    pub(super) fn of(partition: &PartitionName, operation: usize, kind: &'static str, fault: Fault) -> Self {
        let partition = partition.clone();
        match fault {
            Fault::Source(error) => Self::Source { partition, error },
            Fault::Storage(error) => Self::Storage { partition, error },
            Fault::Hash(what) => Self::HashMismatch {
                partition,
                operation,
                kind,
                what,
            },
            Fault::Decode(error) => Self::Refused {
                partition,
                operation,
                kind,
                error,
            },
            Fault::Stopped => Self::Stopped,
        }
    }
}
