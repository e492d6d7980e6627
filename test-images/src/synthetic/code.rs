//! Machine code as a linker leaves it: when one function grows, everything behind it moves, and every call, address and
//! table entry that points there changes by a few bits.
//!
//! The instructions are AArch64's (Arm DDI 0487, section C4.1), drawn by how often compilers emit them; nobody runs them.

use super::history::revisions;
use super::random::{Seed, Stream};
use super::words::word;

/// Bytes that a page and a block have.
const PAGE: usize = 4096;
/// What one function costs on average in all sections.
const BYTES_PER_FUNCTION: usize = 285;
/// Functions of which a rebuild changes one.
const RARITY: usize = 80;
/// Bytes of an Elf64_Sym.
const SYMBOL: usize = 24;

/// A shared library of about this many bytes, whole pages.
pub fn library(seed: &Seed, size: usize, changes: &[u32]) -> Vec<u8> {
    let program = Program::link(seed, size, changes);
    let mut bytes = program.sections();
    elf_header(&mut bytes, &program);
    // The note that tells two builds apart changes with every one of them.
    seed.child("build id", 0)
        .stream(changes.last().copied().unwrap_or(0).into())
        .fill(&mut bytes[512..532]);
    bytes
}

/// A raw kernel of about this many bytes, whole pages. Header: Linux, `Documentation/arch/arm64/booting.rst`, section 4.
pub fn kernel(seed: &Seed, size: usize, changes: &[u32]) -> Vec<u8> {
    let mut bytes = Program::link(seed, size, changes).sections();
    let image_size = (bytes.len() as u64).to_le_bytes();
    bytes[..4].copy_from_slice(b"MZ\0\x91");
    bytes[16..24].copy_from_slice(&image_size);
    bytes[56..60].copy_from_slice(b"ARM\x64");
    let banner = format!("Linux version 6.1.{} (millet@build)", changes.len());
    bytes[512..512 + banner.len()].copy_from_slice(banner.as_bytes());
    bytes
}

/// Sections of one program; an address is an offset into the file.
struct Program {
    strings: Vec<u8>,
    string_offsets: Vec<usize>,
    lengths: Vec<usize>,
    text: Vec<u8>,
    text_at: usize,
}

impl Program {
    fn link(seed: &Seed, size: usize, changes: &[u32]) -> Self {
        let functions = size.saturating_sub(3 * PAGE) / BYTES_PER_FUNCTION + 1;
        let revisions = revisions(seed, functions, RARITY, changes);
        let mut streams: Vec<Stream> = revisions
            .iter()
            .enumerate()
            .map(|(function, revision)| seed.stream((function as u64) << 32 | u64::from(*revision)))
            .collect();

        let mut strings = Vec::new();
        let mut string_offsets = Vec::with_capacity(functions);
        let mut lengths = Vec::with_capacity(functions);
        for stream in &mut streams {
            string_offsets.push(strings.len());
            let text = format!("{}_{}: {} %d\0", word(stream), word(stream), word(stream));
            strings.extend_from_slice(text.as_bytes());
            lengths.push(FRAME + 8 + stream.low(24) * stream.below(24) / 2);
        }
        let mut program = Self {
            text_at: (PAGE + strings.len() + functions * SYMBOL).next_multiple_of(PAGE),
            strings,
            string_offsets,
            lengths,
            text: Vec::new(),
        };
        program.text = program.assemble(&mut streams);
        program
    }

    fn assemble(&self, streams: &mut [Stream]) -> Vec<u8> {
        let starts = self.starts();
        let mut text = Vec::with_capacity(self.lengths.iter().sum::<usize>() * 4);
        for (function, stream) in streams.iter_mut().enumerate() {
            let mut assembler = Assembler {
                program: self,
                starts: &starts,
                function,
                at: starts[function],
                text: &mut text,
            };
            assembler.function(stream, self.lengths[function]);
        }
        text
    }

    /// The address of each function.
    fn starts(&self) -> Vec<usize> {
        let mut at = self.text_at;
        let next = |length: &usize| {
            let start = at;
            at += length * 4;
            start
        };
        self.lengths.iter().map(next).collect()
    }

    /// A page for the header, strings, symbols, text, and pointers to functions.
    fn sections(&self) -> Vec<u8> {
        let mut bytes = vec![0; PAGE];
        bytes.extend_from_slice(&self.strings);
        let starts = self.starts();
        for (function, start) in starts.iter().enumerate() {
            bytes.extend_from_slice(&(self.string_offsets[function] as u32).to_le_bytes());
            // A global function in section 12.
            bytes.extend_from_slice(&[0x12, 0, 12, 0]);
            bytes.extend_from_slice(&(*start as u64).to_le_bytes());
            bytes.extend_from_slice(&(self.lengths[function] as u64 * 4).to_le_bytes());
        }
        bytes.resize(self.text_at, 0);
        bytes.extend_from_slice(&self.text);
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        for start in &starts {
            bytes.extend_from_slice(&(*start as u64).to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        bytes
    }
}

/// Instructions of a function's entry and exit.
const FRAME: usize = 5;

struct Assembler<'a> {
    program: &'a Program,
    starts: &'a [usize],
    function: usize,
    at: usize,
    text: &'a mut Vec<u8>,
}

impl Assembler<'_> {
    fn emit(&mut self, instruction: u32) {
        self.text.extend_from_slice(&instruction.to_le_bytes());
        self.at += 4;
    }

