//! Content and compressed content for tests.

use zlib_rs::{DeflateConfig, Strategy, compress_slice};

/// Text that compresses, with places that do not.
pub(crate) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        let word = next();
        match word % 7 {
            0 => bytes.extend(word.to_le_bytes()),
            1 if bytes.len() > 400 => {
                let from = (word >> 8) as usize % (bytes.len() - 300);
                bytes.extend_from_within(from..from + 4 + (word >> 40) as usize % 290);
            }
            _ => bytes
                .extend_from_slice(&b"a word that comes again and again; "[..3 + (word >> 16) as usize % 32]),
        }
    }
    bytes.truncate(length);
    bytes
}

/// A deflate stream by zlib's algorithm.
pub(crate) fn zlib(content: &[u8], level: i32, strategy: Strategy, mem_level: i32) -> Vec<u8> {
    let config = DeflateConfig {
        level,
        window_bits: -15,
        mem_level,
        strategy,
        ..DeflateConfig::default()
    };
    let mut room = vec![0; content.len() * 2 + 1000];
    compress_slice(&mut room, content, config).0.to_vec()
}
