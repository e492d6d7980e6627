//! The order of the work: read all images, patch archives, plan, encode.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::archives::{self, Archive};
use super::encoder::Encoder;
use super::ordered::ordered;
use super::pair::{self, Pair};
use super::plan::{self, Step};
use super::scan::by_name;
use super::{Encoded, GenerateError, OnlyOperation, Options, Progress, Stage};
use crate::storage::Image;
use crate::write::{MINOR_DELTA, MINOR_FULL, PayloadWriter, Summary};

/// Writes a full payload of the images: what a device needs that runs an unknown build.
pub fn write_full(
    new: &[Image],
    options: &Options,
    progress: &dyn Progress,
    out: &mut impl Write,
) -> Result<Summary, GenerateError> {
    write(MINOR_FULL, &[], new, options, progress, out)
}

/// Writes a delta that makes `new` of `old`. A partition without an old image is sent whole; an old image without a
/// new one is ignored.
pub fn write_delta(
    old: &[Image],
    new: &[Image],
    options: &Options,
    progress: &dyn Progress,
    out: &mut impl Write,
) -> Result<Summary, GenerateError> {
    write(MINOR_DELTA, old, new, options, progress, out)
}

fn write(
    minor: u32,
    old: &[Image],
    new: &[Image],
    options: &Options,
    progress: &dyn Progress,
    out: &mut impl Write,
) -> Result<Summary, GenerateError> {
    if by_name(new)?.is_empty() {
        return Err(GenerateError::NoImages);
    }
    let mut pairs = read(old, new, options, progress)?;
    let mut patches = archives(&mut pairs, options, progress)?;
    let mut steps = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        let patches = patches.get_mut(index).map(std::mem::take).unwrap_or_default();
        steps.extend(plan::plan(pair, patches).into_iter().map(|step| (index, step)));
    }
    encode(minor, &pairs, &steps, options, progress)?
        .finish(out)
        .map_err(GenerateError::Write)
}

/// Reads every image once.
fn read<'a>(
    old: &'a [Image<'a>],
    new: &'a [Image<'a>],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Pair<'a>>, GenerateError> {
    let old = by_name(old)?;
    let old_of = |image: &Image| old.get(image.name.as_str()).copied();
    let (mut old_size, mut total) = (0, 0);
    for image in new {
        old_size += old_of(image).map_or(Ok(0), pair::size)?;
        total += pair::size(image)?;
    }
    total += old_size;
    let mut done = 0;
    let mut advance = |bytes| {
        done += bytes;
        progress.advance(Stage::Read, done, total);
    };
    let mut pairs = Vec::with_capacity(new.len());
    for image in new {
        let old = old_of(image);
        // Each old image remembers its share of the windows that memory allows in all.
        let size = old.map_or(Ok(0), pair::size)?;
        let samples = options.samples() * (size >> 12) / (old_size >> 12).max(1);
        pairs.push(Pair::read(old, image, samples, progress, &mut advance)?);
    }
    Ok(pairs)
}

/// Patches what files hold of deflate, and takes those blocks out of what the plan has to send.
fn archives(
    pairs: &mut [Pair],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Vec<Encoded>>, GenerateError> {
    let mut patches: Vec<Vec<Encoded>> = pairs.iter().map(|_| Vec::new()).collect();
    if options.only.is_some_and(|only| only != OnlyOperation::Puffdiff) {
        return Ok(patches);
    }
    {
        let pairs = &*pairs;
        let found = pairs.iter().enumerate();
        let found: Vec<Archive> = found
            .flat_map(|(index, pair)| archives::archives(index, pair, options.largest_archive()))
            .collect();
        let total = found.iter().map(Archive::size).sum();
        let threads = options.archives_at_once(found.iter().map(Archive::size).max().unwrap_or(0));
        let mut done = 0;
        let patch = |archive: &Archive| {
            let pair = &pairs[archive.partition];
            let encoder = Encoder { pair, options };
            match &pair.old {
                Some(old) => archives::patch(archive, pair, old, &encoder),
                None => Ok(Vec::new()),
            }
        };
        ordered(
            threads,
            &found,
            patch,
            |encoded: &Vec<Encoded>| Encoded::costs(encoded),
            |archive, encoded| {
                patches[archive.partition].extend(encoded);
                done += archive.size();
                progress.advance(Stage::Archives, done, total);
                Ok(())
            },
        )?;
    }
    for (pair, patches) in pairs.iter_mut().zip(&mut patches) {
        if let Some(old) = &mut pair.old {
            *patches = archives::claim(std::mem::take(patches), &mut old.fates);
        }
    }
    Ok(patches)
}

fn encode(
    minor: u32,
    pairs: &[Pair],
    steps: &[(usize, Step)],
    options: &Options,
    progress: &dyn Progress,
) -> Result<PayloadWriter, GenerateError> {
    let mut payload = PayloadWriter::new(minor, &options.scratch).map_err(GenerateError::Write)?;
    let total = steps.iter().map(|(_, step)| step.effort()).sum();
    let done = AtomicU64::new(0);
    let mut partition = None;
    let step = |(index, step): &(usize, Step)| {
        let pair = &pairs[*index];
        let encoded = Encoder { pair, options }.step(step);
        let done = done.fetch_add(step.effort(), Ordering::Relaxed) + step.effort();
        progress.advance(Stage::Encode, done, total);
        encoded
    };
    ordered(
        options.threads,
        steps,
        step,
        |encoded: &Vec<Encoded>| Encoded::costs(encoded),
        |(index, _), encoded| {
            if partition != Some(*index) {
                let pair = &pairs[*index];
                let old = pair.old.as_ref().map(|old| old.scan.info);
                payload.partition(&pair.new.name, old, pair.scan.info, pair.scan.padding);
                partition = Some(*index);
            }
            for encoded in encoded {
                payload
                    .operation(&encoded.operation, &encoded.data)
                    .map_err(GenerateError::Write)?;
            }
            Ok(())
        },
    )?;
    Ok(payload)
}
