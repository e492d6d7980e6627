//! The coders, each with settings that keep a device's decoder small.

use std::io::{self, Write};

use brotli::enc::BrotliEncoderParams;
use bzip2::Compression;
use bzip2::write::BzEncoder;
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

use super::diff::Diff;
use super::{GenerateError, OnlyOperation, Options};
use crate::format::bsdiff::{StreamCoder, Streams};
use crate::format::{BROTLI_WINDOW_BITS, Coder};

/// The smallest form of a replacement and its coder.
pub(super) fn replacement(data: &[u8], options: &Options) -> Result<(Coder, Vec<u8>), GenerateError> {
    let compressed = match options.only {
        Some(OnlyOperation::Replace) => None,
        Some(OnlyOperation::ReplaceBz) => Some((Coder::Bzip2, bzip2(data)?)),
        _ => Some((Coder::Xz, xz(data, options.xz_level)?)),
    };
    let smaller = compressed.filter(|(_, compressed)| compressed.len() < data.len());
    Ok(smaller.unwrap_or_else(|| (Coder::Plain, data.to_vec())))
}

/// A patch as `BSDF2`, each stream by the coder that makes it smallest for its time.
///
/// Measured on a week of an arm64 Debian root, its kernel modules and its kernel: bzip2 is best for control triples, as
/// small as brotli 11 in a fiftieth of the time. For the differences brotli 11 would save 7 % at 30 times the time of
/// brotli 9, so 9 and bzip2 compete. Extra bytes are few and dense: 11 saves 6 to 11 % there, in seconds.
pub(super) fn patch(diff: &Diff, new_size: usize) -> Result<Vec<u8>, GenerateError> {
    let control = bzip2(&diff.control)?;
    let (by_brotli, by_bzip2) = (brotli(&diff.diff, 9)?, bzip2(&diff.diff)?);
    let extra = brotli(&diff.extra, 11)?;
    let streams = Streams {
        control: (StreamCoder::Bzip2, &control),
        diff: if by_bzip2.len() < by_brotli.len() {
            (StreamCoder::Bzip2, &by_bzip2)
        } else {
            (StreamCoder::Brotli, &by_brotli)
        },
        extra: (StreamCoder::Brotli, &extra),
        new_size: new_size as u64,
    };
    streams.to_bsdf2().ok_or_else(too_long)
}

/// A patch as `BSDIFF40`, which every bspatch reads.
pub(super) fn bsdiff40(diff: &Diff, new_size: usize) -> Result<Vec<u8>, GenerateError> {
    let (control, differing, extra) = (bzip2(&diff.control)?, bzip2(&diff.diff)?, bzip2(&diff.extra)?);
    let streams = Streams {
        control: (StreamCoder::Bzip2, &control),
        diff: (StreamCoder::Bzip2, &differing),
        extra: (StreamCoder::Bzip2, &extra),
        new_size: new_size as u64,
    };
    streams.to_bsdiff40().ok_or_else(too_long)
}

fn too_long() -> GenerateError {
    GenerateError::Encode {
        coder: "bsdiff",
        error: io::ErrorKind::FileTooLarge.into(),
    }
}

/// The largest dictionary that an xz stream of ours makes a device allocate.
const LARGEST_DICTIONARY: u32 = 8 << 20;

fn brotli(mut data: &[u8], quality: i32) -> Result<Vec<u8>, GenerateError> {
    let settings = BrotliEncoderParams {
        quality,
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

/// The largest bzip2 block, in 100,000 bytes; a decoder allocates four bytes for each. Nine instead of two makes patches of
/// a kernel and its modules 0.1 % shorter and others no shorter, and takes a device 2.8 MB more for each stream.
const BZIP2_LEVEL: usize = 2;

fn bzip2(data: &[u8]) -> Result<Vec<u8>, GenerateError> {
    let level = (data.len() / 100_000 + 1).min(BZIP2_LEVEL) as u32;
    let mut encoder = BzEncoder::new(Vec::new(), Compression::new(level));
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
