//! How a stream and its puffed form lie beside each other.
//!
//! Bits between two deflate extents are raw. In the puffed stream each byte that raw bits touch is a byte of its own,
//! shifted so that its first raw bit is the lowest (AOSP external/puffin, `puffin_stream.cc`, `Read`). So the places of
//! the puffs follow from the extents and the lengths of the puffs, and a header that says otherwise is refused.

use super::container::{BitExtent, StreamInfo};
use super::{LONGEST_DEFLATE, LONGEST_PUFF, LayoutError};

/// The deflate extents of a stream and their puffs, checked: sorted, disjoint, inside, of bounded length.
pub(crate) struct Layout {
    puffs: Vec<Puffed>,
    size: u64,
    puffed_size: u64,
}

/// A deflate extent.
#[derive(Clone, Copy)]
struct Puffed {
    bits: BitExtent,
    /// Where its puff begins in the puffed stream, in bytes.
    at: u64,
    /// Bytes of its puff.
    length: u64,
}

impl Puffed {
    fn end_bit(&self) -> u64 {
        self.bits.offset + self.bits.length
    }

    fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// What lies at a byte of the puffed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Whole bytes of the stream, from this one on.
    Bytes {
        /// The first one's place in the stream.
        from: u64,
        /// How many, at least one.
        length: u64,
    },
    /// Some bits of one byte of the stream.
    Bits {
        /// The bits, at most seven.
        bits: BitExtent,
    },
    /// A puff.
    Puff {
        /// The number of its extent.
        index: usize,
        /// Its deflate.
        bits: BitExtent,
        /// Bytes of the puff before this one.
        before: u64,
        /// Bytes of the whole puff.
        length: u64,
    },
}

impl Layout {
    /// Of a stream of `size` bytes that a PUFFDIFF header describes.
    pub(crate) fn check(info: &StreamInfo, size: u64) -> Result<Self, LayoutError> {
        if info.deflates.len() != info.puffs.len() {
            return Err(LayoutError::Count {
                deflates: info.deflates.len(),
                puffs: info.puffs.len(),
            });
        }
        let mut layout = Self {
            puffs: Vec::with_capacity(info.puffs.len()),
            size,
            puffed_size: 0,
        };
        for (index, (bits, puff)) in info.deflates.iter().zip(&info.puffs).enumerate() {
            let end = bits.offset.checked_add(bits.length);
            if bits.offset < layout.last_bit() || end.is_none_or(|end| end > size.saturating_mul(8)) {
                return Err(LayoutError::Deflate(index));
            }
            if bits.length > LONGEST_DEFLATE * 8 || puff.length > LONGEST_PUFF * 8 {
                return Err(LayoutError::TooLong(index));
            }
            let at = layout.end_of_raw(bits.offset);
            // Puffin knows extents without a bit, which have no puff.
            let fits = (bits.length == 0) == (puff.length == 0) && puff.length.is_multiple_of(8);
            if !fits || Some(puff.offset) != at.checked_mul(8) {
                return Err(LayoutError::Puff(index));
            }
            layout.puffs.push(Puffed {
                bits: *bits,
                at,
                length: puff.length / 8,
            });
        }
        layout.puffed_size = layout.end_of_raw(size * 8);
        if layout.puffed_size != info.puff_length {
            return Err(LayoutError::Length {
                says: info.puff_length,
                has: layout.puffed_size,
            });
        }
        Ok(layout)
    }

