//! SOURCE_BSDIFF, BROTLI_BSDIFF and PUFFDIFF: bspatch that holds windows, never a whole source or output.

use std::io::{self, BufReader, Read};

use brotli_decompressor::Decompressor;
use bzip2::read::BzDecoder;

use super::extents::ExtentReader;
use super::puffed::{PuffedReader, PuffedWriter};
use super::write::PieceWriter;
use super::{DecodeError, Fault};
use crate::format::PatchKind;
use crate::format::bsdiff::{StreamCoder, Streams, TRIPLE_SIZE, decode_integer};
use crate::puff::{Container, Layout, PuffError};
use crate::storage::step;

/// bsdiff may begin with a triple that only moves; a stream of nothing else would keep a device busy for hours.
const MOST_IDLE_TRIPLES: u32 = 1 << 16;

/// The bytes that a patch reads, at any place.
pub(super) trait OldBytes {
    /// How many there are.
    fn size(&self) -> u64;
    /// Those from `position` on: at least one, at most `longest`. `position` lies inside.
    fn at(&mut self, position: u64, longest: usize) -> Result<&[u8], Fault>;
}

/// The bytes that a patch makes, in order.
pub(super) trait NewBytes {
    /// How many still fit.
    fn left(&self) -> u64;
    /// Takes at most [`NewBytes::left`] bytes.
    fn write(&mut self, data: &[u8]) -> Result<(), Fault>;
}

/// Patches old bytes, whose hash the caller has checked.
pub(super) fn patch(
    reader: &mut ExtentReader,
    kind: PatchKind,
    blob: &[u8],
    writer: &mut PieceWriter,
) -> Result<(), Fault> {
    match kind {
        PatchKind::Bsdiff | PatchKind::Brotli => bspatch(reader, blob, writer),
        PatchKind::Puffin => puffpatch(reader, blob, writer),
    }
}

/// Patches bytes of which deflate has been puffed, and makes deflate of what comes out.
fn puffpatch(reader: &mut dyn OldBytes, blob: &[u8], writer: &mut dyn NewBytes) -> Result<(), Fault> {
    let refuse = |error| Fault::Decode(DecodeError::Puff(error));
    let container = Container::parse(blob).map_err(refuse)?;
    let layout = |which, info, size| {
        Layout::check(info, size).map_err(|error| refuse(PuffError::Layout { which, error }))
    };
    let source = layout("source", &container.source, reader.size())?;
    let destination = layout("destination", &container.destination, writer.left())?;
    let mut old = PuffedReader::new(reader, source, destination.puffed_size());
    let mut new = PuffedWriter::new(writer, destination);
    bspatch(&mut old, container.patch, &mut new)
}

fn bspatch(reader: &mut dyn OldBytes, patch: &[u8], writer: &mut dyn NewBytes) -> Result<(), Fault> {
    let streams = Streams::parse(patch).ok_or(Fault::Decode(DecodeError::NotAPatch))?;
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
fn add_source(reader: &mut dyn OldBytes, position: i64, piece: &mut [u8]) -> Result<(), Fault> {
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
    decoder: BufReader<Box<dyn Read + 'a>>,
}

impl<'a> Stream<'a> {
    fn new(name: &'static str, (coder, bytes): (StreamCoder, &'a [u8])) -> Self {
        let decoder: Box<dyn Read + 'a> = match coder {
            StreamCoder::Bzip2 => Box::new(BzDecoder::new(bytes)),
            StreamCoder::Brotli => Box::new(Decompressor::new(bytes, 4096)),
        };
        // Triples, and most runs of a patch, are far shorter than what a decoder yields at a time.
        let decoder = BufReader::with_capacity(16 * 1024, decoder);
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

#[cfg(test)]
pub(crate) mod in_memory {
    use super::*;

    /// Old bytes, or new ones up to a length.
    pub(crate) struct Memory {
        pub(crate) bytes: Vec<u8>,
        room: usize,
    }

    impl Memory {
        pub(crate) fn old(bytes: &[u8]) -> Self {
            let (bytes, room) = (bytes.to_vec(), 0);
            Self { bytes, room }
        }

        pub(crate) fn new(room: usize) -> Self {
            let bytes = Vec::new();
            Self { bytes, room }
        }
    }

    impl OldBytes for Memory {
        fn size(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn at(&mut self, position: u64, longest: usize) -> Result<&[u8], Fault> {
            let rest = &self.bytes[position as usize..];
            Ok(&rest[..rest.len().min(longest)])
        }
    }

    impl NewBytes for Memory {
        fn left(&self) -> u64 {
            (self.room - self.bytes.len()) as u64
        }

        fn write(&mut self, data: &[u8]) -> Result<(), Fault> {
            assert!(data.len() as u64 <= self.left());
            self.bytes.extend_from_slice(data);
            Ok(())
        }
    }

    /// What a PUFFDIFF blob makes of `old`.
    pub(crate) fn puffpatched(old: &[u8], blob: &[u8], size: usize) -> Result<Vec<u8>, DecodeError> {
        let mut new = Memory::new(size);
        match puffpatch(&mut Memory::old(old), blob, &mut new) {
            Ok(()) => Ok(new.bytes),
            Err(Fault::Decode(error)) => Err(error),
            Err(_) => panic!("memory does not fail"),
        }
    }
}
