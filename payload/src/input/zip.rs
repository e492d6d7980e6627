//! Zip archives (APPNOTE.TXT 6.3): OTA packages, and images packed together.
//!
//! The directory is read by `rawzip`, which hands out every entry as it stands there. What makes archives ambiguous is
//! refused here, whichever entries are wanted: a name twice, entries that share bytes, a directory and local headers
//! that disagree.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ReaderAt, ZipEntry, ZipLocator};

use super::sequence::Sequence;
use crate::format::LARGEST_PARTITION;
use crate::storage::{COPY_BUFFER, ReadAt, step};

/// Why a zip archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// It is cut off or no archive at all.
    #[error("its directory cannot be read")]
    Directory(#[source] rawzip::Error),
    /// Another number of entries than it says.
    #[error("its directory says that it has {says} entries, and has {has}")]
    Entries {
        /// What the end of the directory says.
        says: u64,
        /// What is there.
        has: u64,
    },
    /// More than is read.
    #[error("it has more than {MOST_ENTRIES} entries")]
    TooMany,
    /// Two entries of one name.
    #[error("it holds {0:?} twice")]
    Twice(String),
    /// The directory and the entry's own header disagree.
    #[error("its directory names an entry {directory:?} that calls itself {itself:?}")]
    OtherName {
        /// Its name in the directory.
        directory: String,
        /// Its name in its own header.
        itself: String,
    },
    /// Entries that share bytes, or lie in the directory.
    #[error("its entry {0:?} shares bytes with something else in the archive")]
    Overlap(String),
    /// An entry that needs a password.
    #[error("its entry {0:?} is encrypted")]
    Encrypted(String),
    /// Compressed by other means than deflate.
    #[error("its entry {name:?} is compressed by method {method}, and only deflate is read")]
    Method {
        /// The entry.
        name: String,
        /// The method's number.
        method: u16,
    },
    /// Larger than a partition, or than its compressed bytes can become.
    #[error("its entry {name:?} is said to unpack from {packed} bytes to {size}, which cannot be an image")]
    Size {
        /// The entry.
        name: String,
        /// Bytes in the archive.
        packed: u64,
        /// Bytes that the directory promises.
        size: u64,
    },
    /// Broken, or no room to unpack it.
    #[error("its entry {name:?} cannot be unpacked")]
    Unpack {
        /// The entry.
        name: String,
        /// What the decoder or the system said.
        #[source]
        error: io::Error,
    },
    /// More or fewer bytes than promised.
    #[error("its entry {name:?} does not unpack to the {size} bytes that it promises")]
    Length {
        /// The entry.
        name: String,
        /// Bytes that the directory promises.
        size: u64,
    },
    /// Other bytes than promised.
    #[error("its entry {0:?} is damaged: it has another CRC-32 than the archive says")]
    Checksum(String),
}

/// An archive whose entries do not contradict each other.
pub(crate) struct Zip {
    file: Arc<dyn ReadAt>,
    pub(crate) entries: Vec<Entry>,
}

/// A file in an archive, with what the directory says of it.
pub(crate) struct Entry {
    /// Bytes that are not UTF-8 are replaced.
    pub(crate) name: String,
    /// Bytes of content.
    pub(crate) size: u64,
    method: CompressionMethod,
    encrypted: bool,
    checksum: u32,
    /// Where in the archive its bytes begin.
    start: u64,
    packed: u64,
}

/// The most entries that are read: far more than any OTA package has.
const MOST_ENTRIES: u64 = 1 << 16;

/// The most that deflate makes of a byte: 258 bytes of two bits (RFC 1951, 3.2.5).
const DEFLATE_MOST: u64 = 1032;

impl Zip {
    pub(crate) fn open(file: Arc<dyn ReadAt>) -> Result<Self, ZipError> {
        let size = file.size().map_err(|error| ZipError::Directory(error.into()))?;
        let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let archive = ZipLocator::new()
            .locate_in_reader(Reader { file: &*file, size }, &mut buffer, size)
            .map_err(|(_, error)| ZipError::Directory(error))?;
        let (says, directory) = (archive.entries_hint(), archive.directory_offset());
        let mut local = vec![0; 2 * usize::from(u16::MAX)];
        let mut entries = Vec::new();
        let mut names = BTreeSet::new();
        // What each entry covers, its own header included.
        let mut covered = Vec::new();
        let mut records = archive.entries(&mut buffer);
        while let Some(record) = records.next_entry().map_err(ZipError::Directory)? {
            if covered.len() as u64 == MOST_ENTRIES {
                return Err(ZipError::TooMany);
            }
            let name = record.file_path().as_ref().to_vec();
            let shown = String::from_utf8_lossy(&name).into_owned();
            let entry = archive
                .get_entry(record.wayfinder())
                .map_err(ZipError::Directory)?;
            check_name(&name, &entry, &mut local)?;
            let (start, end) = entry.compressed_data_range();
            covered.push((record.local_header_offset(), end, shown.clone()));
            if !names.insert(name) {
                return Err(ZipError::Twice(shown));
            }
            entries.push(Entry {
                name: shown,
                size: record.uncompressed_size_hint(),
                method: record.compression_method(),
                encrypted: record.flags().is_encrypted(),
                checksum: record.crc32(),
                start,
                packed: end - start,
            });
        }
        let has = covered.len() as u64;
        if says != has {
            return Err(ZipError::Entries { says, has });
        }
        check_overlaps(covered, directory)?;
        Ok(Self { file, entries })
    }

