//! The coders, each with settings that keep a device's decoder small.

use std::io::{self, Write};

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

use super::{GenerateError, Options};
use crate::format::Coder;

/// The smallest form of a replacement and its coder.
pub(super) fn replacement(data: Vec<u8>, options: &Options) -> Result<(Coder, Vec<u8>), GenerateError> {
    let compressed = xz(&data, options.xz_level)?;
    if compressed.len() < data.len() {
        Ok((Coder::Xz, compressed))
    } else {
        Ok((Coder::Plain, data))
    }
}

fn xz(data: &[u8], level: u32) -> Result<Vec<u8>, GenerateError> {
    let fail = |error| GenerateError::Encode { coder: "xz", error };
    let encode = || {
        let mut settings = LzmaOptions::new_preset(level)?;
        // The decoder allocates what the stream says, so it says no more than it needs. 4 KiB is LZMA's least.
        let dictionary = u32::try_from(data.len())
            .unwrap_or(u32::MAX)
            .clamp(4096, LARGEST_DICTIONARY);
        settings.dict_size(dictionary);
        // AOSP decodes with xz-embedded, which checks CRC32 only.
        let stream = Stream::new_stream_encoder(Filters::new().lzma2(&settings), Check::Crc32)?;
        let mut encoder = XzEncoder::new_stream(Vec::with_capacity(data.len() / 2), stream);
        encoder.write_all(data)?;
        encoder.finish()
    };
    encode().map_err(|error: io::Error| fail(error))
}

const LARGEST_DICTIONARY: u32 = 8 << 20;
