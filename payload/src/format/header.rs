use crate::format::{LONGEST_HEAD, LONGEST_SIGNATURE};
use crate::read::HeadError;

/// Bytes before the manifest: magic, version, manifest length, metadata-signature length.
pub const HEADER_SIZE: usize = 24;

const MAGIC: [u8; 4] = *b"CrAU";
const MAJOR_VERSION: u64 = 2;

/// From a payload's first [`HEADER_SIZE`] bytes: how many bytes its head has, this header included.
///
/// Refuses a head above [`LONGEST_HEAD`], so that the caller may allocate what this returns.
pub fn metadata_size(prefix: &[u8; HEADER_SIZE]) -> Result<u64, HeadError> {
    Header::parse(prefix).map(|header| header.metadata_size())
}

/// The fixed part of a payload; its integers are big-endian.
pub(crate) struct Header {
    pub(crate) manifest_size: u64,
    pub(crate) signature_size: u64,
}

impl Header {
    pub(crate) fn parse(prefix: &[u8; HEADER_SIZE]) -> Result<Self, HeadError> {
        let [m0, m1, m2, m3, version @ .., a, b, c, d] = *prefix;
        let [v0, v1, v2, v3, v4, v5, v6, v7, manifest_size @ ..] = version;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(HeadError::Magic);
        }
        let version = u64::from_be_bytes([v0, v1, v2, v3, v4, v5, v6, v7]);
        if version != MAJOR_VERSION {
            return Err(HeadError::Version(version));
        }
        let header = Self {
            manifest_size: u64::from_be_bytes(manifest_size),
            signature_size: u64::from(u32::from_be_bytes([a, b, c, d])),
        };
        if header.manifest_size > LONGEST_HEAD - HEADER_SIZE as u64 {
            return Err(HeadError::TooLong {
                what: "manifest",
                size: header.manifest_size,
            });
        }
        if header.signature_size > LONGEST_SIGNATURE {
            return Err(HeadError::TooLong {
                what: "metadata signature",
                size: header.signature_size,
            });
        }
        Ok(header)
    }

    pub(crate) fn metadata_size(&self) -> u64 {
        HEADER_SIZE as u64 + self.manifest_size
    }

    /// The bytes that [`Header::parse`] reads; a signature is far below `u32::MAX` bytes.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn bytes(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..12].copy_from_slice(&MAJOR_VERSION.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.manifest_size.to_be_bytes());
        bytes[20..].copy_from_slice(&(self.signature_size as u32).to_be_bytes());
        bytes
    }

    /// The bytes of a header without signature.
    #[cfg(any(test, feature = "generate"))]
    pub(crate) fn unsigned(manifest_size: u64) -> [u8; HEADER_SIZE] {
        let signature_size = 0;
        Self {
            manifest_size,
            signature_size,
        }
        .bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_come_before_allocation() {
        assert_eq!(metadata_size(&Header::unsigned(1000)).unwrap(), 1024);
        for size in [LONGEST_HEAD, u64::MAX] {
            assert!(matches!(
                metadata_size(&Header::unsigned(size)),
                Err(HeadError::TooLong { what: "manifest", .. })
            ));
        }
        let mut signed = Header::unsigned(10);
        signed[20] = 1;
        assert!(matches!(
            metadata_size(&signed),
            Err(HeadError::TooLong {
                what: "metadata signature",
                ..
            })
        ));
        let mut other = Header::unsigned(10);
        other[11] = 1;
        assert!(matches!(metadata_size(&other), Err(HeadError::Version(1))));
        other[0] = b'c';
        assert!(matches!(metadata_size(&other), Err(HeadError::Magic)));
    }
}
