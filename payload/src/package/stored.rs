//! Zip archives of stored entries (APPNOTE.TXT 6.3), whose headers say their sizes and checksums in front.
//!
//! `rawzip`, which reads archives here, writes a data descriptor behind each entry instead, and Java's
//! `ZipInputStream` refuses a stored entry that has one.

use std::io::{self, Seek, SeekFrom, Write};

/// An archive in the making.
pub(super) struct Stored<W> {
    out: W,
    /// Bytes written.
    at: u64,
    entries: Vec<Entry>,
    /// From here on a number takes a ZIP64 field (4.3.9.2): lower in tests alone.
    wide: u64,
}

/// A finished entry, and for the reader of the archive where it lies.
struct Entry {
    name: &'static str,
    header: u64,
    size: u64,
    checksum: u32,
}

/// An entry in the making.
pub(super) struct Open {
    entry: Entry,
    hasher: crc32fast::Hasher,
    written: u64,
}

/// 2009-01-01 00:00 in MS-DOS form, which AOSP's common.py gives every entry: the archive shall depend on its
/// content alone.
const DATE: u16 = (2009 - 1980) << 9 | 1 << 5 | 1;
const TIME: u16 = 0;

/// 4.4.3.2: 1.0 for stored files, 4.5 for ZIP64.
const VERSION: u16 = 10;
const VERSION_WIDE: u16 = 45;

/// 4.4.2: made on UNIX, whose attributes say: a regular file that all may read.
const MADE_BY: u16 = 3 << 8 | VERSION_WIDE;
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// Where a local header has its checksum (4.3.7).
const CHECKSUM_AT: u64 = 14;

const LOCAL_HEADER: u64 = 30;

/// ZIP64 extended information (4.5.3).
const WIDE_FIELD: u16 = 1;

