//! Formats that hold deflate: where in their headers a stream begins.

/// A header that announces a deflate stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// Bytes from the header's first one to the stream's.
    pub(super) start: usize,
    /// Bytes from the header's first one that the stream cannot pass.
    pub(super) limit: usize,
    pub(super) check: Check,
}

/// How to see that a stream was really meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// It has this many bytes.
    Length(usize),
    /// Behind it are a CRC-32 and the number of bytes that it inflates to.
    GzipTrailer,
    Nothing,
}

/// The first byte of every header that [`announced`] knows.
pub(super) const FIRST_BYTES: [u8; 3] = [b'P', 0x1f, b'I'];

/// What a header at the byte `at` announces.
pub(super) fn announced(bytes: &[u8], at: usize) -> Option<Announced> {
    let header = bytes.get(at..)?;
    match header.first()? {
        b'P' => zip(header),
        0x1f => gzip(header),
        b'I' => png(header, at.checked_sub(4).and_then(|before| bytes.get(before..))?),
        _ => None,
    }
}

/// The file name in a zip local header, if it announces deflate.
pub(super) fn zip_name(header: &[u8]) -> Option<&[u8]> {
    zip(header)?;
    header.get(ZIP_HEADER..)?.get(..u16_at(header, 26)?)
}

/// Bytes of a zip local header before the name.
const ZIP_HEADER: usize = 30;

/// A local file header (APPNOTE.TXT 6.3.10, section 4.3.7).
fn zip(bytes: &[u8]) -> Option<Announced> {
    const ENCRYPTED: usize = 1;
    const SIZES_FOLLOW: usize = 8;
    const DEFLATED: usize = 8;
    if !bytes.starts_with(b"PK\x03\x04") || u16_at(bytes, 8)? != DEFLATED {
        return None;
    }
    let flags = u16_at(bytes, 6)?;
    if flags & ENCRYPTED != 0 {
        return None;
    }
    let length = u32_at(bytes, 18)?;
    // With zip64 the length stands elsewhere.
    let known = flags & SIZES_FOLLOW == 0 && length != u32::MAX as usize;
    Some(Announced {
        start: ZIP_HEADER + u16_at(bytes, 26)? + u16_at(bytes, 28)?,
        limit: usize::MAX,
        check: if known {
            Check::Length(length)
        } else {
            Check::Nothing
        },
    })
}

/// A member header (RFC 1952, section 2.3).
fn gzip(bytes: &[u8]) -> Option<Announced> {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    /// Names and comments end somewhere near, or this is no header.
    const LONGEST_TEXT: usize = 4096;
    if !bytes.starts_with(b"\x1f\x8b\x08") {
        return None;
    }
    let flags = *bytes.get(3)?;
    if flags & RESERVED != 0 {
        return None;
    }
    let mut start = 10;
    if flags & EXTRA != 0 {
        start += 2 + u16_at(bytes, start)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let text = bytes.get(start..)?;
            start += 1 + text.iter().take(LONGEST_TEXT).position(|byte| *byte == 0)?;
        }
    }
    if flags & CHECKSUM != 0 {
        start += 2;
    }
    Some(Announced {
        start,
        limit: usize::MAX,
        check: Check::GzipTrailer,
    })
}

/// The first IDAT chunk of a PNG image (PNG, third edition, section 11.2.3) and the zlib header in it (RFC 1950, section
/// 2.2), without a preset dictionary. What goes on in a next chunk is not contiguous and left alone.
fn png(bytes: &[u8], chunk: &[u8]) -> Option<Announced> {
    const DEFLATE: u8 = 8;
    const DICTIONARY: u8 = 0x20;
    if !bytes.starts_with(b"IDAT") {
        return None;
    }
    let [method, flags] = *bytes.get(4..)?.first_chunk()?;
    let checks = u16::from_be_bytes([method, flags]).is_multiple_of(31);
    if method & 15 != DEFLATE || flags & DICTIONARY != 0 || !checks {
        return None;
    }
    let length = u32::from_be_bytes(*chunk.first_chunk()?);
    Some(Announced {
        start: 6,
        limit: 4 + usize::try_from(length).ok()?,
        check: Check::Nothing,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_le_bytes(*bytes)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip_header(method: u8, flags: u8, length: u32) -> Vec<u8> {
        let mut header = b"PK\x03\x04\x14\0".to_vec();
        header.extend([flags, 0, method, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        header.extend(length.to_le_bytes());
        header.extend([9, 0, 0, 0, 5, 0, 3, 0]);
        header.extend(b"a.txtxyz");
        header
    }

    #[test]
    fn zip_members_are_announced_where_their_bytes_begin() {
        let header = zip_header(8, 0, 77);
        let expected = Announced {
            start: 38,
            limit: usize::MAX,
            check: Check::Length(77),
        };
        assert_eq!(announced(&header, 0), Some(expected));
        assert_eq!(zip_name(&header), Some(&b"a.txt"[..]));
        assert_eq!(announced(&zip_header(8, 8, 0), 0).unwrap().check, Check::Nothing);
        assert_eq!(announced(&zip_header(0, 0, 77), 0), None);
        assert_eq!(announced(&zip_header(8, 1, 77), 0), None);
        for length in 0..30 {
            assert_eq!(announced(&header[..length], 0), None);
        }
    }

    #[test]
    fn gzip_headers_end_behind_their_optional_fields() {
        let start = |flags: u8, rest: &[u8]| {
            let mut header = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
            header.extend(rest);
            announced(&header, 0).map(|found| found.start)
        };
        assert_eq!(start(0, b""), Some(10));
        assert_eq!(
            start(4 | 8 | 16 | 2, b"\x02\0xxname\0comment\0cc"),
            Some(10 + 4 + 5 + 8 + 2)
        );
        assert_eq!(start(8, b"no end"), None);
        assert_eq!(start(4, b"\x02"), None);
        assert_eq!(start(0x20, b""), None);
    }

    #[test]
    fn png_data_ends_with_its_chunk() {
        let chunk = b"\0\0\x01\x00IDAT\x78\x9c rest";
        let expected = Announced {
            start: 6,
            limit: 260,
            check: Check::Nothing,
        };
        assert_eq!(announced(chunk, 4), Some(expected));
        assert_eq!(announced(&chunk[4..], 0), None);
        assert_eq!(announced(b"\0\0\x01\x00IDAT\x78\x9d rest", 4), None);
    }
}
