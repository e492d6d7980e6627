//! Metadata comes in blocks of 8 KiB, each compressed by itself, read as one run of bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use flate2::bufread::ZlibDecoder;
use lzma_rust2::XzReader;

use crate::filesystem::Fault;
use crate::filesystem::bytes::Bytes;
use crate::format::XZ_MEMORY_KIB;

/// How metadata is compressed.
#[derive(Clone, Copy)]
pub(super) enum Compressor {
    /// What squashfs calls gzip.
    Zlib,
    Xz,
}

/// All metadata of an image.
pub(super) struct Metadata<'a> {
    bytes: &'a Bytes<'a>,
    compressor: Compressor,
    /// Unpacked blocks by where they lie: inodes of one directory often share one.
    unpacked: RefCell<HashMap<u64, Block>>,
}

/// Bytes of content of a block; only the last one of a table has fewer.
const BLOCK: usize = 8192;

/// In the two bytes before a block: it is not compressed.
const UNCOMPRESSED: u16 = 1 << 15;

/// Unpacked blocks that are kept: 16 MiB.
const MOST_KEPT: usize = 2048;

#[derive(Clone)]
struct Block {
    content: Rc<[u8]>,
    /// The byte after it.
    end: u64,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(bytes: &'a Bytes<'a>, compressor: Compressor) -> Self {
        Self {
            bytes,
            compressor,
            unpacked: RefCell::default(),
        }
    }

    /// From byte `offset` on of the content of the block that lies `block` bytes behind `table`.
    pub(super) fn at(&self, table: u64, block: u64, offset: u16) -> Result<Cursor<'_>, Fault> {
        let block = self.block(table.saturating_add(block))?;
        Ok(Cursor {
            metadata: self,
            block,
            at: usize::from(offset),
        })
    }

    fn block(&self, at: u64) -> Result<Block, Fault> {
        if let Some(block) = self.unpacked.borrow().get(&at) {
            return Ok(block.clone());
        }
        let header = u16::from_le_bytes(self.bytes.array(at)?);
        let (length, start) = (u64::from(header & !UNCOMPRESSED), at + 2);
        if length == 0 || length > BLOCK as u64 {
            return Err(Fault::Malformed("a block of metadata has an impossible length"));
        }
        let stored = self.bytes.read(start, length)?;
        let content = match header & UNCOMPRESSED {
            0 => self.unpack(&stored)?,
            _ => stored,
        };
        let block = Block {
            content: content.into(),
            end: start + length,
        };
        let mut unpacked = self.unpacked.borrow_mut();
        if unpacked.len() == MOST_KEPT {
            unpacked.clear();
        }
        unpacked.insert(at, block.clone());
        Ok(block)
    }

    fn unpack(&self, stored: &[u8]) -> Result<Vec<u8>, Fault> {
        self.bytes.spend(BLOCK as u64)?;
        let decoder: &mut dyn Read = match self.compressor {
            Compressor::Zlib => &mut ZlibDecoder::new(stored),
            Compressor::Xz => &mut XzReader::new_mem_limit(stored, false, XZ_MEMORY_KIB),
        };
        let mut content = Vec::with_capacity(BLOCK);
        // One more, to see that there is not more.
        let read = decoder.take(BLOCK as u64 + 1).read_to_end(&mut content);
        if read.is_err() || content.len() > BLOCK {
            return Err(Fault::Malformed("a block of metadata cannot be unpacked"));
        }
        Ok(content)
    }
}

/// A place in metadata, from which it is read on.
pub(super) struct Cursor<'a> {
    metadata: &'a Metadata<'a>,
    block: Block,
    at: usize,
}

impl Cursor<'_> {
    pub(super) fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], Fault> {
        let mut bytes = [0; SIZE];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// At most 64 KiB, or whatever else is no harm to allocate.
    pub(super) fn read(&mut self, length: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Fault> {
        self.metadata.bytes.spend(buffer.len() as u64)?;
        while !buffer.is_empty() {
            let rest = self.block.content.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                // Only a full block goes on in the next one.
                if self.block.content.len() < BLOCK || self.at > BLOCK {
                    return Err(Fault::Malformed("its metadata is cut off"));
                }
                self.block = self.metadata.block(self.block.end)?;
                self.at = 0;
                continue;
            }
            let length = rest.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(length);
            now.copy_from_slice(&rest[..length]);
            self.at += length;
            buffer = later;
        }
        Ok(())
    }
}
