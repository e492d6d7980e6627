//! SOURCE_BSDIFF and BROTLI_BSDIFF: bspatch that holds windows, never a whole source or output.

use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use bzip2::read::BzDecoder;

use super::extents::{ExtentReader, ExtentWriter};
use super::{DecodeError, Fault};
use crate::format::Source;
use crate::format::bsdiff::{StreamCoder, Streams, TRIPLE_SIZE, decode_integer};
use crate::storage::step;

/// bsdiff may begin with a triple that only moves; a stream of nothing else would keep a device busy for hours.
const MOST_IDLE_TRIPLES: u32 = 1 << 16;

pub(super) fn patch(
    reader: &mut ExtentReader,
    from: &Source,
    blob: &[u8],
    writer: &mut ExtentWriter,
) -> Result<(), Fault> {
    if reader.stream(|_| Ok(()))? != from.sha256 {
        return Err(Fault::Hash("source"));
    }
    let streams = Streams::parse(blob).ok_or(Fault::Decode(DecodeError::NotAPatch))?;
    if streams.new_size != writer.left() {
        return Err(Fault::Decode(DecodeError::Length("patch")));
    }
    let mut control = Stream::new("control", streams.control);
    let mut diff = Stream::new("diff", streams.diff);
    let mut extra = Stream::new("extra", streams.extra);
    let mut buffer = vec![0; 32 * 1024];
    let mut position: i64 = 0;
    let mut idle = 0;
    while writer.left() > 0 {
        let mut triple = [0; TRIPLE_SIZE];
        control.fill(&mut triple)?;
        let (add, copy, seek) = decode_triple(&triple, writer.left())?;
        idle += u32::from(add == 0 && copy == 0);
        if idle > MOST_IDLE_TRIPLES {
            return Err(Fault::Decode(DecodeError::Control));
        }

        let mut left = add;
        while left > 0 {
            let piece = &mut buffer[..step(left, 32 * 1024)];
            diff.fill(piece)?;
            add_source(reader, position, piece)?;
            writer.write(piece)?;
            left -= piece.len() as u64;
            position = advance(position, piece.len() as u64)?;
        }
        let mut left = copy;
        while left > 0 {
            let piece = &mut buffer[..step(left, 32 * 1024)];
            extra.fill(piece)?;
            writer.write(piece)?;
            left -= piece.len() as u64;
        }
        position = position
            .checked_add(seek)
            .ok_or(Fault::Decode(DecodeError::Control))?;
    }
    Ok(())
}

fn decode_triple(triple: &[u8; TRIPLE_SIZE], left: u64) -> Result<(u64, u64, i64), Fault> {
    let refuse = || Fault::Decode(DecodeError::Control);
    let [add, copy, seek] = triple.as_chunks().0 else {
        return Err(refuse());
    };
    let add = u64::try_from(decode_integer(*add)).map_err(|_| refuse())?;
    let copy = u64::try_from(decode_integer(*copy)).map_err(|_| refuse())?;
    if add.checked_add(copy).is_none_or(|sum| sum > left) {
        return Err(refuse());
    }
    Ok((add, copy, decode_integer(*seek)))
}

// As bspatch does it, old bytes outside the source count as zeros.
fn add_source(reader: &mut ExtentReader, position: i64, piece: &mut [u8]) -> Result<(), Fault> {
    let before = step(position.min(0).unsigned_abs(), piece.len());
    let mut rest = &mut piece[before..];
    let mut at = position.max(0).unsigned_abs();
    while !rest.is_empty() && at < reader.size() {
        let old = reader.at(at, rest.len())?;
        let (now, later) = rest.split_at_mut(old.len());
        for (new, old) in now.iter_mut().zip(old) {
            *new = new.wrapping_add(*old);
        }
        at += now.len() as u64;
        rest = later;
    }
    Ok(())
}

fn advance(position: i64, by: u64) -> Result<i64, Fault> {
    position
        .checked_add_unsigned(by)
        .ok_or(Fault::Decode(DecodeError::Control))
}

struct Stream<'a> {
    name: &'static str,
    decoder: Box<dyn Read + 'a>,
}

impl<'a> Stream<'a> {
    fn new(name: &'static str, (coder, bytes): (StreamCoder, &'a [u8])) -> Self {
        let decoder: Box<dyn Read + 'a> = match coder {
            StreamCoder::Bzip2 => Box::new(BzDecoder::new(bytes)),
            StreamCoder::Brotli => Box::new(Decompressor::new(bytes, 4096)),
        };
        Self { name, decoder }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        self.decoder.read_exact(buffer).map_err(|error| {
            Fault::Decode(match error.kind() {
                io::ErrorKind::UnexpectedEof => DecodeError::Length(self.name),
                _ => DecodeError::Stream {
                    stream: self.name,
                    error,
                },
            })
        })
    }
}
