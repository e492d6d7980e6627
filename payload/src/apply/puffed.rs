//! Old and new bytes as PUFFDIFF patches them: with puffs in the places of deflate.

use super::patch::{NewBytes, OldBytes};
use super::{DecodeError, Fault};
use crate::puff::{BitExtent, BitWriter, DeflateError, Huffer, Layout, Place, PuffError, Puffer};
use crate::storage::step;

/// Puffs of old deflate that are kept, in bytes. A patch goes back and forth among the blocks of its source: with half of
/// this the blocks of twelve wheels were puffed five times each. Twice this saves a tenth of the time.
const KEPT: usize = 2 << 20;

/// How often the bytes of an operation may be puffed, on average: ours jumped back for five times of them at most, and
/// other makers' are cut larger. Without a bound each byte of a patch could ask for a puff of a megabyte.
const MOST_PUFFED: u64 = 64;

/// Old bytes with deflate puffed, on demand.
pub(super) struct PuffedReader<'a> {
    old: &'a mut dyn OldBytes,
    layout: Layout,
    puffer: Puffer,
    /// Numbers of extents and their puffs, the one used last at the end.
    kept: Vec<(usize, Vec<u8>)>,
    deflate: Vec<u8>,
    /// Bytes that may still be puffed.
    left: u64,
    /// The byte made of raw bits that was asked for last.
    odd: [u8; 1],
}

impl<'a> PuffedReader<'a> {
    /// `layout` was checked against the size of `old`; `made` are the puffed bytes that the operation makes.
    pub(super) fn new(old: &'a mut dyn OldBytes, layout: Layout, made: u64) -> Self {
        let bytes = old
            .size()
            .saturating_add(layout.puffed_size())
            .saturating_add(made);
        Self {
            left: bytes.saturating_mul(MOST_PUFFED),
            old,
            layout,
            puffer: Puffer::new(),
            kept: Vec::new(),
            deflate: Vec::new(),
            odd: [0],
        }
    }

    fn puff(&mut self, index: usize, bits: BitExtent, length: u64) -> Result<&[u8], Fault> {
        if let Some(place) = self.kept.iter().position(|(kept, _)| *kept == index) {
            let kept = self.kept.remove(place);
            self.kept.push(kept);
        } else {
            let puff = self.make_puff(bits, length)?;
            let mut total: usize = puff.len() + self.kept.iter().map(|(_, puff)| puff.len()).sum::<usize>();
            while total > KEPT && !self.kept.is_empty() {
                total -= self.kept.remove(0).1.len();
            }
            self.kept.push((index, puff));
        }
        Ok(self.kept.last().map_or(&[], |(_, puff)| puff))
    }

    fn make_puff(&mut self, bits: BitExtent, length: u64) -> Result<Vec<u8>, Fault> {
        let costs = length.max(bits.length / 8);
        let left = self.left.checked_sub(costs);
        self.left = left.ok_or(Fault::Decode(DecodeError::Puff(PuffError::TooOften)))?;
        let mut at = bits.offset / 8;
        let end = (bits.offset + bits.length).div_ceil(8);
        self.deflate.clear();
        while at < end {
            let bytes = self.old.at(at, step(end - at, usize::MAX))?;
            self.deflate.extend_from_slice(bytes);
            at += bytes.len() as u64;
        }
        let start = (bits.offset % 8) as u32;
        let puff = self
            .puffer
            .puff(&self.deflate, start, bits.length, length)
            .and_then(|puff| {
                let fits = puff.len() as u64 == length;
                fits.then_some(puff).ok_or(DeflateError::Length)
            });
        puff.map_err(|error| Fault::Decode(DecodeError::Puff(PuffError::Puff(error))))
    }
}

impl OldBytes for PuffedReader<'_> {
    fn size(&self) -> u64 {
        self.layout.puffed_size()
    }

    fn at(&mut self, position: u64, longest: usize) -> Result<&[u8], Fault> {
        match self.layout.place(position) {
            Place::Bytes { from, length } => self.old.at(from, step(length, longest)),
            Place::Bits { bits } => {
                let byte = self.old.at(bits.offset / 8, 1)?.first().copied().unwrap_or(0);
                self.odd = [(byte >> (bits.offset % 8)) & ((1 << bits.length) - 1)];
                Ok(&self.odd)
            }
            Place::Puff {
                index,
                bits,
                before,
                length,
            } => {
                let puff = self.puff(index, bits, length)?;
                let rest = puff.get(before as usize..).unwrap_or(&[]);
                Ok(&rest[..rest.len().min(longest)])
            }
        }
    }
}

