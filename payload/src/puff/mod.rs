//! Puffin's form of deflate: Huffman codes taken off, so that a change of one byte stays a change of a few bytes.
//!
//! A PUFFDIFF operation patches *puffed* streams. Each deflate block inside a stream (RFC 1951) is replaced by its
//! *puff*, the block's header and tokens in whole bytes; everything else stays as it is. Compressing again would need
//! the very encoder and settings that were used; a puff holds every decision that the encoder took, so the same bits
//! come back whoever made them.
//!
//! A puff, as AOSP's external/puffin writes it (README.md "puff format", `puff_writer.cc`, `huffman_table.cc`):
//!
//! | bytes | meaning |
//! | --- | --- |
//! | u16 n, n + 1 bytes | a block begins: its metadata |
//! | `0xxxxxxx` | x + 1 literals follow, x < 127 |
//! | `01111111`, u16 n | n + 128 literals follow |
//! | `1xxxxxxx`, u16 d | a match of x + 3 bytes, x < 127, from d + 1 bytes before |
//! | `11111111`, x, u16 d | a match of x + 130 bytes, x < 129 |
//! | `11111111`, `10000001` | the block ends |
//!
//! Numbers are big-endian. The metadata's first byte is BFINAL (1 bit), BTYPE (2 bits) and, in a stored block, the bits
//! that fill up to the next byte (5 bits). A dynamic block's goes on with HLIT, HDIST and HCLEN, a byte each; the code
//! lengths of the code length alphabet, two to a byte; then one byte for each code of the other two alphabets: 0–15 is
//! a length, 16–19 repeats the last one 3–6 times, 20–27 are 3–10 zeros, 28–155 are 11–138 zeros.

mod bits;
mod container;
mod error;
mod huffer;
mod huffman;
mod layout;
mod puffer;
mod symbols;
mod tokens;
mod trees;

#[cfg(any(test, feature = "generate"))]
pub(crate) use bits::BitReader;
pub(crate) use bits::BitWriter;
pub(crate) use container::{BitExtent, Container};
pub use error::{DeflateError, LayoutError, PuffError};
pub(crate) use huffer::Huffer;
pub(crate) use layout::{Layout, Place};
pub(crate) use puffer::Puffer;
#[cfg(any(test, feature = "generate"))]
pub(crate) use tokens::TokenWriter;

/// The longest puff of one deflate extent, in bytes: a device holds it in memory. zlib's blocks have 16,383 tokens and
/// stay below 64 KiB.
pub const LONGEST_PUFF: u64 = 1 << 20;

/// The longest deflate extent, in bytes. Bits hardly grow when they are puffed only if nearly all of them are tables
/// and matches with rare codes.
pub(crate) const LONGEST_DEFLATE: u64 = LONGEST_PUFF;

/// The longest protobuf header of a PUFFDIFF blob, in bytes. A deflate extent takes about 12 of them, and up to eight
/// times its size once parsed.
pub(crate) const LONGEST_HEADER: usize = 512 << 10;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
