//! Full payloads: every block from the payload itself.

use std::io::Write;

use millet_protocol::{BLOCK_SIZE, Sha256Digest};
use sha2::{Digest, Sha256};

use super::ordered::ordered;
use super::scan::{by_name, read, scan};
use super::{Encoded, GenerateError, Options, Progress, Stage, encode};
use crate::format::{Action, Blob, Extent, Operation};
use crate::storage::Image;
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
    if by_name(new)?.is_empty() {
        return Err(GenerateError::NoImages);
    }
    let mut payload = PayloadWriter::new(MINOR_FULL, &options.scratch).map_err(GenerateError::Write)?;
    for image in new {
        let scan = scan(image, progress, |_, _| ())?;
        payload.partition(&image.name, None, scan.info, scan.padding);
        let whole = Extent {
            start: 0,
            blocks: scan.blocks.len() as u64,
        };
        replace_all(
            image,
            &chunks(whole),
            scan.info.size,
            options,
            progress,
            &mut payload,
        )?;
    }
    payload.finish(out).map_err(GenerateError::Write)
}

/// Writes the extents of an image, one replacement for each.
pub(super) fn replace_all(
    image: &Image,
    extents: &[Extent],
    total: u64,
    options: &Options,
    progress: &dyn Progress,
    payload: &mut PayloadWriter,
) -> Result<(), GenerateError> {
    let mut done = 0;
    let encode = |extent: &Extent| replace(*extent, &read(image, &[*extent])?, options);
    ordered(options.threads, extents, encode, |extent, encoded| {
        payload
            .operation(&encoded.operation, &encoded.data)
            .map_err(GenerateError::Write)?;
        done += extent.blocks * BLOCK_SIZE;
        progress.advance(Stage::Encode, done, total);
        Ok(())
    })
}

/// Cuts an extent into pieces that one replacement each may make.
pub(super) fn chunks(whole: Extent) -> Vec<Extent> {
    let chunk = |start| Extent {
        start,
        blocks: CHUNK_BLOCKS.min(whole.end() - start),
    };
    (whole.start..whole.end())
        .step_by(CHUNK_BLOCKS as usize)
        .map(chunk)
        .collect()
}

/// A replacement of one extent in its smallest form.
pub(super) fn replace(extent: Extent, data: &[u8], options: &Options) -> Result<Encoded, GenerateError> {
    let (coder, data) = encode::replacement(data, options)?;
    let action = Action::Replace {
        coder,
        blob: blob(&data),
    };
    Ok(Encoded {
        operation: Operation {
            action,
            destination: vec![extent],
        },
        data,
    })
}

/// A blob whose offset the writer will know.
pub(super) fn blob(data: &[u8]) -> Blob {
    Blob {
        offset: 0,
        length: data.len() as u64,
        sha256: Sha256Digest(Sha256::digest(data).into()),
    }
}