    /// Of a stream of `size` bytes with these extents and lengths of their puffs in bytes, for which
    /// [`Layout::check`] holds.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn new(extents: &[(BitExtent, u64)], size: u64) -> Self {
        let mut layout = Self {
            puffs: Vec::with_capacity(extents.len()),
            size,
            puffed_size: 0,
        };
        for (bits, length) in extents {
            let at = layout.end_of_raw(bits.offset);
            layout.puffs.push(Puffed {
                bits: *bits,
                at,
                length: *length,
            });
        }
        layout.puffed_size = layout.end_of_raw(size * 8);
        layout
    }

    /// The layout as a header says it.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn info(&self) -> StreamInfo {
        StreamInfo {
            deflates: self.puffs.iter().map(|puff| puff.bits).collect(),
            puffs: self
                .puffs
                .iter()
                .map(|puff| BitExtent {
                    offset: puff.at * 8,
                    length: puff.length * 8,
                })
                .collect(),
            puff_length: self.puffed_size,
        }
    }

    /// Bytes of the puffed stream.
    pub(crate) fn puffed_size(&self) -> u64 {
        self.puffed_size
    }

    /// What lies at byte `position` of the puffed stream, which is inside it.
    pub(crate) fn place(&self, position: u64) -> Place {
        let index = self.puffs.partition_point(|puff| puff.end() <= position);
        let next = self.puffs.get(index);
        if let Some(puff) = next
            && position >= puff.at
        {
            return Place::Puff {
                index,
                bits: puff.bits,
                before: position - puff.at,
                length: puff.length,
            };
        }
        let last = index.checked_sub(1).and_then(|last| self.puffs.get(last));
        let (first_bit, at) = last.map_or((0, 0), |last| (last.end_bit(), last.end()));
        let end_bit = next.map_or(self.size * 8, |next| next.bits.offset);
        let byte = first_bit / 8 + (position - at);
        let (from, to) = (first_bit.max(byte * 8), end_bit.min(byte * 8 + 8));
        if to - from < 8 {
            return Place::Bits {
                bits: BitExtent {
                    offset: from,
                    length: to - from,
                },
            };
        }
        Place::Bytes {
            from: byte,
            length: end_bit / 8 - byte,
        }
    }

    fn last_bit(&self) -> u64 {
        self.puffs.last().map_or(0, Puffed::end_bit)
    }

    /// Where in the puffed stream the raw bits from the last extent up to `bit` end.
    fn end_of_raw(&self, bit: u64) -> u64 {
        let last = self.last_bit();
        let touched = if bit == last {
            0
        } else {
            bit.div_ceil(8) - last / 8
        };
        self.puffs.last().map_or(0, Puffed::end) + touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset: u64, length: u64) -> BitExtent {
        BitExtent { offset, length }
    }

    fn info(deflates: &[(u64, u64)], puffs: &[(u64, u64)], puff_length: u64) -> StreamInfo {
        StreamInfo {
            deflates: deflates.iter().map(|(a, b)| extent(*a, *b)).collect(),
            puffs: puffs.iter().map(|(a, b)| extent(*a * 8, *b * 8)).collect(),
            puff_length,
        }
    }

    /// Extents with gaps of every kind inside a byte and across bytes: AOSP external/puffin, puffin_unittest.cc,
    /// `kGapSubblockDeflateExtents` and `kGapPuffExtents`.
    #[test]
    fn puffs_lie_where_puffin_puts_them() {
        let deflates = [0, 18, 37, 57, 75, 78, 96, 122, 140, 166, 186, 206, 232];
        let deflates = deflates.map(|at| (at, if at == 75 { 0 } else { 18 }));
        let puffs = [0, 7, 15, 24, 31, 32, 39, 48, 55, 64, 72, 80, 88];
        let puffs = puffs.map(|at| (at, if at == 31 { 0 } else { 7 }));
        let layout = Layout::check(&info(&deflates, &puffs, 96), 32).unwrap();
        assert_eq!(layout.info(), info(&deflates, &puffs, 96));
        assert_eq!(layout.place(31), Place::Bits { bits: extent(75, 3) });
        assert_eq!(layout.place(46), Place::Bits { bits: extent(114, 6) });
        assert_eq!(layout.place(47), Place::Bits { bits: extent(120, 2) });
        assert_eq!(layout.place(87), Place::Bytes { from: 28, length: 1 });
        let puff = |index, offset, before| Place::Puff {
            index,
            bits: extent(offset, 18),
            before,
            length: 7,
        };
        assert_eq!(layout.place(13), puff(1, 18, 6));
        assert_eq!(layout.place(32), puff(5, 78, 0));
    }

    #[test]
    fn impossible_extents_are_refused() {
        let refused = |deflates: &[(u64, u64)], puffs: &[(u64, u64)], length| {
            Layout::check(&info(deflates, puffs, length), 100).err().unwrap()
        };
        let count = LayoutError::Count {
            deflates: 1,
            puffs: 0,
        };
        assert_eq!(refused(&[(0, 8)], &[], 0), count);
        // Beyond the end; overflowing; unsorted; overlapping.
        assert_eq!(refused(&[(795, 6)], &[(100, 5)], 105), LayoutError::Deflate(0));
        assert_eq!(
            refused(&[(u64::MAX, 2)], &[(100, 5)], 105),
            LayoutError::Deflate(0)
        );
        assert_eq!(
            refused(&[(80, 9), (0, 9)], &[(10, 5), (0, 5)], 0),
            LayoutError::Deflate(1)
        );
        assert_eq!(
            refused(&[(0, 9), (8, 9)], &[(0, 5), (5, 5)], 0),
            LayoutError::Deflate(1)
        );
        for puffs in [(1, 5), (0, 0), (u64::MAX / 8, 5)] {
            assert_eq!(refused(&[(0, 80)], &[puffs], 95), LayoutError::Puff(0));
        }
        let long = LONGEST_PUFF + 1;
        assert_eq!(
            refused(&[(0, 80)], &[(0, long)], 90 + long),
            LayoutError::TooLong(0)
        );
        let length = LayoutError::Length { says: 94, has: 95 };
        assert_eq!(refused(&[(0, 80)], &[(0, 5)], 94), length);
    }
}
