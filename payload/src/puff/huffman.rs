//! Canonical Huffman codes (RFC 1951, section 3.2.2).

use super::DeflateError;
use super::bits::{BitReader, BitWriter};

/// The longest code, in bits.
pub(super) const LONGEST_CODE: usize = 15;

/// Codes up to this length are found in one step.
const FAST_BITS: u32 = 10;

/// From bits to symbols.
pub(super) struct Decoder {
    /// For the next [`FAST_BITS`] bits: the symbol and, in the lowest four bits, the code's length; 0 for a longer code.
    fast: Vec<u16>,
    /// How many codes have each length.
    counts: [u16; LONGEST_CODE + 1],
    /// The symbols that have a code, in the order of their codes.
    symbols: Vec<u16>,
}

impl Decoder {
    /// The code in which symbol n has `lengths[n]` bits, 0 for none. A code may leave bits without a meaning; one with
    /// more codes than bits can tell apart is refused.
    pub(super) fn new(lengths: &[u8]) -> Result<Self, DeflateError> {
        let counts = count(lengths)?;
        let mut symbols = vec![0; lengths.iter().filter(|length| **length > 0).count()];
        let mut fast = vec![0; 1 << FAST_BITS];
        let mut starts = [0_u16; LONGEST_CODE + 1];
        for length in 1..LONGEST_CODE {
            starts[length + 1] = starts[length] + counts[length];
        }
        for (symbol, (length, code)) in assign(lengths, &counts).enumerate() {
            if length == 0 {
                continue;
            }
            let start = &mut starts[usize::from(length)];
            symbols[usize::from(*start)] = symbol as u16;
            *start += 1;
            if u32::from(length) <= FAST_BITS {
                let entry = (symbol as u16) << 4 | u16::from(length);
                for slot in fast.iter_mut().skip(code.into()).step_by(1 << length) {
                    *slot = entry;
                }
            }
        }
        Ok(Self {
            fast,
            counts,
            symbols,
        })
    }

    /// The next symbol; 15 bits or all that are left have been refilled.
    pub(super) fn next(&self, bits: &mut BitReader) -> Result<usize, DeflateError> {
        let entry = self.fast[bits.peek(FAST_BITS) as usize];
        if entry != 0 {
            bits.skip(u32::from(entry & 15))?;
            return Ok(usize::from(entry >> 4));
        }
        self.slow(bits)
    }

    /// Length by length: the codes of one length are consecutive numbers, and symbols follow in their order.
    fn slow(&self, bits: &mut BitReader) -> Result<usize, DeflateError> {
        let upcoming = bits.peek(LONGEST_CODE as u32);
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..=LONGEST_CODE {
            code |= upcoming >> (length - 1) & 1;
            let count = u32::from(self.counts[length]);
            if code < first + count {
                bits.skip(length as u32)?;
                let symbol = self.symbols.get((index + code - first) as usize);
                return symbol
                    .map(|symbol| usize::from(*symbol))
                    .ok_or(DeflateError::NoCode);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(DeflateError::NoCode)
    }
}

/// From symbols to bits.
pub(super) struct Encoder {
    codes: Vec<(u8, u16)>,
}

impl Encoder {
    /// As [`Decoder::new`].
    pub(super) fn new(lengths: &[u8]) -> Result<Self, DeflateError> {
        let counts = count(lengths)?;
        Ok(Self {
            codes: assign(lengths, &counts).collect(),
        })
    }

    /// Writes a symbol's code.
    pub(super) fn put(&self, symbol: usize, bits: &mut BitWriter) -> Result<(), DeflateError> {
        match self.codes.get(symbol) {
            Some((length, code)) if *length > 0 => {
                bits.put(u32::from(*code), u32::from(*length));
                Ok(())
            }
            _ => Err(DeflateError::NoCode),
        }
    }
}

/// Counts codes of each length and sees that bits can tell them apart.
fn count(lengths: &[u8]) -> Result<[u16; LONGEST_CODE + 1], DeflateError> {
    let mut counts = [0_u16; LONGEST_CODE + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        let count = counts.get_mut(usize::from(*length));
        *count.ok_or(DeflateError::CodeLengths)? += 1;
    }
    let mut room = 1_u32;
    for count in &counts[1..] {
        room = (room << 1)
            .checked_sub(u32::from(*count))
            .ok_or(DeflateError::CodeLengths)?;
    }
    Ok(counts)
}

/// Each symbol's code length and its code, the bit that is sent first lowest.
fn assign<'a>(
    lengths: &'a [u8],
    counts: &[u16; LONGEST_CODE + 1],
) -> impl Iterator<Item = (u8, u16)> + use<'a> {
    let mut next = [0_u16; LONGEST_CODE + 1];
    for length in 1..LONGEST_CODE {
        next[length + 1] = (next[length] + counts[length]) << 1;
    }
    lengths.iter().map(move |length| {
        if *length == 0 {
            return (0, 0);
        }
        let code = &mut next[usize::from(*length)];
        let reversed = code.reverse_bits() >> (16 - u32::from(*length));
        *code = code.wrapping_add(1);
        (*length, reversed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_back_with_short_and_long_codes() {
        // Lengths 1, 2, … 15, 15: every length there is, a complete code.
        let mut lengths: Vec<u8> = (1..=15).collect();
        lengths.push(15);
        let (decoder, encoder) = (Decoder::new(&lengths).unwrap(), Encoder::new(&lengths).unwrap());
        let mut writer = BitWriter::default();
        for symbol in 0..lengths.len() {
            encoder.put(symbol, &mut writer).unwrap();
        }
        writer.put(0, 7);
        let bytes = writer.whole_bytes().to_vec();
        let mut reader = BitReader::new(&bytes, 0);
        for symbol in 0..lengths.len() {
            reader.refill();
            assert_eq!(decoder.next(&mut reader).unwrap(), symbol);
        }
        assert_eq!(encoder.put(16, &mut writer), Err(DeflateError::NoCode));
    }

    /// RFC 1951, section 3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4) give F = 00, A = 010, … G = 1110.
    #[test]
    fn codes_are_those_of_the_specification_s_example() {
        let lengths = [3, 3, 3, 3, 3, 2, 4, 4];
        let codes: Vec<_> = assign(&lengths, &count(&lengths).unwrap()).collect();
        assert_eq!(codes[5], (2, 0b00));
        assert_eq!(codes[0], (3, 0b010));
        assert_eq!(codes[1], (3, 0b110));
        assert_eq!(codes[6], (4, 0b0111));
    }

    #[test]
    fn impossible_codes_are_refused_and_unused_bits_have_no_symbol() {
        for lengths in [&[1, 1, 1][..], &[16], &[1, 2, 2, 2]] {
            assert_eq!(Decoder::new(lengths).err(), Some(DeflateError::CodeLengths));
            assert_eq!(Encoder::new(lengths).err(), Some(DeflateError::CodeLengths));
        }
        let decoder = Decoder::new(&[2]).unwrap();
        let mut reader = BitReader::new(&[0b1100], 0);
        assert_eq!(decoder.next(&mut reader), Ok(0));
        assert_eq!(decoder.next(&mut reader), Err(DeflateError::NoCode));
        let mut nothing = BitReader::new(&[], 0);
        assert_eq!(decoder.next(&mut nothing), Err(DeflateError::EndsEarly));
    }
}
