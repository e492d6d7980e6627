//! One pass over an image: its hash and the hash of every block.

use std::collections::BTreeMap;
use std::io;

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::GenerateError;
use crate::format::{Extent, Info, LARGEST_PARTITION, size_of};
use crate::storage::{COPY_BUFFER, Image, Padded, ReadAt, step};

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Zeros.
    Zero,
    /// Something with these first 16 bytes of its SHA-256.
    Data(u128),
}

/// An image that has been read once.
pub(super) struct Scan {
    pub(super) info: Info,
    /// Zero bytes that were added to make whole blocks.
    pub(super) padding: u64,
    pub(super) blocks: Vec<Block>,
}

/// Reads an image. `progress` hears how many bytes were read since the last time; `each` sees every piece, whole
/// blocks, in order.
pub(super) fn scan(
    image: &Image,
    progress: &mut dyn FnMut(u64),
    mut each: impl FnMut(u64, &[u8]),
) -> Result<Scan, GenerateError> {
    let fail = |error| GenerateError::Read {
        partition: image.name.clone(),
        error,
    };
    let padded = Padded::new(image.bytes).map_err(fail)?;
    let size = padded.size().map_err(fail)?;
    if size == 0 || size > LARGEST_PARTITION {
        return Err(GenerateError::Size {
            partition: image.name.clone(),
            size,
        });
    }
    let mut blocks = Vec::new();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER];
    let mut done = 0;
    while done < size {
        let piece = &mut buffer[..step(size - done, COPY_BUFFER)];
        padded.read_exact_at(piece, done).map_err(fail)?;
        hasher.update(&*piece);
        blocks.extend(piece.chunks(BLOCK_SIZE as usize).map(block));
        each(done, piece);
        done += piece.len() as u64;
        progress(piece.len() as u64);
    }
    let sha256 = Sha256Digest(hasher.finalize().into());
    Ok(Scan {
        info: Info { size, sha256 },
        padding: padded.padding(),
        blocks,
    })
}

/// The bytes of an image's extents, one after another.
pub(super) fn read(image: &Image, extents: &[Extent]) -> Result<Vec<u8>, GenerateError> {
    let fail = |error| GenerateError::Read {
        partition: image.name.clone(),
        error,
    };
    let padded = Padded::new(image.bytes).map_err(fail)?;
    let size = usize::try_from(size_of(extents)).map_err(|_| fail(io::ErrorKind::FileTooLarge.into()))?;
    let mut data = vec![0; size];
    let mut rest = data.as_mut_slice();
    for extent in extents {
        let (now, later) = rest.split_at_mut((extent.blocks * BLOCK_SIZE) as usize);
        padded
            .read_exact_at(now, extent.start * BLOCK_SIZE)
            .map_err(fail)?;
        rest = later;
    }
    Ok(data)
}

/// Images by name; refuses what no payload can say.
pub(super) fn by_name<'a>(
    images: &'a [Image<'a>],
) -> Result<BTreeMap<&'a str, &'a Image<'a>>, GenerateError> {
    let mut found = BTreeMap::new();
    for image in images {
        if found.insert(image.name.as_str(), image).is_some() {
            return Err(GenerateError::Twice(image.name.clone()));
        }
    }
    Ok(found)
}

fn block(bytes: &[u8]) -> Block {
    if bytes.iter().all(|byte| *byte == 0) {
        return Block::Zero;
    }
    let digest = <[u8; 32]>::from(Sha256::digest(bytes));
    // 128 bits: two blocks of one image that differ never agree by accident, and the device hashes sources anyway.
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    Block::Data(u128::from_be_bytes(first))
}