/// New bytes that arrive puffed.
pub(super) struct PuffedWriter<'a> {
    new: &'a mut dyn NewBytes,
    layout: Layout,
    position: u64,
    huffer: Huffer,
    /// The beginning of a puff whose end has not come.
    puff: Vec<u8>,
    bits: BitWriter,
}

impl<'a> PuffedWriter<'a> {
    /// `layout` was checked against what fits into `new`.
    pub(super) fn new(new: &'a mut dyn NewBytes, layout: Layout) -> Self {
        Self {
            new,
            layout,
            position: 0,
            huffer: Huffer::new(),
            puff: Vec::new(),
            bits: BitWriter::default(),
        }
    }

    fn huff(&mut self, bits: BitExtent) -> Result<(), DeflateError> {
        let before = self.bits.position();
        self.huffer.huff(&self.puff, &mut self.bits)?;
        self.puff.clear();
        if self.bits.position() - before != bits.length {
            return Err(DeflateError::Length);
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Fault> {
        self.new.write(self.bits.whole_bytes())?;
        self.bits.clear();
        Ok(())
    }
}

impl NewBytes for PuffedWriter<'_> {
    fn left(&self) -> u64 {
        self.layout.puffed_size() - self.position
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        let refuse = |error| Fault::Decode(DecodeError::Puff(PuffError::Huff(error)));
        while let Some(first) = data.first() {
            let taken = match self.layout.place(self.position) {
                Place::Bytes { length, .. } => {
                    // Raw bytes begin at a whole byte: no bit is waiting.
                    let now = &data[..step(length, data.len())];
                    self.new.write(now)?;
                    now.len()
                }
                Place::Bits { bits } => {
                    if first >> bits.length != 0 {
                        return Err(refuse(DeflateError::Gap));
                    }
                    self.bits.put(u32::from(*first), bits.length as u32);
                    self.drain()?;
                    1
                }
                Place::Puff {
                    bits, before, length, ..
                } => {
                    let now = &data[..step(length - before, data.len())];
                    self.puff.extend_from_slice(now);
                    if self.puff.len() as u64 == length {
                        self.huff(bits).map_err(refuse)?;
                        self.drain()?;
                    }
                    now.len()
                }
            };
            self.position += taken as u64;
            data = &data[taken..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::patch::in_memory::{Memory, puffpatched};
    use super::*;
    use crate::puff::samples::{content, zlib};
    use crate::puff::{BitReader, TokenWriter};

    /// Two streams and their puffed forms: AOSP external/puffin, src/unittest_common.cc, samples 1 and 2.
    const ONE: [u8; 17] = [
        0x11, 0x22, 0x63, 0x64, 0x62, 0x66, 0x61, 5, 0, 0x33, 3, 0, 0x63, 4, 0, 0x44, 0x55,
    ];
    const TWO: [u8; 22] = [
        0x63, 0x64, 0x62, 0x66, 0x61, 5, 0, 0x33, 0x66, 1, 5, 0, 0xfa, 0xff, 1, 2, 3, 4, 5, 0x63, 4, 0,
    ];

    /// Deflate with gaps of every kind inside a byte: src/puffin_unittest.cc, `kGapDeflates` and `kGapPuffs`.
    const GAPS: [u8; 32] = [
        0x62, 4, 0x88, 0x11, 0x50, 0x8c, 0x80, 0xc5, 8, 0xb8, 0x18, 1, 0x62, 4, 0xfc, 0x8b, 0x11, 0x20, 0x46,
        0xc0, 0xbf, 0x18, 1, 0x8b, 0x11, 0xb0, 0x18, 1, 0xff, 0x62, 4, 0xfc,
    ];
    const GAP_OFFSETS: [u64; 12] = [0, 18, 37, 57, 78, 96, 122, 140, 166, 186, 206, 232];
    const RAW_AFTER: [&[u8]; 12] = [
        &[],
        &[1],
        &[1, 1],
        &[7],
        &[],
        &[0x3f, 3],
        &[],
        &[3, 0x3f],
        &[3],
        &[3],
        &[0xff],
        &[0x3f],
    ];

    fn gaps() -> (Layout, Vec<u8>) {
        let extents = GAP_OFFSETS.map(|offset| (BitExtent { offset, length: 18 }, 7));
        let puffed = RAW_AFTER.map(|raw| [&[0, 0, 0x20, 0, 1, 0xff, 0x81], raw].concat());
        (Layout::new(&extents, 32), puffed.concat())
    }

    #[test]
    fn bits_between_extents_are_bytes_of_their_own() {
        for longest in [1, 3, 100] {
            let (layout, puffed) = gaps();
            assert_eq!(layout.puffed_size(), puffed.len() as u64);
            let mut old = Memory::old(&GAPS);
            let mut reader = PuffedReader::new(&mut old, layout, 0);
            let mut read = Vec::new();
            while (read.len() as u64) < reader.size() {
                let piece = reader.at(read.len() as u64, longest).ok().unwrap();
                assert!(!piece.is_empty() && piece.len() <= longest);
                read.extend_from_slice(piece);
            }
            assert_eq!(read, puffed);

            let mut new = Memory::new(GAPS.len());
            let mut writer = PuffedWriter::new(&mut new, gaps().0);
            for piece in puffed.chunks(longest) {
                writer.write(piece).ok().unwrap();
            }
            assert_eq!(writer.left(), 0);
            assert_eq!(new.bytes, GAPS);
        }
    }

    #[test]
    fn raw_bits_that_do_not_fit_and_other_lengths_are_refused() {
        let (layout, mut puffed) = gaps();
        puffed[14] = 2;
        let mut new = Memory::new(GAPS.len());
        let written = PuffedWriter::new(&mut new, layout).write(&puffed);
        let gap = PuffError::Huff(DeflateError::Gap);
        assert_eq!(
            format!("{:?}", written.err().unwrap()),
            format!("{:?}", Fault::Decode(DecodeError::Puff(gap)))
        );

        let wrong = |offset, length, puff| {
            let layout = Layout::new(&[(BitExtent { offset, length }, puff)], 32);
            let mut old = Memory::old(&GAPS);
            let mut reader = PuffedReader::new(&mut old, layout, 0);
            let at = offset.div_ceil(8);
            format!("{:?}", reader.at(at, 1).err().unwrap())
        };
        assert!(wrong(0, 18, 8).contains("Length"), "{}", wrong(0, 18, 8));
        assert!(wrong(0, 18, 6).contains("TooLong"));
        assert!(wrong(0, 17, 7).contains("Length"));
    }

    #[test]
    fn puffs_are_kept_up_to_a_limit() {
        let stream = zlib(&content(1, 300_000), 1, Default::default(), 9);
        let mut search = BitReader::new(&stream, 0);
        let mut extents = Vec::new();
        let mut last = false;
        while !last {
            let offset = search.position();
            let mut tokens = TokenWriter::new(usize::MAX);
            last = Puffer::new().block(&mut search, &mut tokens).unwrap().last;
            let length = search.position() - offset;
            extents.push((BitExtent { offset, length }, tokens.len() as u64));
        }
        // The same again and again, at whole bytes.
        let copies = 120;
        let shift = |n: usize| (n * stream.len() * 8) as u64;
        let all: Vec<_> = (0..copies)
            .flat_map(|n| extents.iter().map(move |(bits, puff)| (*bits, *puff, n)))
            .map(|(bits, puff, n)| {
                let offset = bits.offset + shift(n);
                (BitExtent { offset, ..bits }, puff)
            })
            .collect();
        let mut old = Memory::old(&stream.repeat(copies));
        let layout = Layout::new(&all, (stream.len() * copies) as u64);
        let puffs: u64 = all.iter().map(|(_, puff)| puff).sum();
        assert!(puffs > 2 * KEPT as u64, "{puffs}");
        let mut reader = PuffedReader::new(&mut old, layout, 0);
        let mut at = 0;
        while at < reader.size() {
            at += reader.at(at, usize::MAX).ok().unwrap().len() as u64;
            let kept: usize = reader.kept.iter().map(|(_, puff)| puff.len()).sum();
            assert!(kept <= KEPT);
        }
        assert!(reader.kept.len() > 1);

        // Each round makes every puff again, since none of them is kept so long.
        reader.left = puffs * 3;
        let mut round = || {
            let starts = all.iter().scan(0, |at, (_, puff)| {
                *at += puff;
                Some(*at - 1)
            });
            starts.clone().try_for_each(|at| reader.at(at, 1).map(drop))
        };
        assert!(round().is_ok());
        let error = (0..5).find_map(|_| round().err()).unwrap();
        assert!(
            matches!(error, Fault::Decode(DecodeError::Puff(PuffError::TooOften))),
            "{error:?}"
        );
    }

    #[test]
    fn puffin_s_own_patches_apply() {
        let there = include_bytes!("../../tests/data/puffin/1-to-2.puffdiff");
        let back = include_bytes!("../../tests/data/puffin/2-to-1.puffdiff");
        assert_eq!(puffpatched(&ONE, there, TWO.len()).unwrap(), TWO);
        assert_eq!(puffpatched(&TWO, back, ONE.len()).unwrap(), ONE);
        // Another source, another destination.
        for size in [TWO.len() - 1, TWO.len() + 1] {
            assert!(puffpatched(&ONE, there, size).is_err());
        }
        assert!(puffpatched(&TWO, there, TWO.len()).is_err());
    }
}
