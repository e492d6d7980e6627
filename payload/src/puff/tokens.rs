//! The bytes of a puff; the table in [`super`] is their format.

use super::DeflateError;

/// The longest run of literals that one header announces.
const LONGEST_RUN: usize = 0xffff + 128;

/// Lengths and runs below this fit the header's seven bits.
const SHORT: usize = 127;

const MATCH: u8 = 0x80;
const LONG: u8 = 0x7f;
const END_OF_BLOCK: u8 = 0x81;

/// Writes a puff.
pub(crate) struct TokenWriter {
    puff: Vec<u8>,
    /// Literals whose number is not known yet.
    literals: Vec<u8>,
    limit: usize,
}

impl TokenWriter {
    /// `limit` is the length in bytes beyond which the puff is refused.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            puff: Vec::new(),
            literals: Vec::new(),
            limit,
        }
    }

    /// Allocates all of `limit`, for a puff whose length is known.
    pub(super) fn of_length(limit: usize) -> Self {
        let puff = Vec::with_capacity(limit);
        Self {
            puff,
            ..Self::new(limit)
        }
    }

    /// Bytes written, literals that wait for the end of their run not counted.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn len(&self) -> usize {
        self.puff.len()
    }

    pub(super) fn block(&mut self, metadata: &[u8]) -> Result<(), DeflateError> {
        // At most 1 + 3 + 10 + 316 bytes.
        let length = (metadata.len() as u16).wrapping_sub(1);
        self.puff.extend_from_slice(&length.to_be_bytes());
        self.puff.extend_from_slice(metadata);
        self.check()
    }

    pub(super) fn literal(&mut self, literal: u8) -> Result<(), DeflateError> {
        self.literals.push(literal);
        if self.literals.len() == LONGEST_RUN {
            self.end_run()?;
        }
        Ok(())
    }

    /// Up to 65535 literals, with none before them in their block.
    pub(super) fn stored(&mut self, literals: &[u8]) -> Result<(), DeflateError> {
        self.literals.extend_from_slice(literals);
        self.end_run()
    }

    /// A match of 3 to 258 bytes from 1 to 32768 bytes before.
    pub(super) fn copy(&mut self, length: u32, distance: u32) -> Result<(), DeflateError> {
        self.end_run()?;
        let length = length.wrapping_sub(3);
        if length < SHORT as u32 {
            self.puff.push(MATCH | length as u8);
        } else {
            self.puff
                .extend_from_slice(&[MATCH | LONG, length.wrapping_sub(SHORT as u32) as u8]);
        }
        self.puff
            .extend_from_slice(&(distance.wrapping_sub(1) as u16).to_be_bytes());
        self.check()
    }

    pub(super) fn end_of_block(&mut self) -> Result<(), DeflateError> {
        self.end_run()?;
        self.puff.extend_from_slice(&[MATCH | LONG, END_OF_BLOCK]);
        self.check()
    }

    /// The puff of the blocks that have ended.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.puff
    }

    fn end_run(&mut self) -> Result<(), DeflateError> {
        let Some(last) = self.literals.len().checked_sub(1) else {
            return Ok(());
        };
        if last < SHORT {
            self.puff.push(last as u8);
        } else {
            self.puff.push(LONG);
            self.puff
                .extend_from_slice(&((last - SHORT) as u16).to_be_bytes());
        }
        self.puff.append(&mut self.literals);
        self.check()
    }

    fn check(&self) -> Result<(), DeflateError> {
        if self.puff.len() > self.limit {
            return Err(DeflateError::TooLong);
        }
        Ok(())
    }
}

/// A part of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Literals(&'a [u8]),
    /// `length` bytes from `distance` bytes before.
    Match {
        length: u32,
        distance: u32,
    },
    EndOfBlock,
}

/// Reads a puff.
pub(super) struct TokenReader<'a> {
    rest: &'a [u8],
}

impl<'a> TokenReader<'a> {
    pub(super) fn new(puff: &'a [u8]) -> Self {
        Self { rest: puff }
    }

