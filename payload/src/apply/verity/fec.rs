//! Forward error correction of dm-verity: Reed-Solomon over GF(2^8) as in Phil Karn's libfec, with the parameters of
//! the kernel's `drivers/md/dm-verity-fec.c` and AOSP's `FEC_PARAMS`: polynomial 0x11d, first root 0, primitive 1.

use millet_protocol::BLOCK_SIZE;

use super::{End, Stops, go_on};
use crate::format::Fec;
use crate::format::verity::CODEWORD;
use crate::storage::{Target, step};

/// Codewords that are encoded side by side, a multiple of the block size: neighbours take neighbouring bytes, so this
/// is what one read takes.
const WIDTH: usize = 64 << 10;

/// Rows of [`WIDTH`] that are read before they are encoded.
const ROWS: usize = 8;

/// Codewords whose registers stay in a core's first cache while all rows are encoded.
const TILE: usize = 1 << 10;

pub(super) fn write(fec: &Fec, target: &mut dyn Target, stops: Stops) -> Result<(), End> {
    // A register has room for the roots in whole words.
    match fec.roots {
        ..=8 => write_words::<1>(fec, target, stops),
        9..=16 => write_words::<2>(fec, target, stops),
        17.. => write_words::<3>(fec, target, stops),
    }
}

fn write_words<const WORDS: usize>(fec: &Fec, target: &mut dyn Target, stops: Stops) -> Result<(), End> {
    let encoder = Encoder::<WORDS>::new(fec.roots);
    let (codewords, length) = (fec.codewords(), CODEWORD - u64::from(fec.roots));
    let (data, size) = (fec.data.start * BLOCK_SIZE, fec.data.blocks * BLOCK_SIZE);
    // Wider registers, fewer of them: the memory is the same.
    let width = WIDTH / WORDS.next_power_of_two();
    let mut rows = vec![0; ROWS * width];
    let mut registers = Vec::with_capacity(width);
    let mut parity = Vec::with_capacity(width * usize::from(fec.roots));
    let mut first = 0;
    while first < codewords {
        let width = step(codewords - first, width);
        registers.clear();
        registers.resize(width, [0; WORDS]);
        let mut row = 0;
        while row < length {
            go_on(stops)?;
            let group = &mut rows[..width * step(length - row, ROWS)];
            for bytes in group.chunks_mut(width) {
                let offset = first + row * codewords;
                let (real, behind) = bytes.split_at_mut(step(size.saturating_sub(offset), width));
                if !real.is_empty() {
                    target.read_exact_at(real, data + offset)?;
                }
                behind.fill(0);
                row += 1;
            }
            encoder.feed(&mut registers, group, width);
        }
        parity.clear();
        for register in &registers {
            let bytes = register.iter().flat_map(|word| word.to_le_bytes());
            parity.extend(bytes.take(fec.roots.into()));
        }
        target.write_all_at(
            &parity,
            fec.parity.start * BLOCK_SIZE + first * u64::from(fec.roots),
        )?;
        first += width as u64;
    }
    Ok(())
}

/// A systematic encoder. A register holds a codeword's parity so far, the coefficient of the highest power in its
/// lowest byte, as the parity is stored.
struct Encoder<const WORDS: usize> {
    /// For each byte fed back: the generator polynomial without its leading one, times that byte.
    products: Box<[[u64; WORDS]; 256]>,
}

impl<const WORDS: usize> Encoder<WORDS> {
    fn new(roots: u8) -> Self {
        let generator = generator(roots);
        let mut products = Box::new([[0; WORDS]; 256]);
        for (byte, product) in (0..=u8::MAX).zip(products.iter_mut()) {
            for (index, coefficient) in generator.iter().enumerate() {
                product[index / 8] |= u64::from(multiply(byte, *coefficient)) << (index % 8 * 8);
            }
        }
        Self { products }
    }

    /// Feeds each register the next bytes of its codeword, one from each row of `width`.
    fn feed(&self, registers: &mut [[u64; WORDS]], rows: &[u8], width: usize) {
        for (tile, registers) in registers.chunks_mut(TILE).enumerate() {
            for row in rows.chunks(width) {
                for (register, byte) in registers.iter_mut().zip(&row[tile * TILE..]) {
                    let product = &self.products[usize::from(register[0].to_le_bytes()[0] ^ byte)];
                    for word in 0..WORDS {
                        let next = register.get(word + 1).map_or(0, |next| next << 56);
                        register[word] = (register[word] >> 8 | next) ^ product[word];
                    }
                }
            }
        }
    }
}

/// (x + 1)(x + a)…(x + a^(roots-1)) without its leading one, from the highest power down; a is the field's element 2.
fn generator(roots: u8) -> Vec<u8> {
    let mut coefficients = vec![1];
    let mut root = 1;
    for _ in 0..roots {
        coefficients.push(0);
        for index in (1..coefficients.len()).rev() {
            coefficients[index] ^= multiply(coefficients[index - 1], root);
        }
        root = multiply(root, 2);
    }
    coefficients.split_off(1)
}

/// The product of two elements of GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
fn multiply(mut one: u8, mut other: u8) -> u8 {
    let mut product = 0;
    while other > 0 {
        if other & 1 == 1 {
            product ^= one;
        }
        one = one << 1 ^ if one & 0x80 == 0 { 0 } else { 0x1d };
        other >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codeword_vanishes_at_the_roots() {
        for roots in [2_u8, 3, 8, 9, 16, 17, 24] {
            let mut codeword: Vec<u8> = (0..255 - u32::from(roots))
                .map(|at| ((at * at * 31) >> 3) as u8)
                .collect();
            let parity = match roots {
                ..=8 => parity::<1>(roots, &codeword),
                9..=16 => parity::<2>(roots, &codeword),
                _ => parity::<3>(roots, &codeword),
            };
            codeword.extend(parity);
            assert_eq!(codeword.len(), 255);
            let mut root = 1;
            for _ in 0..roots {
                let value = codeword
                    .iter()
                    .fold(0, |value, byte| multiply(value, root) ^ byte);
                assert_eq!(value, 0, "{roots} roots");
                root = multiply(root, 2);
            }
            assert_ne!(
                codeword
                    .iter()
                    .fold(0, |value, byte| multiply(value, root) ^ byte),
                0
            );
        }
    }

    fn parity<const WORDS: usize>(roots: u8, data: &[u8]) -> Vec<u8> {
        let mut registers = [[0; WORDS]];
        Encoder::<WORDS>::new(roots).feed(&mut registers, data, 1);
        let bytes = registers[0].iter().flat_map(|word| word.to_le_bytes());
        bytes.take(roots.into()).collect()
    }
}
