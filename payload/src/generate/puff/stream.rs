//! Puffed streams in memory.

use std::collections::BTreeSet;

use super::locate::Deflate;
use crate::generate::GenerateError;
use crate::puff::{BitExtent, BitWriter, DeflateError, Huffer, Layout, Place, Puffer};

/// Bytes with deflate puffed, and where.
pub(super) struct PuffedStream {
    pub(super) bytes: Vec<u8>,
    pub(super) layout: Layout,
}

/// Puffs the extents of a stream.
pub(super) fn puffed(stream: &[u8], deflates: &[Deflate]) -> Result<PuffedStream, GenerateError> {
    let extents: Vec<_> = deflates
        .iter()
        .map(|deflate| (deflate.bits, deflate.puff))
        .collect();
    let layout = Layout::new(&extents, stream.len() as u64);
    let size = layout.puffed_size() as usize;
    let mut bytes = Vec::with_capacity(size);
    let mut puffer = Puffer::new();
    while bytes.len() < size {
        match layout.place(bytes.len() as u64) {
            Place::Bytes { from, length } => {
                bytes.extend_from_slice(&stream[from as usize..(from + length) as usize]);
            }
            Place::Bits { bits } => {
                let byte = stream[(bits.offset / 8) as usize];
                bytes.push((byte >> (bits.offset % 8)) & ((1 << bits.length) - 1));
            }
            Place::Puff { bits, length, .. } => {
                let puff = puff(&mut puffer, stream, bits, length);
                bytes.extend(puff.map_err(GenerateError::Puff)?);
            }
        }
    }
    Ok(PuffedStream { bytes, layout })
}

/// Leaves those that a puff brings back bit by bit. An encoder may spell a length of 258 in a second way, or fill up
/// bytes with ones.
pub(super) fn keep_exact(stream: &[u8], deflates: &mut Vec<Deflate>) {
    let (mut puffer, mut huffer) = (Puffer::new(), Huffer::new());
    deflates.retain(|deflate| {
        let again = |puff: Vec<u8>| {
            let mut bits = BitWriter::default();
            let start = (deflate.bits.offset % 8) as u32;
            let before = stream[(deflate.bits.offset / 8) as usize];
            bits.put(u32::from(before), start);
            huffer.huff(&puff, &mut bits)?;
            Ok(bits)
        };
        let bits = puff(&mut puffer, stream, deflate.bits, deflate.puff).and_then(again);
        bits.is_ok_and(|bits| is_at(bits, stream, deflate.bits))
    });
}

/// Takes away what both sides have: without puffs those bytes are found as well, and in fewer of them.
pub(super) fn drop_common(
    old: &[u8],
    old_deflates: &mut Vec<Deflate>,
    new: &[u8],
    new_deflates: &mut Vec<Deflate>,
) {
    let known: BTreeSet<_> = old_deflates.iter().map(|deflate| key(old, deflate)).collect();
    let common: BTreeSet<_> = new_deflates
        .iter()
        .map(|deflate| key(new, deflate))
        .filter(|key| known.contains(key))
        .collect();
    old_deflates.retain(|deflate| !common.contains(&key(old, deflate)));
    new_deflates.retain(|deflate| !common.contains(&key(new, deflate)));
}

/// What two extents must share to be found as bytes: place in a byte, length, and all whole bytes.
fn key<'a>(stream: &'a [u8], deflate: &Deflate) -> (u64, u64, &'a [u8]) {
    let BitExtent { offset, length } = deflate.bits;
    let (first, end) = (offset.div_ceil(8) as usize, ((offset + length) / 8) as usize);
    (length, offset % 8, stream.get(first..end).unwrap_or(&[]))
}

fn puff(puffer: &mut Puffer, stream: &[u8], bits: BitExtent, length: u64) -> Result<Vec<u8>, DeflateError> {
    let (first, end) = (bits.offset / 8, (bits.offset + bits.length).div_ceil(8));
    let bytes = &stream[first as usize..end as usize];
    let puff = puffer.puff(bytes, (bits.offset % 8) as u32, bits.length, length)?;
    if puff.len() as u64 != length {
        return Err(DeflateError::Length);
    }
    Ok(puff)
}

/// Whether the bits written are those of an extent, from the beginning of its first byte on.
fn is_at(mut written: BitWriter, stream: &[u8], bits: BitExtent) -> bool {
    let (first, end) = (bits.offset / 8, bits.offset + bits.length);
    if written.position() != end - first * 8 {
        return false;
    }
    let rest = (end % 8) as u32;
    if rest != 0 {
        let behind = stream[(end / 8) as usize] >> rest;
        written.put(u32::from(behind), 8 - rest);
    }
    written.whole_bytes() == &stream[first as usize..end.div_ceil(8) as usize]
}