impl<W: Write + Seek> Stored<W> {
    /// Writes to `out` from its start.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            at: 0,
            entries: Vec::new(),
            wide: u64::from(u32::MAX),
        }
    }

    /// Bytes written: where the next entry begins.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Where the content of an entry of `size` bytes would begin if it came next.
    pub(super) fn content_of(&self, name: &str, size: u64) -> u64 {
        self.at + LOCAL_HEADER + name.len() as u64 + if size < self.wide { 0 } else { 20 }
    }

    /// Begins an entry.
    pub(super) fn begin(&mut self, name: &'static str, size: u64) -> io::Result<Open> {
        let header = self.at;
        let wide = size >= self.wide;
        let mut bytes = Vec::new();
        put32(&mut bytes, 0x0403_4b50);
        put16(&mut bytes, if wide { VERSION_WIDE } else { VERSION });
        put_common(&mut bytes, 0, self.narrow(size));
        put16(&mut bytes, name.len() as u16);
        put16(&mut bytes, if wide { 20 } else { 0 });
        bytes.extend_from_slice(name.as_bytes());
        if wide {
            put16(&mut bytes, WIDE_FIELD);
            put16(&mut bytes, 16);
            put64(&mut bytes, size);
            put64(&mut bytes, size);
        }
        self.put(&bytes)?;
        Ok(Open {
            entry: Entry {
                name,
                header,
                size,
                checksum: 0,
            },
            hasher: crc32fast::Hasher::new(),
            written: 0,
        })
    }

    /// Adds to the entry.
    pub(super) fn write(&mut self, open: &mut Open, bytes: &[u8]) -> io::Result<()> {
        open.hasher.update(bytes);
        open.written += bytes.len() as u64;
        self.put(bytes)
    }

    /// Ends the entry, which has the size that it began with.
    pub(super) fn end(&mut self, open: Open) -> io::Result<()> {
        let Open {
            mut entry,
            hasher,
            written,
        } = open;
        if written != entry.size {
            return Err(io::Error::other(format!(
                "{} of {} bytes was to have {}",
                entry.name, written, entry.size
            )));
        }
        entry.checksum = hasher.finalize();
        self.out.seek(SeekFrom::Start(entry.header + CHECKSUM_AT))?;
        self.out.write_all(&entry.checksum.to_le_bytes())?;
        self.out.seek(SeekFrom::Start(self.at))?;
        self.entries.push(entry);
        Ok(())
    }

    /// An entry whose content is there already.
    pub(super) fn whole(&mut self, name: &'static str, content: &[u8]) -> io::Result<()> {
        let mut open = self.begin(name, content.len() as u64)?;
        self.write(&mut open, content)?;
        self.end(open)
    }

    /// Writes the directory; the archive's bytes in all.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let start = self.at;
        for entry in std::mem::take(&mut self.entries) {
            let record = self.record(&entry);
            self.entries.push(entry);
            self.put(&record)?;
        }
        let (size, count) = (self.at - start, self.entries.len() as u64);
        let mut end = Vec::new();
        if start >= self.wide {
            let record = self.at;
            put32(&mut end, 0x0606_4b50);
            put64(&mut end, 44);
            put16(&mut end, MADE_BY);
            put16(&mut end, VERSION_WIDE);
            put32(&mut end, 0);
            put32(&mut end, 0);
            for number in [count, count, size, start] {
                put64(&mut end, number);
            }
            put32(&mut end, 0x0706_4b50);
            put32(&mut end, 0);
            put64(&mut end, record);
            put32(&mut end, 1);
        }
        put32(&mut end, 0x0605_4b50);
        put32(&mut end, 0);
        put16(&mut end, count as u16);
        put16(&mut end, count as u16);
        put32(&mut end, size as u32);
        put32(&mut end, self.narrow(start));
        put16(&mut end, 0);
        self.put(&end)?;
        self.out.flush()?;
        Ok(self.at)
    }

    /// An entry's record in the directory (4.3.12).
    fn record(&self, entry: &Entry) -> Vec<u8> {
        let mut wide = Vec::new();
        if entry.size >= self.wide {
            put64(&mut wide, entry.size);
            put64(&mut wide, entry.size);
        }
        if entry.header >= self.wide {
            put64(&mut wide, entry.header);
        }
        let mut bytes = Vec::new();
        put32(&mut bytes, 0x0201_4b50);
        put16(&mut bytes, MADE_BY);
        put16(&mut bytes, if wide.is_empty() { VERSION } else { VERSION_WIDE });
        put_common(&mut bytes, entry.checksum, self.narrow(entry.size));
        put16(&mut bytes, entry.name.len() as u16);
        put16(
            &mut bytes,
            if wide.is_empty() { 0 } else { wide.len() as u16 + 4 },
        );
        // Comment, disk, internal attributes.
        bytes.extend_from_slice(&[0; 6]);
        put32(&mut bytes, ATTRIBUTES);
        put32(&mut bytes, self.narrow(entry.header));
        bytes.extend_from_slice(entry.name.as_bytes());
        if !wide.is_empty() {
            put16(&mut bytes, WIDE_FIELD);
            put16(&mut bytes, wide.len() as u16);
            bytes.extend_from_slice(&wide);
        }
        bytes
    }

    /// A number, or the sign that it stands in a ZIP64 field.
    fn narrow(&self, number: u64) -> u32 {
        u32::try_from(number)
            .ok()
            .filter(|_| number < self.wide)
            .unwrap_or(u32::MAX)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// What local headers and the directory's records share: flags, method, time, checksum and sizes.
fn put_common(bytes: &mut Vec<u8>, checksum: u32, size: u32) {
    put16(bytes, 0);
    put16(bytes, 0);
    put16(bytes, TIME);
    put16(bytes, DATE);
    put32(bytes, checksum);
    put32(bytes, size);
    put32(bytes, size);
}

fn put16(bytes: &mut Vec<u8>, number: u16) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put32(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use super::*;
    use crate::input::zip::Zip;

    const LONG: [u8; 5000] = [7; 5000];

    /// Numbers become wide far below 4 GiB, and other readers must find everything all the same.
    fn wide(limit: u64) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let mut zip = Stored::new(&mut out);
        zip.wide = limit;
        let at = zip.content_of("long", LONG.len() as u64);
        zip.whole("long", &LONG).unwrap();
        let short = zip.content_of("short", 3);
        zip.whole("short", b"abc").unwrap();
        let size = zip.finish().unwrap();
        let bytes = out.into_inner();
        assert_eq!(size, bytes.len() as u64);
        assert!(bytes[at as usize..].starts_with(&LONG));
        assert!(bytes[short as usize..].starts_with(b"abc"));
        bytes
    }

    #[test]
    fn wide_numbers_are_read_by_others() {
        for limit in [u64::from(u32::MAX), 5001, 5000, 4000] {
            let bytes = wide(limit);
            let found = bytes.windows(4).filter(|bytes| bytes == b"PK\x06\x06").count();
            assert_eq!(found, usize::from(limit < u64::from(u32::MAX)));
            let zip = Zip::open(Arc::new(bytes)).unwrap();
            let sizes: Vec<_> = zip
                .entries
                .iter()
                .map(|entry| (&*entry.name, entry.size))
                .collect();
            assert_eq!(sizes, [("long", 5000), ("short", 3)]);
            for entry in &zip.entries {
                let content = zip
                    .content(entry, std::path::Path::new("/nowhere"), &mut |_| ())
                    .unwrap();
                zip.check(entry, &*content, &mut |_| ()).unwrap();
            }
        }
    }

    #[test]
    fn an_entry_has_the_size_that_it_began_with() {
        let mut zip = Stored::new(Cursor::new(Vec::new()));
        let mut open = zip.begin("x", 4).unwrap();
        zip.write(&mut open, b"abc").unwrap();
        assert!(zip.end(open).is_err());
    }
}