    fn function(&mut self, stream: &mut Stream, length: usize) {
        let frame = 2 + stream.low(14) as u32;
        self.emit(0xa980_7bfd | (128 - 2 * frame) << 15);
        self.emit(0x9100_03fd);
        let mut left = length - FRAME;
        while left > 0 {
            left -= self.step(stream, left);
        }
        self.emit(0x9100_03bf);
        self.emit(0xa8c0_7bfd | (2 * frame) << 15);
        self.emit(0xd65f_03c0);
    }

    /// One or two instructions; says how many.
    fn step(&mut self, stream: &mut Stream, left: usize) -> usize {
        let (d, n) = (stream.low(29) as u32, stream.low(29) as u32);
        let small = stream.low(64) as u32;
        match stream.below(100) {
            0..20 => self.emit(0xf940_0000 | small << 10 | n << 5 | d),
            20..32 => self.emit(0xf900_0000 | small << 10 | n << 5 | d),
            32..48 => self.emit(0xaa00_03e0 | n << 16 | d),
            48..58 => self.emit(0x9100_0000 | small << 10 | n << 5 | d),
            58..66 => self.emit(0xf100_001f | small << 10 | n << 5),
            66..74 => self.emit(0x5400_0000 | (1 + small) << 5 | stream.low(14) as u32),
            74..78 => self.emit(0xb400_0000 | (1 + small) << 5 | d),
            78..82 => self.emit(0xd280_0000 | (stream.low(1 << 16) as u32) << 5 | d),
            82..94 => {
                let callee = self.callee(stream);
                let distance = (self.starts[callee] as i64 - self.at as i64) / 4;
                self.emit(0x9400_0000 | (distance as u32 & 0x03ff_ffff));
            }
            _ if left < 2 => self.emit(0xd503_201f),
            _ => {
                let string = stream.below(self.program.string_offsets.len());
                let target = PAGE + self.program.string_offsets[string];
                let pages = (target / PAGE) as i64 - (self.at / PAGE) as i64;
                let pages = pages as u32;
                self.emit(0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5 | d);
                self.emit(0x9100_0000 | ((target % PAGE) as u32) << 10 | d << 5 | d);
                return 2;
            }
        }
        1
    }

    /// Half of the calls go to what everyone calls, half to a neighbour.
    fn callee(&self, stream: &mut Stream) -> usize {
        let last = self.starts.len() - 1;
        match stream.chance(500) {
            true => stream.low(64).min(last),
            false => (self.function + stream.below(64)).saturating_sub(32).min(last),
        }
    }
}

/// An ELF64 header for a shared object with one segment. Layout: System V gABI, chapter 4.
fn elf_header(bytes: &mut [u8], program: &Program) {
    let length = bytes.len() as u64;
    let mut header = Vec::with_capacity(120);
    header.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_DYN, EM_AARCH64, version 1.
    header.extend_from_slice(&[3, 0, 183, 0, 1, 0, 0, 0]);
    for word in [program.text_at as u64, 64, 0] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    // Flags, header size, one program header of 56 bytes, no section headers.
    header.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and executable.
    header.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, 0, 0, length, length, PAGE as u64] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    bytes[..header.len()].copy_from_slice(&header);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_an_elf_of_about_its_size() {
        for size in [20_000, 300_000, 2_000_000] {
            let bytes = library(&Seed::new(9), size, &[]);
            assert_eq!(bytes.len() % PAGE, 0);
            let (least, most) = (size * 8 / 10, size * 12 / 10 + 2 * PAGE);
            assert!((least..most).contains(&bytes.len()), "{} for {size}", bytes.len());
            assert!(bytes.starts_with(b"\x7fELF"));
        }
    }

    #[test]
    fn a_rebuild_changes_little_in_many_places() {
        let seed = Seed::new(9);
        let (before, after) = (library(&seed, 1_000_000, &[]), library(&seed, 1_000_000, &[2]));
        let words = |bytes: &[u8]| -> std::collections::BTreeSet<Vec<u8>> {
            bytes.chunks(4).map(<[u8]>::to_vec).collect()
        };
        // Most 4 KiB blocks differ, most instructions do not.
        let blocks = before.chunks(PAGE).zip(after.chunks(PAGE));
        let changed = blocks.filter(|(one, other)| one != other).count();
        assert!(
            changed * 2 > before.len() / PAGE,
            "{changed} of {} blocks",
            before.len() / PAGE
        );
        let (before, after) = (words(&before), words(&after));
        let gone = before.difference(&after).count();
        assert!(gone * 2 < before.len(), "{gone} of {} words", before.len());
    }

    #[test]
    fn a_kernel_has_its_magic_number() {
        let bytes = kernel(&Seed::new(9), 100_000, &[2, 3]);
        assert_eq!(&bytes[56..60], b"ARM\x64");
        assert_eq!(bytes.len() % PAGE, 0);
    }
}
