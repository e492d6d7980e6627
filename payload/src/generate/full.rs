//! Full payloads: every block from the payload itself.

use std::io::{self, Write};

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::ordered::ordered;
use super::{GenerateError, Options, Progress, Stage, encode};
use crate::format::{Action, Blob, Extent, Info, LARGEST_PARTITION, Operation, size_of};
use crate::storage::{Image, Padded, ReadAt, hash};
use crate::write::{MINOR_FULL, PayloadWriter, Summary};

/// Blocks that one operation makes: 2 MiB, as AOSP's full payloads have it.
const CHUNK_BLOCKS: u64 = 512;

/// Writes a full payload of the images: what a device needs that runs an unknown build.
pub fn write_full(
    new: &[Image],
    options: &Options,
    progress: &dyn Progress,
    out: &mut impl Write,
) -> Result<Summary, GenerateError> {
    check_images(new)?;
    let mut payload = PayloadWriter::new(MINOR_FULL, &options.scratch).map_err(GenerateError::Write)?;
    for image in new {
        let described = describe(image, progress)?;
        payload.partition(&image.name, None, described.info, described.padding);
        full(image, described.info, options, progress, &mut payload)?;
    }
    payload.finish(out).map_err(GenerateError::Write)
}

fn full(
    image: &Image,
    info: Info,
    options: &Options,
    progress: &dyn Progress,
    payload: &mut PayloadWriter,
) -> Result<(), GenerateError> {
    let blocks = info.size / BLOCK_SIZE;
    let chunk = |start| Extent {
        start,
        blocks: CHUNK_BLOCKS.min(blocks - start),
    };
    let chunks: Vec<Extent> = (0..blocks).step_by(CHUNK_BLOCKS as usize).map(chunk).collect();
    let encode = |extent: &Extent| {
        let data = read(image, &[*extent])?;
        replace(*extent, data, options)
    };
    ordered(options.threads, &chunks, encode, |extent, (operation, data)| {
        payload
            .operation(&operation, &data)
            .map_err(GenerateError::Write)?;
        progress.advance(Stage::Encode, extent.end() * BLOCK_SIZE, info.size);
        Ok(())
    })
}

/// A replacement of one extent in its smallest form.
pub(super) fn replace(
    extent: Extent,
    data: Vec<u8>,
    options: &Options,
) -> Result<(Operation, Vec<u8>), GenerateError> {
    let (coder, data) = encode::replacement(data, options)?;
    let action = Action::Replace {
        coder,
        blob: blob(&data),
    };
    Ok((
        Operation {
            action,
            destination: vec![extent],
        },
        data,
    ))
}

/// A blob whose offset the writer will know.
pub(super) fn blob(data: &[u8]) -> Blob {
    Blob {
        offset: 0,
        length: data.len() as u64,
        sha256: Sha256Digest(Sha256::digest(data).into()),
    }
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

/// An image's size and hash, padded to whole blocks.
pub(super) struct Described {
    pub(super) info: Info,
    pub(super) padding: u64,
}

pub(super) fn describe(image: &Image, progress: &dyn Progress) -> Result<Described, GenerateError> {
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
    let sha256 = hash(image.bytes, size, &mut |done| {
        progress.advance(Stage::Read, done, size)
    })
    .map_err(fail)?;
    Ok(Described {
        info: Info { size, sha256 },
        padding: padded.padding(),
    })
}

/// Refuses what no payload can say.
pub(super) fn check_images(images: &[Image]) -> Result<(), GenerateError> {
    if images.is_empty() {
        return Err(GenerateError::NoImages);
    }
    for (index, image) in images.iter().enumerate() {
        if images[..index].iter().any(|earlier| earlier.name == image.name) {
            return Err(GenerateError::Twice(image.name.clone()));
        }
    }
    Ok(())
}