    /// The metadata of the next block, at least one byte; `None` at the end of the puff.
    pub(super) fn block(&mut self) -> Result<Option<&'a [u8]>, DeflateError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let length = usize::from(self.number()?) + 1;
        self.bytes(length).map(Some)
    }

    /// The next token of a block.
    pub(super) fn token(&mut self) -> Result<Token<'a>, DeflateError> {
        let header = self.byte()?;
        let short = usize::from(header & LONG);
        if header & MATCH == 0 {
            let last = if short < SHORT {
                short
            } else {
                SHORT + usize::from(self.number()?)
            };
            return self.bytes(last + 1).map(Token::Literals);
        }
        let length = if short < SHORT {
            short as u32
        } else {
            match self.byte()? {
                END_OF_BLOCK => return Ok(Token::EndOfBlock),
                more if more < END_OF_BLOCK => SHORT as u32 + u32::from(more),
                _ => return Err(DeflateError::Match),
            }
        };
        let distance = u32::from(self.number()?);
        if distance >= 1 << 15 {
            return Err(DeflateError::Match);
        }
        Ok(Token::Match {
            length: length + 3,
            distance: distance + 1,
        })
    }

    fn byte(&mut self) -> Result<u8, DeflateError> {
        let (first, rest) = self.rest.split_first().ok_or(DeflateError::EndsEarly)?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u16, DeflateError> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(DeflateError::EndsEarly)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*number))
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], DeflateError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DeflateError::EndsEarly)?;
        self.rest = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits of each form, as AOSP's puff_io_unittest.cc tries them.
    #[test]
    fn runs_and_matches_of_every_form_come_back() {
        for literals in [1, 2, 126, 127, 128, 65535, 65536, LONGEST_RUN] {
            let mut writer = TokenWriter::new(1 << 20);
            writer.block(&[0xcc, 123]).unwrap();
            for _ in 0..literals {
                writer.literal(10).unwrap();
            }
            for length in [3, 129, 130, 258] {
                writer.copy(length, 32768).unwrap();
            }
            writer.end_of_block().unwrap();
            let puff = writer.finish();
            let mut reader = TokenReader::new(&puff);
            assert_eq!(reader.block().unwrap(), Some(&[0xcc, 123][..]));
            assert_eq!(reader.token().unwrap(), Token::Literals(&vec![10; literals]));
            for length in [3, 129, 130, 258] {
                let distance = 32768;
                assert_eq!(reader.token().unwrap(), Token::Match { length, distance });
            }
            assert_eq!(reader.token().unwrap(), Token::EndOfBlock);
            assert_eq!(reader.block().unwrap(), None);
        }
    }

    #[test]
    fn a_run_is_split_where_its_number_ends() {
        let mut writer = TokenWriter::new(1 << 20);
        for _ in 0..=LONGEST_RUN {
            writer.literal(12).unwrap();
        }
        writer.end_of_block().unwrap();
        let puff = writer.finish();
        assert_eq!(puff[..3], [0x7f, 0xff, 0xff]);
        assert_eq!(puff[3 + LONGEST_RUN..], [0, 12, 0xff, 0x81]);
    }

    #[test]
    fn what_is_cut_off_or_impossible_is_refused() {
        let token = |puff: &[u8]| TokenReader::new(puff).token().err();
        assert_eq!(token(&[0xff, 0x82, 0, 0]), Some(DeflateError::Match));
        assert_eq!(token(&[0x80, 0x80, 0]), Some(DeflateError::Match));
        for cut in [
            &[][..],
            &[5, 1, 2],
            &[0x7f, 0],
            &[0x80, 0],
            &[0xff],
            &[0xff, 0, 0],
        ] {
            assert_eq!(token(cut), Some(DeflateError::EndsEarly), "{cut:?}");
        }
        assert_eq!(TokenReader::new(&[0]).block(), Err(DeflateError::EndsEarly));
        assert_eq!(TokenReader::new(&[0, 1, 7]).block(), Err(DeflateError::EndsEarly));
        let mut writer = TokenWriter::new(4);
        writer.literal(1).unwrap();
        assert_eq!(writer.end_of_block(), Ok(()));
        assert_eq!(writer.end_of_block(), Err(DeflateError::TooLong));
    }
}
