use super::bits::BitReader;
use super::huffman::{Decoder, LONGEST_CODE};
use super::symbols::{END_OF_BLOCK, FIRST_LENGTH, distance_of, length_of};
use super::tokens::TokenWriter;
use super::trees::Lengths;
use super::{DeflateError, LONGEST_PUFF};

/// Makes puffs of deflate blocks.
pub(crate) struct Puffer {
    fixed: Option<Codes>,
}

/// What a block was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Nothing of its deflate stream follows.
    pub(crate) last: bool,
    /// Its bytes are not compressed.
    pub(crate) stored: bool,
    /// Bytes that it inflates to.
    pub(crate) inflated: u64,
    /// How many bytes before its own first one its matches reach.
    pub(crate) reach: u64,
}

impl Puffer {
    pub(crate) fn new() -> Self {
        Self { fixed: None }
    }

    /// Puffs the blocks that fill `length` bits from bit `start` (0 to 7) of `bytes`; the puff has `limit` bytes at most,
    /// which are allocated.
    pub(crate) fn puff(
        &mut self,
        bytes: &[u8],
        start: u32,
        length: u64,
        limit: u64,
    ) -> Result<Vec<u8>, DeflateError> {
        let limit = limit.min(LONGEST_PUFF) as usize;
        let mut tokens = TokenWriter::of_length(limit);
        let mut bits = BitReader::new(bytes, start);
        let end = u64::from(start) + length;
        while bits.position() < end {
            self.block(&mut bits, &mut tokens)?;
        }
        if bits.position() != end {
            return Err(DeflateError::Length);
        }
        Ok(tokens.finish())
    }

    /// Puffs one block.
    pub(crate) fn block(
        &mut self,
        bits: &mut BitReader,
        tokens: &mut TokenWriter,
    ) -> Result<Block, DeflateError> {
        let last = bits.take(1)?;
        let kind = bits.take(2)?;
        let header = (last << 7 | kind << 5) as u8;
        let (inflated, reach) = match kind {
            0 => (stored(header, bits, tokens)?, 0),
            1 => {
                tokens.block(&[header])?;
                self.fixed()?.block(bits, tokens)?
            }
            2 => {
                let mut metadata = vec![header];
                let codes = Codes::new(&Lengths::read(bits, &mut metadata)?)?;
                tokens.block(&metadata)?;
                codes.block(bits, tokens)?
            }
            _ => return Err(DeflateError::BlockType),
        };
        Ok(Block {
            last: last == 1,
            stored: kind == 0,
            inflated,
            reach,
        })
    }

    fn fixed(&mut self) -> Result<&Codes, DeflateError> {
        let fixed = match self.fixed.take() {
            Some(fixed) => fixed,
            None => Codes::new(&Lengths::fixed())?,
        };
        Ok(self.fixed.insert(fixed))
    }
}

/// The metadata has room for five bits of padding, and there may be seven.
const MOST_PADDING: u32 = 0x1f;

fn stored(header: u8, bits: &mut BitReader, tokens: &mut TokenWriter) -> Result<u64, DeflateError> {
    let (_, padding) = bits.take_padding()?;
    let (length, complement) = (bits.take(16)?, bits.take(16)?);
    if length ^ complement != 0xffff || padding > MOST_PADDING {
        return Err(DeflateError::Stored);
    }
    tokens.block(&[header | padding as u8])?;
    tokens.stored(bits.take_bytes(length as usize)?)?;
    tokens.end_of_block()?;
    Ok(length.into())
}

struct Codes {
    literals: Decoder,
    distances: Decoder,
}

impl Codes {
    fn new(lengths: &Lengths) -> Result<Self, DeflateError> {
        Ok(Self {
            literals: Decoder::new(lengths.literals())?,
            distances: Decoder::new(lengths.distances())?,
        })
    }

    /// Puffs the tokens of a block; how many bytes they inflate to, and how far before those they reach.
    fn block(&self, bits: &mut BitReader, tokens: &mut TokenWriter) -> Result<(u64, u64), DeflateError> {
        // A length and a distance with their extra bits are 15 + 5 + 15 + 13 bits: one refill is enough.
        const _: () = assert!(2 * LONGEST_CODE + 5 + 13 <= 56);
        let (mut inflated, mut reach) = (0_u64, 0_u64);
        loop {
            bits.refill();
            let symbol = self.literals.next(bits)?;
            if symbol < END_OF_BLOCK {
                tokens.literal(symbol as u8)?;
                inflated += 1;
                continue;
            }
            if symbol == END_OF_BLOCK {
                tokens.end_of_block()?;
                return Ok((inflated, reach));
            }
            let (extra_bits, first) =
                length_of((symbol - FIRST_LENGTH) as u32).ok_or(DeflateError::NoCode)?;
            let length = first + bits.take(extra_bits)?;
            let symbol = self.distances.next(bits)?;
            let (extra_bits, first) = distance_of(symbol as u32).ok_or(DeflateError::NoCode)?;
            let distance = first + bits.take(extra_bits)?;
            tokens.copy(length, distance)?;
            reach = reach.max(u64::from(distance).saturating_sub(inflated));
            inflated += u64::from(length);
        }
    }
}
