//! The code lengths of a dynamic block, in deflate (RFC 1951, section 3.2.7) and in a puff's metadata.

use super::DeflateError;
use super::bits::{BitReader, BitWriter};
use super::huffman::{Decoder, Encoder};

/// The code lengths of a block's two alphabets.
pub(super) struct Lengths {
    all: Vec<u8>,
    literals: usize,
}

/// A run of equal code lengths.
struct Run {
    /// The symbol of the code length alphabet.
    symbol: usize,
    extra_bits: u32,
    /// The metadata byte for extra bits that are zero.
    first: u8,
    /// What is repeated, unless it is the last length.
    zeros: bool,
    shortest: usize,
}

const REPEAT: Run = Run {
    symbol: 16,
    extra_bits: 2,
    first: 16,
    zeros: false,
    shortest: 3,
};
const FEW_ZEROS: Run = Run {
    symbol: 17,
    extra_bits: 3,
    first: 20,
    zeros: true,
    shortest: 3,
};
const MANY_ZEROS: Run = Run {
    symbol: 18,
    extra_bits: 7,
    first: 28,
    zeros: true,
    shortest: 11,
};

/// The order in which the code length alphabet's own lengths are sent.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const MOST_LITERALS: usize = 286;
const MOST_DISTANCES: usize = 30;

impl Lengths {
    /// The code of RFC 1951, section 3.2.6.
    pub(super) fn fixed() -> Self {
        let mut all = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
        let literals = all.len();
        all.extend([5; MOST_DISTANCES]);
        Self { all, literals }
    }

    /// Of literals and match lengths.
    pub(super) fn literals(&self) -> &[u8] {
        &self.all[..self.literals]
    }

    /// Of distances.
    pub(super) fn distances(&self) -> &[u8] {
        &self.all[self.literals..]
    }

    /// Reads them from a deflate block and adds them to its puff's metadata.
    pub(super) fn read(bits: &mut BitReader, metadata: &mut Vec<u8>) -> Result<Self, DeflateError> {
        let counts = [bits.take(5)?, bits.take(5)?, bits.take(4)?].map(|count| count as u8);
        let (literals, distances, codes) = sizes(counts)?;
        metadata.extend_from_slice(&counts);
        let mut own = [0; ORDER.len()];
        for pair in ORDER[..codes].chunks(2) {
            let mut byte = 0;
            for (place, half) in pair.iter().zip([4, 0]) {
                own[*place] = bits.take(3)? as u8;
                byte |= own[*place] << half;
            }
            metadata.push(byte);
        }
        let decoder = Decoder::new(&own)?;
        let mut lengths = Self::empty(literals, distances);
        while lengths.all.len() < literals + distances {
            bits.refill();
            let symbol = decoder.next(bits)?;
            let Some(run) = run_of(symbol) else {
                lengths.all.push(symbol as u8);
                metadata.push(symbol as u8);
                continue;
            };
            let extra = bits.take(run.extra_bits)? as u8;
            lengths.repeat(run, extra, literals + distances)?;
            metadata.push(run.first + extra);
        }
        Ok(lengths)
    }

    /// Reads them from what follows the first byte of a puff's metadata and writes them to a deflate block.
    pub(super) fn write(metadata: &[u8], bits: &mut BitWriter) -> Result<Self, DeflateError> {
        let (counts, rest) = metadata.split_first_chunk().ok_or(DeflateError::Metadata)?;
        let (literals, distances, codes) = sizes(*counts)?;
        for (count, width) in counts.iter().zip([5, 5, 4]) {
            bits.put(u32::from(*count), width);
        }
        let (pairs, rest) = rest
            .split_at_checked(codes.div_ceil(2))
            .ok_or(DeflateError::Metadata)?;
        let mut own = [0; ORDER.len()];
        for (pair, byte) in ORDER[..codes].chunks(2).zip(pairs) {
            if byte & 0x88 != 0 || (pair.len() == 1 && byte & 0x0f != 0) {
                return Err(DeflateError::Metadata);
            }
            for (place, half) in pair.iter().zip([4, 0]) {
                own[*place] = byte >> half & 7;
                bits.put(u32::from(own[*place]), 3);
            }
        }
        let encoder = Encoder::new(&own)?;
        let mut lengths = Self::empty(literals, distances);
        for byte in rest {
            let Some(run) = run_beginning(*byte)? else {
                encoder.put(usize::from(*byte), bits)?;
                lengths.all.push(*byte);
                continue;
            };
            let extra = byte - run.first;
            encoder.put(run.symbol, bits)?;
            bits.put(u32::from(extra), run.extra_bits);
            lengths.repeat(run, extra, literals + distances)?;
        }
        if lengths.all.len() != literals + distances {
            return Err(DeflateError::Metadata);
        }
        Ok(lengths)
    }

    fn empty(literals: usize, distances: usize) -> Self {
        Self {
            all: Vec::with_capacity(literals + distances),
            literals,
        }
    }

    /// The two alphabets are one sequence: a run may begin in one and end in the other.
    fn repeat(&mut self, run: &Run, extra: u8, most: usize) -> Result<(), DeflateError> {
        let last = self.all.last().copied();
        let repeated = if run.zeros { Some(0) } else { last };
        let length = self.all.len() + run.shortest + usize::from(extra);
        if length > most {
            return Err(DeflateError::CodeLengths);
        }
        self.all
            .resize(length, repeated.ok_or(DeflateError::CodeLengths)?);
        Ok(())
    }
}

/// How many codes there are in the alphabet of literals, in that of distances and in that of code lengths.
fn sizes([literals, distances, codes]: [u8; 3]) -> Result<(usize, usize, usize), DeflateError> {
    let sizes = (
        usize::from(literals) + 257,
        usize::from(distances) + 1,
        usize::from(codes) + 4,
    );
    if sizes.0 > MOST_LITERALS || sizes.1 > MOST_DISTANCES || sizes.2 > ORDER.len() {
        return Err(DeflateError::CodeLengths);
    }
    Ok(sizes)
}

fn run_of(symbol: usize) -> Option<&'static Run> {
    match symbol {
        16 => Some(&REPEAT),
        17 => Some(&FEW_ZEROS),
        18 => Some(&MANY_ZEROS),
        _ => None,
    }
}

fn run_beginning(byte: u8) -> Result<Option<&'static Run>, DeflateError> {
    match byte {
        0..=15 => Ok(None),
        16..=19 => Ok(Some(&REPEAT)),
        20..=27 => Ok(Some(&FEW_ZEROS)),
        28..=155 => Ok(Some(&MANY_ZEROS)),
        156.. => Err(DeflateError::Metadata),
    }
}
