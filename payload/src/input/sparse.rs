//! Android sparse images, version 1, as AOSP's libsparse (sparse_format.h) defines them.

use std::io;

use crate::format::LARGEST_PARTITION;
use crate::storage::{ReadAt, step};

/// The first bytes of a sparse image: 0xed26ff3a, little-endian.
pub(super) const MAGIC: [u8; 4] = 0xED26_FF3A_u32.to_le_bytes();

/// A sparse image, read as what it unpacks to without unpacking it.
///
/// What it does not care about reads as zeros, as `simg2img` makes it. Its checksums are not looked at: whoever makes
/// a payload hashes what it reads.
pub struct SparseImage<R> {
    file: R,
    size: u64,
    /// In the order of their places, without gaps from 0 on.
    chunks: Vec<Chunk>,
}

/// Why a sparse image is refused.
#[derive(Debug, thiserror::Error)]
pub enum SparseError {
    /// The system's doing.
    #[error("its bytes could not be read")]
    Io(#[from] io::Error),
    /// Another magic.
    #[error("it does not begin with the magic of a sparse image")]
    Magic,
    /// Another major version.
    #[error("its version is {major}.{minor}, not 1")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// Headers shorter than version 1 has them.
    #[error("its headers have {file} and {chunk} bytes, fewer than 28 and 12")]
    Headers {
        /// Bytes of the header.
        file: u16,
        /// Bytes of a chunk's header.
        chunk: u16,
    },
    /// An impossible block size.
    #[error("its blocks of {0} bytes are not a multiple of 4")]
    BlockSize(u32),
    /// More chunks than its file holds, or than are read.
    #[error("it is said to have {says} chunks, and at most {most} are possible")]
    Chunks {
        /// What the header says.
        says: u32,
        /// What is possible.
        most: u64,
    },
    /// It unpacks to more than a partition.
    #[error("it unpacks to {0} bytes, and a partition has 1 TiB at most")]
    Size(u64),
    /// A chunk of a kind that version 1 does not have.
    #[error("chunk {index} has the unknown type {kind:#06x}")]
    ChunkKind {
        /// Counted from 0.
        index: u32,
        /// Its type.
        kind: u16,
    },
    /// A chunk with more or less data than its type and blocks need.
    #[error("chunk {index} has {has} bytes and needs {needs}")]
    ChunkSize {
        /// Counted from 0.
        index: u32,
        /// What it says, with its header.
        has: u64,
        /// What it needs.
        needs: u64,
    },
    /// A chunk that the file ends within.
    #[error("the file ends within chunk {0}")]
    CutOff(u32),
    /// The chunks make another image than the header says.
    #[error("its chunks make {chunks} blocks and its header says {header}")]
    Total {
        /// Blocks of all chunks.
        chunks: u64,
        /// Blocks of the header.
        header: u32,
    },
}

struct Chunk {
    /// The byte of the image at which it begins.
    start: u64,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// At this byte of the file.
    At(u64),
    /// These four bytes, again and again.
    Fill([u8; 4]),
}

const FILE_HEADER: u16 = 28;
const CHUNK_HEADER: u16 = 12;

/// The most chunks that are read: 128 MiB of memory; libsparse makes one for each run of data, fill or nothing.
const MOST_CHUNKS: u64 = 1 << 22;

const RAW: u16 = 0xCAC1;
const FILL: u16 = 0xCAC2;
const DONT_CARE: u16 = 0xCAC3;
const CRC32: u16 = 0xCAC4;

impl<R: ReadAt> SparseImage<R> {
    /// Reads the headers of all chunks.
    pub fn open(file: R) -> Result<Self, SparseError> {
        let file_size = file.size()?;
        let mut header = [0; FILE_HEADER as usize];
        if file_size < header.len() as u64 {
            return Err(SparseError::Magic);
        }
        file.read_exact_at(&mut header, 0)?;
        if !header.starts_with(&MAGIC) {
            return Err(SparseError::Magic);
        }
        let (major, minor) = (u16_at(&header, 4), u16_at(&header, 6));
        if major != 1 {
            return Err(SparseError::Version { major, minor });
        }
        let (file_header, chunk_header) = (u16_at(&header, 8), u16_at(&header, 10));
        if file_header < FILE_HEADER || chunk_header < CHUNK_HEADER {
            return Err(SparseError::Headers {
                file: file_header,
                chunk: chunk_header,
            });
        }
        let block_size = u32_at(&header, 12);
        if block_size == 0 || !block_size.is_multiple_of(4) {
            return Err(SparseError::BlockSize(block_size));
        }
        let blocks = u32_at(&header, 16);
        let size = u64::from(blocks) * u64::from(block_size);
        if size > LARGEST_PARTITION {
            return Err(SparseError::Size(size));
        }
        let says = u32_at(&header, 20);
        let most = (file_size / u64::from(chunk_header)).min(MOST_CHUNKS);
        if u64::from(says) > most {
            return Err(SparseError::Chunks { says, most });
        }
        let mut index = Index {
            file: &file,
            file_size,
            header: u64::from(chunk_header),
            block_size: u64::from(block_size),
            at: u64::from(file_header),
            chunks: Vec::with_capacity(says as usize),
            blocks: 0,
        };
        for chunk in 0..says {
            index.read(chunk)?;
        }
        if index.blocks != u64::from(blocks) {
            return Err(SparseError::Total {
                chunks: index.blocks,
                header: blocks,
            });
        }
        let chunks = index.chunks;
        Ok(Self { file, size, chunks })
    }
}

impl<R: ReadAt> ReadAt for SparseImage<R> {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut index = self
            .chunks
            .partition_point(|chunk| chunk.start <= offset)
            .saturating_sub(1);
        while !buffer.is_empty() {
            let Some(chunk) = self.chunks.get(index) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            index += 1;
            let end = self.chunks.get(index).map_or(self.size, |next| next.start);
            let (now, later) = buffer.split_at_mut(step(end - offset, buffer.len()));
            let inside = offset - chunk.start;
            match chunk.content {
                Content::At(start) => self.file.read_exact_at(now, start + inside)?,
                Content::Fill(pattern) if pattern == [pattern[0]; 4] => now.fill(pattern[0]),
                Content::Fill(pattern) => {
                    let phase = (inside % 4) as usize;
                    let bytes = pattern.iter().cycle().skip(phase);
                    now.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                }
            }
            offset += now.len() as u64;
            buffer = later;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// The list of chunks in the making.
struct Index<'a> {
    file: &'a dyn ReadAt,
    file_size: u64,
    header: u64,
    block_size: u64,
    /// The byte of the file at which the next chunk begins.
    at: u64,
    chunks: Vec<Chunk>,
    /// Blocks of all chunks so far; no more than 2^22 times 2^32.
    blocks: u64,
}

impl Index<'_> {
    fn read(&mut self, index: u32) -> Result<(), SparseError> {
        // No sum overflows: the file is shorter than 2^63 bytes and a chunk says its length in 32 bits.
        let data = self.at + self.header;
        if data > self.file_size {
            return Err(SparseError::CutOff(index));
        }
        let mut header = [0; CHUNK_HEADER as usize];
        self.file.read_exact_at(&mut header, self.at)?;
        let (kind, blocks) = (u16_at(&header, 0), u32_at(&header, 4));
        let has = u64::from(u32_at(&header, 8));
        let size = u64::from(blocks) * self.block_size;
        let data_size = match kind {
            RAW => size,
            FILL | CRC32 => 4,
            DONT_CARE => 0,
            kind => return Err(SparseError::ChunkKind { index, kind }),
        };
        let needs = self.header.saturating_add(data_size);
        if has != needs {
            return Err(SparseError::ChunkSize { index, has, needs });
        }
        self.at += has;
        if self.at > self.file_size {
            return Err(SparseError::CutOff(index));
        }
        let content = match kind {
            RAW => Content::At(data),
            FILL => {
                let mut pattern = [0; 4];
                self.file.read_exact_at(&mut pattern, data)?;
                Content::Fill(pattern)
            }
            DONT_CARE => Content::Fill([0; 4]),
            _ => return Ok(()),
        };
        if blocks > 0 {
            let start = self.blocks.saturating_mul(self.block_size);
            self.chunks.push(Chunk { start, content });
            self.blocks += u64::from(blocks);
        }
        Ok(())
    }
}

fn u16_at(header: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

fn u32_at(header: &[u8], at: usize) -> u32 {
    u32::from(u16_at(header, at)) | u32::from(u16_at(header, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sparse image of blocks of 4 KiB; each chunk is its type, its blocks and its data.
    fn sparse(blocks: u32, chunks: &[(u16, u32, &[u8])]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for half in [1, 0, FILE_HEADER, CHUNK_HEADER] {
            file.extend(half.to_le_bytes());
        }
        for word in [4096, blocks, chunks.len() as u32, 0] {
            file.extend(word.to_le_bytes());
        }
        for (kind, blocks, data) in chunks {
            file.extend(kind.to_le_bytes());
            file.extend([0; 2]);
            file.extend(blocks.to_le_bytes());
            file.extend((12 + data.len() as u32).to_le_bytes());
            file.extend_from_slice(data);
        }
        file
    }

    fn refused(file: Vec<u8>) -> SparseError {
        SparseImage::open(file).err().unwrap()
    }

    #[test]
    fn every_kind_of_chunk_reads_as_what_it_stands_for() {
        let raw: Vec<u8> = (0..8192_u32).map(|at| at as u8).collect();
        let file = sparse(
            7,
            &[
                (RAW, 2, &raw),
                (FILL, 1, &[1, 2, 3, 4]),
                (CRC32, 0, &[9; 4]),
                (DONT_CARE, 2, &[]),
                (FILL, 1, &[7; 4]),
                (RAW, 1, &raw[..4096]),
            ],
        );
        let image = SparseImage::open(file).unwrap();
        let expected = [
            raw.as_slice(),
            &[1, 2, 3, 4].repeat(1024),
            &[0; 8192],
            &[7; 4096],
            &raw[..4096],
        ]
        .concat();
        assert_eq!(image.size().unwrap(), expected.len() as u64);
        for (start, length) in [
            (0, 28_672),
            (1, 1),
            (8190, 5000),
            (8193, 2),
            (10_001, 9),
            (28_671, 1),
            (28_672, 0),
        ] {
            let mut read = vec![0xEE; length];
            image.read_exact_at(&mut read, start as u64).unwrap();
            assert!(read == expected[start..start + length], "{start} {length}");
        }
        for (start, length) in [(0, 28_673), (28_672, 1), (u64::MAX, 1)] {
            assert!(
                image.read_exact_at(&mut vec![0; length], start).is_err(),
                "{start} {length}"
            );
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let good = sparse(2, &[(FILL, 2, &[5; 4])]);
        SparseImage::open(good.clone()).unwrap();
        let with = |at: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            refused(file)
        };
        assert!(matches!(with(0, &[0]), SparseError::Magic));
        assert!(matches!(with(4, &[2]), SparseError::Version { major: 2, .. }));
        assert!(matches!(with(8, &[27]), SparseError::Headers { file: 27, .. }));
        assert!(matches!(with(12, &[2, 0x10]), SparseError::BlockSize(0x1002)));
        assert!(matches!(with(12, &[0, 0]), SparseError::BlockSize(0)));
        assert!(matches!(
            with(16, &[3]),
            SparseError::Total { chunks: 2, header: 3 }
        ));
        assert!(matches!(with(16, &[0xFF; 4]), SparseError::Size(_)));
        assert!(matches!(with(20, &[0xFF; 4]), SparseError::Chunks { .. }));
        assert!(matches!(with(20, &[2]), SparseError::CutOff(1)));
        assert!(matches!(
            with(28, &[0xC5]),
            SparseError::ChunkKind {
                index: 0,
                kind: 0xCAC5
            }
        ));
        assert!(matches!(
            with(36, &[15]),
            SparseError::ChunkSize {
                has: 15,
                needs: 16,
                ..
            }
        ));
        // Blocks that the file does not hold, and more than a chunk can say.
        for blocks in [2, u32::MAX] {
            let file = sparse(blocks.min(1000), &[(RAW, blocks, &[0; 4096])]);
            assert!(matches!(refused(file), SparseError::ChunkSize { .. }));
        }
        let cut = &sparse(1, &[(RAW, 1, &[0; 4096])])[..4000];
        assert!(matches!(refused(cut.to_vec()), SparseError::CutOff(0)));
        for length in 0..good.len() {
            SparseImage::open(good[..length].to_vec()).err().unwrap();
        }
    }
}
