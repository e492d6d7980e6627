//! Finds deflate in a stretch of bytes, block by block as puffin does it (AOSP external/puffin, `utils.cc`).

use std::ops::Range;

use memchr::memchr3_iter;

use super::containers::{Announced, Check, FIRST_BYTES, announced, zip_name};
use crate::puff::{BitExtent, BitReader, DeflateError, LONGEST_DEFLATE, LONGEST_PUFF, Puffer, TokenWriter};

/// A deflate block that may be puffed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deflate {
    pub(super) bits: BitExtent,
    /// Bytes of its puff.
    pub(super) puff: u64,
}

/// A deflate stream with the header before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// From the header to the end of the stream.
    pub(super) bytes: Range<usize>,
    /// Where its name stands, if it is a zip's.
    pub(super) name: Option<Range<usize>>,
}

/// What was found in a stretch, in order and without overlap.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) deflates: Vec<Deflate>,
    pub(super) members: Vec<Member>,
}

/// Whether a search would begin: something in these bytes looks like the header of a deflate stream.
pub(in crate::generate) fn announces_deflate(bytes: &[u8]) -> bool {
    let [one, two, three] = FIRST_BYTES;
    memchr3_iter(one, two, three, bytes).any(|at| announced(bytes, at).is_some())
}

/// Finds the compressed blocks of all deflate streams that a zip, gzip or PNG header announces. A stream that the end
/// of the bytes cuts off counts up to there. Stored blocks are left as they are: puffed they would only be longer.
///
/// Time is bounded whatever the bytes are: once streams that turned out to be none took a few times the stretch's
/// length, the search ends.
pub(super) fn locate(bytes: &[u8]) -> Found {
    search(bytes, bytes.len() as u64 * 4 + (1 << 20))
}

/// `patience` is how many bytes of puff may be made in vain.
pub(super) fn search(bytes: &[u8], patience: u64) -> Found {
    let [one, two, three] = FIRST_BYTES;
    let mut search = Search {
        bytes,
        puffer: Puffer::new(),
        found: Found::default(),
        patience,
    };
    let mut next = 0;
    for at in memchr3_iter(one, two, three, bytes) {
        if at < next {
            continue;
        }
        if let Some(header) = announced(bytes, at) {
            next = search.stream(at, &header).unwrap_or(next);
            if search.patience == 0 {
                break;
            }
        }
    }
    search.found
}

struct Search<'a> {
    bytes: &'a [u8],
    puffer: Puffer,
    found: Found,
    /// Bytes of puff that may still be made in vain.
    patience: u64,
}

impl Search<'_> {
    /// Takes up the blocks of a stream and returns where it ends; `None` if it is none.
    fn stream(&mut self, at: usize, header: &Announced) -> Option<usize> {
        let start = at.checked_add(header.start)?;
        let limit = at.saturating_add(header.limit).min(self.bytes.len());
        let stream = self.bytes.get(start..limit)?;
        let blocks = self.found.deflates.len();
        let mut spent = 0;
        match self.blocks(stream, start, &mut spent) {
            Ok(Some((length, inflated))) if self.is_meant(header, start, length, inflated) => {
                self.member(at, start + length);
                Some(start + length)
            }
            // Cut off: by the end of the stretch or of a PNG chunk.
            Ok(None) if self.found.deflates.len() > blocks => {
                self.member(at, limit);
                Some(limit)
            }
            _ => {
                self.found.deflates.truncate(blocks);
                self.patience = self.patience.saturating_sub(spent);
                None
            }
        }
    }

    /// Bytes of a stream and bytes that it inflates to; `None` if it goes on behind the end.
    fn blocks(
        &mut self,
        stream: &[u8],
        start: usize,
        spent: &mut u64,
    ) -> Result<Option<(usize, u64)>, DeflateError> {
        let mut bits = BitReader::new(stream, 0);
        let mut inflated = 0;
        loop {
            let offset = bits.position();
            let mut tokens = TokenWriter::new(LONGEST_BLOCK);
            let block = self.puffer.block(&mut bits, &mut tokens);
            let puff = tokens.len() as u64;
            *spent += puff + 1;
            let block = match block {
                Err(DeflateError::EndsEarly) => return Ok(None),
                block => block?,
            };
            if block.reach > inflated {
                return Err(DeflateError::Match);
            }
            inflated += block.inflated;
            let length = bits.position() - offset;
            if !block.stored && puff <= LONGEST_PUFF && length <= LONGEST_DEFLATE * 8 {
                let offset = start as u64 * 8 + offset;
                self.found.deflates.push(Deflate {
                    bits: BitExtent { offset, length },
                    puff,
                });
            }
            if block.last {
                return Ok(Some((bits.position().div_ceil(8) as usize, inflated)));
            }
        }
    }

    fn is_meant(&self, header: &Announced, start: usize, length: usize, inflated: u64) -> bool {
        match header.check {
            Check::Length(announced) => announced == length,
            Check::GzipTrailer => {
                let trailer = self.bytes.get(start + length + 4..);
                let size = trailer.and_then(|trailer| trailer.first_chunk());
                size.is_none_or(|size| u32::from_le_bytes(*size) == inflated as u32)
            }
            Check::Nothing => true,
        }
    }

    fn member(&mut self, at: usize, end: usize) {
        let name = zip_name(&self.bytes[at..]).map(|name| {
            let start = at + 30;
            start..start + name.len()
        });
        self.found.members.push(Member { bytes: at..end, name });
    }
}

/// A puff that is longer ends the search in its stream.
const LONGEST_BLOCK: usize = 16 << 20;
