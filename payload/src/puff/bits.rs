use super::DeflateError;

/// Reads bits from the least significant one of each byte on (RFC 1951, section 3.1.1).
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bytes that have been taken into the cache.
    taken: usize,
    /// The next bits. Above `cached` there may be more of them, and nothing else.
    cache: u64,
    cached: u32,
}

impl<'a> BitReader<'a> {
    /// Begins at bit `start` of the first byte, 0 to 7.
    pub(crate) fn new(bytes: &'a [u8], start: u32) -> Self {
        let mut reader = Self {
            bytes,
            taken: 0,
            cache: 0,
            cached: 0,
        };
        reader.refill();
        let start = start.min(reader.cached).min(7);
        reader.cache >>= start;
        reader.cached -= start;
        reader
    }

    /// Bits from the first byte's first bit to the next bit.
    pub(crate) fn position(&self) -> u64 {
        self.taken as u64 * 8 - u64::from(self.cached)
    }

    /// Makes at least 56 bits available, or all that are left.
    pub(crate) fn refill(&mut self) {
        if let Some(word) = self.bytes.get(self.taken..).and_then(<[u8]>::first_chunk::<8>) {
            self.cache |= u64::from_le_bytes(*word) << self.cached;
            let bytes = (63 - self.cached) / 8;
            self.taken += bytes as usize;
            self.cached += bytes * 8;
            return;
        }
        while self.cached <= 56
            && let Some(byte) = self.bytes.get(self.taken)
        {
            self.cache |= u64::from(*byte) << self.cached;
            self.taken += 1;
            self.cached += 8;
        }
    }

    /// The next bits, the first one lowest; zeros behind the end. At most 56 after a [`BitReader::refill`].
    pub(crate) fn peek(&self, bits: u32) -> u32 {
        (self.cache & ((1 << bits) - 1)) as u32
    }

    /// Goes on past bits that were refilled.
    pub(crate) fn skip(&mut self, bits: u32) -> Result<(), DeflateError> {
        self.cached = self.cached.checked_sub(bits).ok_or(DeflateError::EndsEarly)?;
        self.cache >>= bits;
        Ok(())
    }

    /// The next `bits` bits, at most 16.
    pub(crate) fn take(&mut self, bits: u32) -> Result<u32, DeflateError> {
        if self.cached < bits {
            self.refill();
        }
        let value = self.peek(bits);
        self.skip(bits)?;
        Ok(value)
    }

    /// Bits up to the next whole byte of the stream: how many, and their value.
    pub(crate) fn take_padding(&mut self) -> Result<(u32, u32), DeflateError> {
        let bits = self.cached % 8;
        Ok((bits, self.take(bits)?))
    }

    /// The next `length` bytes; the reader stands at a whole byte.
    pub(crate) fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], DeflateError> {
        let start = self.taken - (self.cached / 8) as usize;
        let end = start.checked_add(length).ok_or(DeflateError::EndsEarly)?;
        let bytes = self.bytes.get(start..end).ok_or(DeflateError::EndsEarly)?;
        self.taken = end;
        self.cache = 0;
        self.cached = 0;
        Ok(bytes)
    }
}

/// Writes bits from the least significant one of each byte on.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    cache: u64,
    /// Fewer than 32 between two calls.
    cached: u32,
    written: u64,
}

impl BitWriter {
    /// Bits written in all.
    pub(crate) fn position(&self) -> u64 {
        self.written
    }

    /// Adds the lowest `bits` bits of `value`, at most 32.
    pub(crate) fn put(&mut self, value: u32, bits: u32) {
        self.cache |= (u64::from(value) & ((1 << bits) - 1)) << self.cached;
        self.cached += bits;
        self.written += u64::from(bits);
        if self.cached >= 32 {
            self.bytes.extend_from_slice(&(self.cache as u32).to_le_bytes());
            self.cache >>= 32;
            self.cached -= 32;
        }
    }

    /// Adds bytes, at any bit.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        if self.cached.is_multiple_of(8) {
            self.settle();
            self.bytes.extend_from_slice(bytes);
            self.written += bytes.len() as u64 * 8;
        } else {
            for byte in bytes {
                self.put(u32::from(*byte), 8);
            }
        }
    }

    /// The whole bytes written so far; bits of the last one may be waiting for more.
    pub(crate) fn whole_bytes(&mut self) -> &[u8] {
        self.settle();
        &self.bytes
    }

    /// Forgets the whole bytes. The position stays.
    pub(crate) fn clear(&mut self) {
        self.settle();
        self.bytes.clear();
    }

    fn settle(&mut self) {
        while self.cached >= 8 {
            self.bytes.push(self.cache as u8);
            self.cache >>= 8;
            self.cached -= 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back() {
        let widths = [1, 2, 5, 7, 8, 9, 13, 15, 16, 3];
        let mut writer = BitWriter::default();
        for n in 0..200_u32 {
            writer.put(
                n.wrapping_mul(2_654_435_761) >> 7,
                widths[n as usize % widths.len()],
            );
        }
        let total = writer.position();
        writer.put(0, (8 - total % 8) as u32 % 8);
        let bytes = writer.whole_bytes().to_vec();
        let mut reader = BitReader::new(&bytes, 0);
        for n in 0..200_u32 {
            let width = widths[n as usize % widths.len()];
            let expected = (n.wrapping_mul(2_654_435_761) >> 7) & ((1 << width) - 1);
            assert_eq!(reader.take(width).unwrap(), expected, "{n}");
        }
        assert_eq!(reader.position(), total);
    }

    #[test]
    fn the_end_is_an_error_and_bytes_follow_padding() {
        let bytes = [0b1010_0110, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        let mut reader = BitReader::new(&bytes, 3);
        assert_eq!(reader.take(2).unwrap(), 0b00);
        assert_eq!(reader.take_padding().unwrap(), (3, 0b101));
        assert_eq!(reader.take_padding().unwrap(), (0, 0));
        assert_eq!(reader.take_bytes(9).unwrap(), &bytes[1..10]);
        assert_eq!(reader.position(), 80);
        assert_eq!(reader.take(16).unwrap(), 0x0b0a);
        assert_eq!(reader.take(1), Err(DeflateError::EndsEarly));
        assert_eq!(
            BitReader::new(&bytes, 0).take_bytes(13),
            Err(DeflateError::EndsEarly)
        );
        assert_eq!(
            BitReader::new(&bytes, 0).take_bytes(usize::MAX),
            Err(DeflateError::EndsEarly)
        );
    }
}
