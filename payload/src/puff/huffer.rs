use super::DeflateError;
use super::bits::BitWriter;
use super::huffman::Encoder;
use super::symbols::{END_OF_BLOCK, FIRST_LENGTH, spell_distance, spell_length};
use super::tokens::{Token, TokenReader};
use super::trees::Lengths;

/// Makes deflate blocks of puffs.
pub(crate) struct Huffer {
    fixed: Option<Codes>,
}

impl Huffer {
    pub(crate) fn new() -> Self {
        Self { fixed: None }
    }

    /// Writes the blocks of a puff. A puff of n bytes makes fewer than 3 n bytes of deflate.
    pub(crate) fn huff(&mut self, puff: &[u8], bits: &mut BitWriter) -> Result<(), DeflateError> {
        let mut tokens = TokenReader::new(puff);
        while let Some(metadata) = tokens.block()? {
            let (header, metadata) = metadata.split_first().ok_or(DeflateError::Metadata)?;
            let kind = header >> 5 & 3;
            if kind != 0 && header & 0x1f != 0 || kind != 2 && !metadata.is_empty() {
                return Err(DeflateError::Metadata);
            }
            bits.put(u32::from(header >> 7), 1);
            bits.put(u32::from(kind), 2);
            match kind {
                0 => stored(header & 0x1f, &mut tokens, bits)?,
                1 => self.fixed()?.block(&mut tokens, bits)?,
                2 => Codes::new(&Lengths::write(metadata, bits)?)?.block(&mut tokens, bits)?,
                _ => return Err(DeflateError::BlockType),
            }
        }
        Ok(())
    }

    fn fixed(&mut self) -> Result<&Codes, DeflateError> {
        let fixed = match self.fixed.take() {
            Some(fixed) => fixed,
            None => Codes::new(&Lengths::fixed())?,
        };
        Ok(self.fixed.insert(fixed))
    }
}

fn stored(padding: u8, tokens: &mut TokenReader, bits: &mut BitWriter) -> Result<(), DeflateError> {
    let room = (8 - bits.position() % 8) as u32 % 8;
    if u32::from(padding) >> room != 0 {
        return Err(DeflateError::Stored);
    }
    bits.put(u32::from(padding), room);
    let bytes = match tokens.token()? {
        Token::EndOfBlock => &[],
        Token::Literals(bytes) if tokens.token()? == Token::EndOfBlock => bytes,
        _ => return Err(DeflateError::Stored),
    };
    let length = u16::try_from(bytes.len()).map_err(|_| DeflateError::Stored)?;
    bits.put(u32::from(length), 16);
    bits.put(u32::from(!length), 16);
    bits.put_bytes(bytes);
    Ok(())
}

struct Codes {
    literals: Encoder,
    distances: Encoder,
}

impl Codes {
    fn new(lengths: &Lengths) -> Result<Self, DeflateError> {
        Ok(Self {
            literals: Encoder::new(lengths.literals())?,
            distances: Encoder::new(lengths.distances())?,
        })
    }

    fn block(&self, tokens: &mut TokenReader, bits: &mut BitWriter) -> Result<(), DeflateError> {
        loop {
            match tokens.token()? {
                Token::Literals(literals) => {
                    for literal in literals {
                        self.literals.put(usize::from(*literal), bits)?;
                    }
                }
                Token::Match { length, distance } => {
                    let length = spell_length(length);
                    self.literals.put(FIRST_LENGTH + length.symbol as usize, bits)?;
                    bits.put(length.extra, length.extra_bits);
                    let distance = spell_distance(distance);
                    self.distances.put(distance.symbol as usize, bits)?;
                    bits.put(distance.extra, distance.extra_bits);
                }
                Token::EndOfBlock => return self.literals.put(END_OF_BLOCK, bits),
            }
        }
    }
}
