//! The coders, each with settings that keep a device's decoder small.

use std::io::{self, Write};

use brotli::enc::BrotliEncoderParams;
use bzip2::Compression;
use bzip2::write::BzEncoder;
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

use super::diff::Diff;
use super::{GenerateError, Options};
use crate::format::bsdiff::{StreamCoder, Streams};
use crate::format::{BROTLI_WINDOW_BITS, Coder};

/// The smallest form of a replacement and its coder.
pub(super) fn replacement(data: &[u8], options: &Options) -> Result<(Coder, Vec<u8>), GenerateError> {
    let compressed = xz(data, options.xz_level)?;
    if compressed.len() < data.len() {
        Ok((Coder::Xz, compressed))
    } else {
        Ok((Coder::Plain, data.to_vec()))
    }
}

/// A patch as `BSDF2`, each stream by the coder that makes it smallest.
pub(super) fn patch(diff: &Diff, new_size: usize) -> Result<Vec<u8>, GenerateError> {
    let (control, differing, extra) = (stream(&diff.control)?, stream(&diff.diff)?, stream(&diff.extra)?);
    let streams = Streams {
        control: (control.0, &control.1),
        diff: (differing.0, &differing.1),
        extra: (extra.0, &extra.1),
        new_size: new_size as u64,
    };
    let too_long = || GenerateError::Encode {
        coder: "bsdiff",
        error: io::ErrorKind::FileTooLarge.into(),
    };
    streams.to_bsdf2().ok_or_else(too_long)
}

/// The largest dictionary that an xz stream of ours makes a device allocate.
const LARGEST_DICTIONARY: u32 = 8 << 20;

/// The slowest and smallest.
const BROTLI_QUALITY: i32 = 9;

fn stream(data: &[u8]) -> Result<(StreamCoder, Vec<u8>), GenerateError> {
    let by_brotli = brotli(data)?;
    let by_bzip2 = bzip2(data)?;
    Ok(if by_bzip2.len() < by_brotli.len() {
        (StreamCoder::Bzip2, by_bzip2)
    } else {
        (StreamCoder::Brotli, by_brotli)
    })
}

fn brotli(mut data: &[u8]) -> Result<Vec<u8>, GenerateError> {
    let settings = BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: BROTLI_WINDOW_BITS.cast_signed(),
        size_hint: data.len(),
        ..BrotliEncoderParams::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut data, &mut compressed, &settings).map_err(|error| GenerateError::Encode {
        coder: "brotli",
        error,
    })?;
    Ok(compressed)
}

fn bzip2(data: &[u8]) -> Result<Vec<u8>, GenerateError> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(data)
        .and_then(|()| encoder.finish())
        .map_err(|error| GenerateError::Encode {
            coder: "bzip2",
            error,
        })
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
