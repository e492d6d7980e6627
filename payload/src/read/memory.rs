//! What a manifest takes once it is parsed, counted before anything is allocated: two bytes of it can ask for hundreds.

use super::{HeadError, Partition};
use crate::format::manifest::{DESTINATION_EXTENTS, OPERATIONS, PARTITIONS, SOURCE_EXTENTS};
use crate::format::wire::messages;
use crate::format::{Extent, MOST_PARSED, Operation};

/// What an allocator adds to a small allocation, at most: one each for a name, a list and its like.
const ALLOCATED: u64 = 32;

/// A partition is kept with its name, and its name once more to see that there is no other.
const PER_PARTITION: u64 = size_of::<Partition>() as u64 + 8 * ALLOCATED;

/// An operation with its lists of extents.
const PER_OPERATION: u64 = size_of::<Operation>() as u64 + 2 * ALLOCATED;

/// An extent is kept, and sorted among all others of its partition to see that each block is written once.
const PER_EXTENT: u64 = 2 * size_of::<Extent>() as u64;

/// Refuses a manifest whose partitions, operations and extents would take more than [`MOST_PARSED`].
pub(super) fn check(manifest: &[u8]) -> Result<(), HeadError> {
    let mut count = Count::default();
    for partition in messages(manifest, PARTITIONS) {
        let partition = partition.map_err(HeadError::Fields)?;
        count.partitions += 1;
        count.check()?;
        for operation in messages(partition, OPERATIONS) {
            let operation = operation.map_err(HeadError::Fields)?;
            count.operations += 1;
            for number in [SOURCE_EXTENTS, DESTINATION_EXTENTS] {
                // One that is broken is refused when the operation is decoded.
                count.extents += messages(operation, number).count() as u64;
            }
            count.check()?;
        }
    }
    Ok(())
}

/// How many there were so far: at most as many as a head has bytes, so that no sum overflows.
#[derive(Default)]
struct Count {
    partitions: u64,
    operations: u64,
    extents: u64,
}

impl Count {
    fn check(&self) -> Result<(), HeadError> {
        let takes =
            self.partitions * PER_PARTITION + self.operations * PER_OPERATION + self.extents * PER_EXTENT;
        if takes <= MOST_PARSED {
            return Ok(());
        }
        Err(HeadError::Memory {
            partitions: self.partitions,
            operations: self.operations,
            extents: self.extents,
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::format::manifest::{self, DeltaArchiveManifest, InstallOperation, PartitionUpdate};
    use crate::format::{HEADER_SIZE, LONGEST_HEAD};

    const ROOM: usize = LONGEST_HEAD as usize - HEADER_SIZE;

    /// A manifest of one partition, as long as one may be, of the operations that `next` makes.
    fn longest(mut next: impl FnMut(u64) -> InstallOperation) -> Vec<u8> {
        let mut partition = PartitionUpdate::default();
        let mut length = 0;
        for index in 0.. {
            let operation = next(index);
            // Key and length, then 16 for what is around all of them.
            length += operation.encoded_len() + 1 + prost::length_delimiter_len(operation.encoded_len());
            if length + 16 > ROOM {
                break;
            }
            partition.operations.push(operation);
        }
        let partitions = vec![partition];
        let manifest = DeltaArchiveManifest {
            partitions,
            ..Default::default()
        }
        .encode_to_vec();
        assert!(
            manifest.len() <= ROOM && manifest.len() > ROOM - (64 << 10),
            "{}",
            manifest.len()
        );
        manifest
    }

    fn extent(start: u64) -> manifest::Extent {
        manifest::Extent {
            start_block: Some(start),
            num_blocks: Some(1),
        }
    }

    #[test]
    fn the_longest_heads_that_somebody_would_make_are_read() {
        let full = |index: u64| InstallOperation {
            data_offset: Some(index << 20),
            data_length: Some(1 << 20),
            dst_extents: vec![extent(index * 512)],
            data_sha256_hash: Some(vec![7; 32]),
            ..InstallOperation::default()
        };
        check(&longest(full)).unwrap();
        let copies = |index: u64| InstallOperation {
            r#type: 4,
            src_extents: (0..500).map(|at| extent(index + at * 7)).collect(),
            dst_extents: vec![extent(index * 500)],
            src_sha256_hash: Some(vec![7; 32]),
            ..InstallOperation::default()
        };
        check(&longest(copies)).unwrap();
    }

    #[test]
    fn two_bytes_that_become_hundreds_are_refused_before_they_do() {
        let refused = |manifest: &[u8]| {
            let Err(HeadError::Memory {
                partitions,
                operations,
                extents,
            }) = check(manifest)
            else {
                panic!("{} bytes are read", manifest.len());
            };
            (partitions, operations, extents)
        };
        let (partitions, ..) = refused(&[0x6a, 0].repeat(ROOM / 2));
        assert!(
            partitions * size_of::<Partition>() as u64 <= MOST_PARSED,
            "{partitions}"
        );
        let in_message = |key: u8, content: &[u8]| {
            let mut message = vec![key];
            prost::encode_length_delimiter(content.len(), &mut message).unwrap();
            [message.as_slice(), content].concat()
        };
        let (_, operations, _) = refused(&in_message(0x6a, &[0x42, 0].repeat(ROOM / 2 - 4)));
        assert!(
            operations * size_of::<Operation>() as u64 <= MOST_PARSED,
            "{operations}"
        );
        for key in [0x22, 0x32] {
            let operation = in_message(0x42, &[key, 0].repeat(ROOM / 2 - 8));
            let (.., extents) = refused(&in_message(0x6a, &operation));
            assert_eq!(extents, ROOM as u64 / 2 - 8);
        }
    }
}
