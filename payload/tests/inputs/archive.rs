//! Writes zip archives (APPNOTE.TXT 6.3), also such as no tool would.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// An entry; the public fields may be changed to lie.
pub struct Entry {
    pub name: String,
    /// What its own header calls it.
    pub local_name: String,
    pub method: u16,
    pub flags: u16,
    pub checksum: u32,
    pub size: u64,
    pub packed: Vec<u8>,
    /// Sizes and offset in a zip64 field.
    pub zip64: bool,
}

pub fn stored(name: &str, content: &[u8]) -> Entry {
    Entry {
        name: name.to_owned(),
        local_name: name.to_owned(),
        method: 0,
        flags: 0,
        checksum: crc32fast::hash(content),
        size: content.len() as u64,
        packed: content.to_vec(),
        zip64: false,
    }
}

pub fn deflated(name: &str, content: &[u8]) -> Entry {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    Entry {
        method: 8,
        packed: encoder.finish().unwrap(),
        ..stored(name, content)
    }
}

/// The archive of these entries.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = archive.len() as u64;
        let small = |value: u64| if entry.zip64 { u32::MAX } else { value as u32 };
        let [size, packed] = [entry.size, entry.packed.len() as u64];
        let extra = |values: &[u64]| {
            let mut extra = Vec::new();
            if entry.zip64 {
                extra.extend(
                    [1_u16, values.len() as u16 * 8]
                        .iter()
                        .flat_map(|half| half.to_le_bytes()),
                );
                extra.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            extra
        };
        let common = |name: &str, extra: &[u8]| {
            let mut header = Vec::new();
            for half in [45, entry.flags, entry.method, 0, 0x21] {
                header.extend(half.to_le_bytes());
            }
            for word in [entry.checksum, small(packed), small(size)] {
                header.extend(word.to_le_bytes());
            }
            header.extend((name.len() as u16).to_le_bytes());
            header.extend((extra.len() as u16).to_le_bytes());
            header
        };
        let local_extra = extra(&[size, packed]);
        archive.extend(b"PK\x03\x04");
        archive.extend(common(&entry.local_name, &local_extra));
        archive.extend(entry.local_name.as_bytes());
        archive.extend(local_extra);
        archive.extend(&entry.packed);

        let central_extra = extra(&[size, packed, offset]);
        directory.extend(b"PK\x01\x02\x2d\x00");
        directory.extend(common(&entry.name, &central_extra));
        directory.extend([0; 10]);
        directory.extend(small(offset).to_le_bytes());
        directory.extend(entry.name.as_bytes());
        directory.extend(central_extra);
    }
    let start = archive.len() as u64;
    let size = directory.len() as u64;
    archive.extend(directory);
    let count = entries.len() as u64;
    let zip64 = entries.iter().any(|entry| entry.zip64);
    if zip64 {
        let end = archive.len() as u64;
        archive.extend(b"PK\x06\x06");
        archive.extend(44_u64.to_le_bytes());
        archive.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [count, count, size, start] {
            archive.extend(value.to_le_bytes());
        }
        archive.extend(b"PK\x06\x07\0\0\0\0");
        archive.extend(end.to_le_bytes());
        archive.extend(1_u32.to_le_bytes());
    }
    let (count, size, start) = match zip64 {
        true => (u16::MAX, u32::MAX, u32::MAX),
        false => (count as u16, size as u32, start as u32),
    };
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([count, count].iter().flat_map(|half| half.to_le_bytes()));
    archive.extend([size, start].iter().flat_map(|word| word.to_le_bytes()));
    archive.extend([0; 2]);
    archive
}
