//! `PUF1`: the extents of deflate on both sides, then a bsdiff patch from one puffed stream to the other
//! (AOSP external/puffin, `puffin.proto` and `puffdiff.cc`).

use prost::Message;

use super::{LONGEST_HEADER, PuffError};

/// What a PUFFDIFF blob holds.
pub(crate) struct Container<'a> {
    /// The deflate extents of the old bytes, as they came.
    pub(crate) source: StreamInfo,
    /// Those of the new bytes.
    pub(crate) destination: StreamInfo,
    /// A `BSDF2` or `BSDIFF40` patch.
    pub(crate) patch: &'a [u8],
}

impl<'a> Container<'a> {
    /// Takes a blob apart. Its extents are not checked: [`super::Layout::check`] does that.
    pub(crate) fn parse(blob: &'a [u8]) -> Result<Self, PuffError> {
        let (prefix, rest) = blob.split_first_chunk::<8>().ok_or(PuffError::Container)?;
        let [magic @ .., a, b, c, d] = *prefix;
        if magic != MAGIC {
            return Err(PuffError::Container);
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if length as usize > LONGEST_HEADER {
            return Err(PuffError::LongHeader(length));
        }
        let (header, patch) = rest
            .split_at_checked(length as usize)
            .ok_or(PuffError::Container)?;
        let header = PatchHeader::decode(header).map_err(PuffError::Header)?;
        if header.version != VERSION {
            return Err(PuffError::Version(header.version));
        }
        match header.r#type {
            TYPE_BSDIFF => Ok(Self {
                source: header.src.unwrap_or_default(),
                destination: header.dst.unwrap_or_default(),
                patch,
            }),
            TYPE_ZUCCHINI => Err(PuffError::Zucchini),
            other => Err(PuffError::Type(other)),
        }
    }

    /// The bytes of a blob; `None` if the header is longer than [`LONGEST_HEADER`].
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn to_bytes(
        source: &super::Layout,
        destination: &super::Layout,
        patch: &[u8],
    ) -> Option<Vec<u8>> {
        let header = PatchHeader {
            version: VERSION,
            src: Some(source.info()),
            dst: Some(destination.info()),
            r#type: TYPE_BSDIFF,
        }
        .encode_to_vec();
        let length = u32::try_from(header.len())
            .ok()
            .filter(|length| *length as usize <= LONGEST_HEADER)?;
        Some([&MAGIC[..], &length.to_be_bytes(), &header, patch].concat())
    }
}

const MAGIC: [u8; 4] = *b"PUF1";
const VERSION: i32 = 1;
const TYPE_BSDIFF: i32 = 0;
const TYPE_ZUCCHINI: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct PatchHeader {
    #[prost(int32, tag = "1")]
    version: i32,
    #[prost(message, optional, tag = "2")]
    src: Option<StreamInfo>,
    #[prost(message, optional, tag = "3")]
    dst: Option<StreamInfo>,
    // An enumeration on the wire; kept as its number so that an unknown one can be named when it is refused.
    #[prost(int32, tag = "4")]
    r#type: i32,
}

/// Where deflate lies in a stream, and where its puffs lie in the puffed one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StreamInfo {
    /// In the stream.
    #[prost(message, repeated, tag = "1")]
    pub(crate) deflates: Vec<BitExtent>,
    /// In the puffed stream: bits as well, always whole bytes.
    #[prost(message, repeated, tag = "2")]
    pub(crate) puffs: Vec<BitExtent>,
    /// Bytes of the puffed stream.
    #[prost(uint64, tag = "3")]
    pub(crate) puff_length: u64,
}

/// A run of bits.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct BitExtent {
    /// The first bit, counted from the least significant one of the first byte.
    #[prost(uint64, tag = "1")]
    pub(crate) offset: u64,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub(crate) length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_container_is_refused_by_name() {
        let layout = super::super::Layout::new(&[], 8);
        let blob = Container::to_bytes(&layout, &layout, b"patch").unwrap();
        let parsed = Container::parse(&blob).unwrap();
        assert_eq!(parsed.patch, b"patch");
        assert_eq!(parsed.source.puff_length, 8);
        for length in 0..blob.len() - 5 {
            assert!(matches!(
                Container::parse(&blob[..length]),
                Err(PuffError::Container)
            ));
        }
        let with = |at: usize, byte: u8| {
            let mut other = blob.clone();
            other[at] = byte;
            Container::parse(&other).map(|_| ()).unwrap_err()
        };
        assert!(matches!(with(0, b'p'), PuffError::Container));
        assert!(matches!(with(4, 0xff), PuffError::LongHeader(_)));
        assert!(matches!(with(8, 0), PuffError::Header(_)));
        assert!(matches!(with(9, 2), PuffError::Version(2)));
    }

    #[test]
    fn other_patches_than_bsdiff_s_are_refused() {
        let blob = |r#type| {
            let header = PatchHeader {
                version: 1,
                src: None,
                dst: None,
                r#type,
            }
            .encode_to_vec();
            let mut blob = b"PUF1\0\0\0".to_vec();
            blob.push(header.len() as u8);
            blob.extend(header);
            blob
        };
        assert!(Container::parse(&blob(0)).is_ok());
        assert!(matches!(Container::parse(&blob(1)), Err(PuffError::Zucchini)));
        assert!(matches!(Container::parse(&blob(2)), Err(PuffError::Type(2))));
    }
}
