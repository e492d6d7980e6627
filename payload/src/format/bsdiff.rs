//! The header of a bsdiff patch: `BSDIFF40` (Colin Percival's) and `BSDF2` (AOSP's external/bsdiff).

/// Which coder made a stream of a patch; the numbers are those of `BSDF2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamCoder {
    Bzip2 = 1,
    Brotli = 2,
}

/// Bytes before the streams, in both formats.
pub(crate) const HEADER_SIZE: usize = 32;

/// Bytes of one control triple: length to add, length to copy, how far to move in the old bytes.
pub(crate) const TRIPLE_SIZE: usize = 24;

/// The three streams of a patch, compressed.
pub(crate) struct Streams<'a> {
    pub(crate) control: (StreamCoder, &'a [u8]),
    pub(crate) diff: (StreamCoder, &'a [u8]),
    pub(crate) extra: (StreamCoder, &'a [u8]),
    pub(crate) new_size: u64,
}

impl<'a> Streams<'a> {
    /// Takes a patch apart; `None` if it is not one.
    pub(crate) fn parse(patch: &'a [u8]) -> Option<Self> {
        let (header, body) = patch.split_first_chunk::<HEADER_SIZE>()?;
        let coders = match header.first_chunk::<8>()? {
            b"BSDIFF40" => [StreamCoder::Bzip2; 3],
            [b'B', b'S', b'D', b'F', b'2', coders @ ..] => {
                let [control, diff, extra] = coders.map(stream_coder);
                [control?, diff?, extra?]
            }
            _ => return None,
        };
        let mut lengths = header[8..]
            .as_chunks()
            .0
            .iter()
            .map(|bytes| decode_integer(*bytes));
        let mut length = || u64::try_from(lengths.next()?).ok();
        let (control, diff, new_size) = (length()?, length()?, length()?);
        let (control, body) = body.split_at_checked(usize::try_from(control).ok()?)?;
        let (diff, extra) = body.split_at_checked(usize::try_from(diff).ok()?)?;
        Some(Self {
            control: (coders[0], control),
            diff: (coders[1], diff),
            extra: (coders[2], extra),
            new_size,
        })
    }

    /// The patch as `BSDF2`; `None` if a length does not fit the format.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn to_bsdf2(&self) -> Option<Vec<u8>> {
        let [control, diff, extra] = [self.control.0, self.diff.0, self.extra.0].map(|coder| coder as u8);
        self.to_bytes([b'B', b'S', b'D', b'F', b'2', control, diff, extra])
    }

    /// The patch as `BSDIFF40`, whose streams are bzip2; `None` also if one of them is not.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn to_bsdiff40(&self) -> Option<Vec<u8>> {
        let coders = [self.control.0, self.diff.0, self.extra.0];
        let is_bzip2 = coders.iter().all(|coder| *coder == StreamCoder::Bzip2);
        is_bzip2.then(|| self.to_bytes(*b"BSDIFF40"))?
    }

    #[cfg(any(test, feature = "generate"))]
    fn to_bytes(&self, magic: [u8; 8]) -> Option<Vec<u8>> {
        let streams = [self.control.1, self.diff.1, self.extra.1];
        let length = HEADER_SIZE + streams.iter().map(|bytes| bytes.len()).sum::<usize>();
        let mut patch = Vec::with_capacity(length);
        patch.extend_from_slice(&magic);
        for length in [streams[0].len() as u64, streams[1].len() as u64, self.new_size] {
            patch.extend(encode_integer(i64::try_from(length).ok()?));
        }
        for bytes in streams {
            patch.extend_from_slice(bytes);
        }
        Some(patch)
    }
}

/// Bytes of a patch by what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchBytes {
    /// Which old bytes go where.
    pub control: u64,
    /// How they differ.
    pub diff: u64,
    /// Bytes that come from no old ones.
    pub extra: u64,
}

impl PatchBytes {
    /// Takes the header of a bsdiff patch apart; `None` if `patch` is none. The bodies of the streams need not be there:
    /// `length` is that of the whole patch.
    pub fn of_header(header: &[u8], length: u64) -> Option<Self> {
        let (header, _) = header.split_first_chunk::<HEADER_SIZE>()?;
        let [control, diff] = stream_lengths(header)?;
        let extra = length
            .checked_sub(HEADER_SIZE as u64)?
            .checked_sub(control)?
            .checked_sub(diff)?;
        Some(Self { control, diff, extra })
    }
}

fn stream_lengths(header: &[u8; HEADER_SIZE]) -> Option<[u64; 2]> {
    if !header.starts_with(b"BSDIFF40") && !header.starts_with(b"BSDF2") {
        return None;
    }
    let [_, control, diff, _] = header.as_chunks().0 else {
        return None;
    };
    Some([
        u64::try_from(decode_integer(*control)).ok()?,
        u64::try_from(decode_integer(*diff)).ok()?,
    ])
}

/// A sign-magnitude, little-endian integer: bsdiff's `offtin`.
pub(crate) fn decode_integer(bytes: [u8; 8]) -> i64 {
    let raw = u64::from_le_bytes(bytes);
    let magnitude = (raw & !SIGN).cast_signed();
    if raw & SIGN == 0 { magnitude } else { -magnitude }
}

/// bsdiff's `offtout`. `i64::MIN` has no form; lengths and distances in memory never reach it.
#[cfg(any(test, feature = "generate"))]
pub(crate) fn encode_integer(value: i64) -> [u8; 8] {
    let sign = if value < 0 { SIGN } else { 0 };
    (value.unsigned_abs() | sign).to_le_bytes()
}

const SIGN: u64 = 1 << 63;

fn stream_coder(number: u8) -> Option<StreamCoder> {
    match number {
        1 => Some(StreamCoder::Bzip2),
        2 => Some(StreamCoder::Brotli),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_sign_and_magnitude() {
        assert_eq!(encode_integer(-2), [2, 0, 0, 0, 0, 0, 0, 0x80]);
        for value in [0, 1, -1, 4096, i64::MAX, -i64::MAX] {
            assert_eq!(decode_integer(encode_integer(value)), value);
        }
    }

    #[test]
    fn bsdf2_round_trip_and_truncation() {
        let streams = Streams {
            control: (StreamCoder::Brotli, b"ctl"),
            diff: (StreamCoder::Bzip2, b"diff"),
            extra: (StreamCoder::Brotli, b"extra"),
            new_size: 77,
        };
        let patch = streams.to_bsdf2().unwrap();
        assert_eq!(&patch[..8], b"BSDF2\x02\x01\x02");
        let parsed = Streams::parse(&patch).unwrap();
        assert_eq!(parsed.control, streams.control);
        assert_eq!(parsed.diff, streams.diff);
        assert_eq!(parsed.extra, streams.extra);
        assert_eq!(parsed.new_size, 77);
        let bytes = PatchBytes::of_header(&patch[..HEADER_SIZE], patch.len() as u64).unwrap();
        assert_eq!((bytes.control, bytes.diff, bytes.extra), (3, 4, 5));
        assert_eq!(PatchBytes::of_header(&patch, 38), None);
        assert_eq!(
            PatchBytes::of_header(b"no patch at all, but 32 bytes long", 100),
            None
        );
        for length in 0..HEADER_SIZE + 7 {
            assert!(Streams::parse(&patch[..length]).is_none(), "{length}");
        }
        let mut negative = patch.clone();
        negative[15] = 0x80;
        assert!(Streams::parse(&negative).is_none());
    }
}