    /// The content of an entry: in place if it is stored, else unpacked to an unnamed file in `scratch` and compared
    /// with its CRC-32. `progress` hears bytes of content done.
    pub(crate) fn content(
        &self,
        entry: &Entry,
        scratch: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Box<dyn ReadAt>, ZipError> {
        let name = || entry.name.clone();
        if entry.encrypted {
            return Err(ZipError::Encrypted(name()));
        }
        let most = match entry.method {
            CompressionMethod::STORE => entry.packed,
            CompressionMethod::DEFLATE => entry.packed.saturating_mul(DEFLATE_MOST).min(LARGEST_PARTITION),
            method => {
                return Err(ZipError::Method {
                    name: name(),
                    method: method.as_u16(),
                });
            }
        };
        if entry.size > most || entry.method == CompressionMethod::STORE && entry.size != most {
            return Err(ZipError::Size {
                name: name(),
                packed: entry.packed,
                size: entry.size,
            });
        }
        if entry.method == CompressionMethod::STORE {
            return Ok(Box::new(Window {
                file: Arc::clone(&self.file),
                start: entry.start,
                size: entry.size,
            }));
        }
        let failed = |error| ZipError::Unpack { name: name(), error };
        let mut unpacked = tempfile::tempfile_in(scratch).map_err(failed)?;
        let packed = Sequence::new(&*self.file, entry.start, entry.packed);
        let mut decoder = DeflateDecoder::new(BufReader::with_capacity(COPY_BUFFER, packed));
        let checksum = pump(
            &mut decoder,
            entry,
            &mut |piece| unpacked.write_all(piece),
            progress,
        )?;
        if checksum != entry.checksum {
            return Err(ZipError::Checksum(name()));
        }
        Ok(Box::new(unpacked))
    }

    /// Compares the content of a stored entry with its CRC-32; what was unpacked has been compared.
    pub(crate) fn check(
        &self,
        entry: &Entry,
        content: &dyn ReadAt,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ZipError> {
        if entry.method != CompressionMethod::STORE {
            return Ok(());
        }
        let mut content = Sequence::new(content, 0, entry.size);
        match pump(&mut content, entry, &mut |_| Ok(()), progress)? {
            checksum if checksum == entry.checksum => Ok(()),
            _ => Err(ZipError::Checksum(entry.name.clone())),
        }
    }
}

/// Moves exactly an entry's content and returns its CRC-32.
fn pump(
    from: &mut dyn Read,
    entry: &Entry,
    to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> Result<u32, ZipError> {
    let name = || entry.name.clone();
    let mut checksum = crc32fast::Hasher::new();
    let mut buffer = vec![0; COPY_BUFFER];
    let mut done = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| ZipError::Unpack { name: name(), error })?,
        };
        let left = entry.size - done;
        if read as u64 > left || read == 0 && left > 0 {
            return Err(ZipError::Length {
                name: name(),
                size: entry.size,
            });
        }
        if read == 0 {
            return Ok(checksum.finalize());
        }
        checksum.update(&buffer[..read]);
        to(&buffer[..read]).map_err(|error| ZipError::Unpack { name: name(), error })?;
        done += read as u64;
        progress(done);
    }
}

fn check_name<R: ReaderAt>(name: &[u8], entry: &ZipEntry<R>, buffer: &mut [u8]) -> Result<(), ZipError> {
    let header = entry.local_header(buffer).map_err(ZipError::Directory)?;
    let path = header.file_path();
    let itself: &[u8] = path.as_ref();
    if itself != name {
        return Err(ZipError::OtherName {
            directory: String::from_utf8_lossy(name).into_owned(),
            itself: String::from_utf8_lossy(itself).into_owned(),
        });
    }
    Ok(())
}

/// Entries follow each other, and the directory follows them.
fn check_overlaps(mut covered: Vec<(u64, u64, String)>, directory: u64) -> Result<(), ZipError> {
    covered.sort_unstable();
    let mut next = 0;
    for (start, end, name) in covered {
        if start < next || end > directory {
            return Err(ZipError::Overlap(name));
        }
        next = end;
    }
    Ok(())
}

/// A stored entry.
struct Window {
    file: Arc<dyn ReadAt>,
    start: u64,
    size: u64,
}

impl ReadAt for Window {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The window lies inside the archive.
        self.file.read_exact_at(buffer, self.start + offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// What rawzip reads from.
struct Reader<'a> {
    file: &'a dyn ReadAt,
    size: u64,
}

impl ReaderAt for Reader<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = step(self.size.saturating_sub(offset), buffer.len());
        self.file.read_exact_at(&mut buffer[..length], offset)?;
        Ok(length)
    }
}
