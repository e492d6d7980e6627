use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use millet_protocol::{BLOCK_SIZE, PartitionName, Sha256Digest};
use sha2::{Digest, Sha256};

/// Random-access, read-only bytes: an image file, a block device, a `Vec<u8>`.
pub trait ReadAt: Send + Sync {
    /// Fills `buf` from `offset` bytes on; [`io::ErrorKind::UnexpectedEof`] when there are not so many.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Bytes in all.
    fn size(&self) -> io::Result<u64>;
}

/// A partition that is being written. What is read from it is what was written last; its size is what fits.
pub trait Target: ReadAt {
    /// Writes all of `data` at `offset` bytes.
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when everything written so far survives a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

/// A partition's image. A size that is not a multiple of [`BLOCK_SIZE`] reads as if padded with zeros.
#[derive(Clone)]
pub struct Image<'a> {
    /// The partition it is for.
    pub name: PartitionName,
    /// Its bytes.
    pub bytes: &'a dyn ReadAt,
}

/// Where [`crate::apply`] finds the running slot's partitions and those of the slot it writes.
pub trait Slots {
    /// Opens a partition of the running slot.
    fn source(&self, name: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>>;
    /// Opens a partition of the other slot, for an image of `size` bytes.
    fn target(&self, name: &PartitionName, size: u64) -> io::Result<Box<dyn Target + '_>>;
}

/// SHA-256 of the first `size` bytes; what lies behind the end of `bytes`, up to a whole block, counts as zeros.
///
/// `progress` hears the bytes done after each step. Memory does not grow with `size`.
pub fn hash(bytes: &dyn ReadAt, size: u64, progress: &mut dyn FnMut(u64)) -> io::Result<Sha256Digest> {
    let padded = Padded::new(bytes)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER];
    let mut done = 0;
    while done < size {
        let step = step(size - done, buffer.len());
        padded.read_exact_at(&mut buffer[..step], done)?;
        hasher.update(&buffer[..step]);
        done += step as u64;
        progress(done);
    }
    Ok(Sha256Digest(hasher.finalize().into()))
}

/// Bytes moved at a time: large enough for a disk, small beside a decoder.
pub(crate) const COPY_BUFFER: usize = 64 * 1024;

/// The smaller of what is left and what a buffer holds.
pub(crate) fn step(left: u64, buffer: usize) -> usize {
    usize::try_from(left).map_or(buffer, |left| left.min(buffer))
}

/// Bytes that go on as zeros to a multiple of the block size.
#[derive(Clone, Copy)]
pub(crate) struct Padded<'a> {
    bytes: &'a dyn ReadAt,
    size: u64,
}

impl<'a> Padded<'a> {
    pub(crate) fn new(bytes: &'a dyn ReadAt) -> io::Result<Self> {
        let size = bytes.size()?;
        size.checked_next_multiple_of(BLOCK_SIZE)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(Self { bytes, size })
    }

    /// Zero bytes added to what is really there.
    pub(crate) fn padding(&self) -> u64 {
        self.size.next_multiple_of(BLOCK_SIZE) - self.size
    }
}

impl ReadAt for Padded<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.size()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let real = step(self.size.saturating_sub(offset), buf.len());
        buf[real..].fill(0);
        self.bytes.read_exact_at(&mut buf[..real], offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size + self.padding())
    }
}

impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        file_size(self)
    }
}

impl Target for File {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, data, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let source = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(source);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for std::sync::Arc<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

// A block device says 0 in its metadata; only its end tells its size.
fn file_size(mut file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        file.seek(SeekFrom::End(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_image_reads_as_padded_with_zeros() {
        let image = vec![7_u8; 5000];
        let padded = Padded::new(&image).unwrap();
        assert_eq!(padded.size().unwrap(), 8192);
        assert_eq!(padded.padding(), 3192);
        let mut tail = [1; 4096];
        padded.read_exact_at(&mut tail, 4096).unwrap();
        assert_eq!(tail[..904], [7; 904]);
        assert_eq!(tail[904..], [0; 3192]);
        assert!(padded.read_exact_at(&mut tail, 4097).is_err());
        let mut whole = image.clone();
        whole.resize(8192, 0);
        let expected = Sha256Digest(Sha256::digest(&whole).into());
        assert_eq!(hash(&image, 8192, &mut |_| ()).unwrap(), expected);
    }

    #[test]
    fn foreign_offsets_do_not_overflow() {
        let image = vec![0_u8; 4096];
        let mut buf = [0; 16];
        assert!(image.read_exact_at(&mut buf, u64::MAX).is_err());
        assert!(
            Padded::new(&image)
                .unwrap()
                .read_exact_at(&mut buf, u64::MAX - 3)
                .is_err()
        );
    }
}
