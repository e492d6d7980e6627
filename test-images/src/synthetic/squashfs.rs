//! A squashfs whose data and tables are all stored as they are, and whose files begin on 4 KiB blocks.
//!
//! Images on devices keep files on whole blocks, which is what lets a delta find them again; squashfs packs them end to
//! end. So the first file is put on a block boundary, and every file here is whole blocks long.

use std::io::{Cursor, Read, Seek, Write};
use std::path::Path;

use backhand::compression::{CompressionAction, CompressionOptions, Compressor, Gzip};
use backhand::kind::Kind;
use backhand::{BackhandError, FilesystemCompressor, FilesystemWriter, NodeHeader, SuperBlock};

/// Who wrote the filesystem, for people.
pub const WRITER: &str = "squashfs, stored uncompressed, by the backhand crate";

/// Every file's time: 2009-01-01, as AOSP's `build_image.py` gives its images.
const EPOCH: u32 = 1_230_768_000;
const BLOCK: usize = 4096;

/// A file that is made only when it is written.
pub struct File<'a> {
    /// Where, relative to the root.
    pub path: String,
    /// Whether it may be executed.
    pub executable: bool,
    /// Its content, without padding.
    pub content: Box<dyn FnOnce() -> Vec<u8> + 'a>,
}

/// Writes a filesystem; says how many bytes it takes.
pub fn write(files: Vec<File<'_>>, time: u32, out: impl Write + Seek) -> Result<u64, BackhandError> {
    let mut writer = FilesystemWriter::default();
    writer.set_kind(Kind::new_v4(&Stored));
    // The kernel must know the compressor's number; no block uses it.
    let options = Gzip {
        compression_level: 9,
        window_size: 15,
        strategies: 0,
    };
    let compressor = FilesystemCompressor::new(Compressor::Gzip, Some(CompressionOptions::Gzip(options)))?;
    writer.set_compressor(compressor);
    writer.set_time(time);
    writer.set_root_mode(0o755);
    writer.set_kib_padding((BLOCK / 1024) as u32);
    for file in files {
        let header = |permissions| NodeHeader {
            permissions,
            uid: 0,
            gid: 0,
            mtime: EPOCH,
        };
        if let Some(folder) = Path::new(&file.path).parent() {
            writer.push_dir_all(folder, header(0o755))?;
        }
        let permissions = if file.executable { 0o755 } else { 0o644 };
        writer.push_file(Lazy::new(file.content), &file.path, header(permissions))?;
    }
    writer.write(out).map(|(_, length)| length)
}

/// Makes no block smaller, so that each is stored as it is and marked so.
struct Stored;

impl CompressionAction for Stored {
    type Error = BackhandError;
    type Compressor = Compressor;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;

    fn decompress(&self, _: &[u8], _: &mut Vec<u8>, compressor: Compressor) -> Result<(), BackhandError> {
        Err(BackhandError::UnsupportedCompression(format!("{compressor:?}")))
    }

    /// Longer than it was: the writer then keeps the original.
    fn compress(&self, bytes: &[u8], _: FilesystemCompressor, _: u32) -> Result<Vec<u8>, BackhandError> {
        Ok(vec![0; bytes.len() + 1])
    }

    /// What stands between the superblock and the first file: zeros up to a block boundary. The superblock's flag for
    /// options stays unset, so nobody reads them.
    fn compression_options(
        &self,
        _: &mut SuperBlock,
        _: &Kind,
        _: FilesystemCompressor,
    ) -> Result<Option<Vec<u8>>, BackhandError> {
        Ok(Some(vec![0; BLOCK - SUPERBLOCK]))
    }
}

/// Bytes of a squashfs 4.0 superblock.
const SUPERBLOCK: usize = 96;

enum Lazy<'a> {
    Unmade(Option<Box<dyn FnOnce() -> Vec<u8> + 'a>>),
    Made(Cursor<Vec<u8>>),
}

impl<'a> Lazy<'a> {
    fn new(make: Box<dyn FnOnce() -> Vec<u8> + 'a>) -> Self {
        Self::Unmade(Some(make))
    }
}

impl Read for Lazy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Self::Unmade(make) = self {
            let mut content = make.take().map(|make| make()).unwrap_or_default();
            content.resize(content.len().next_multiple_of(BLOCK), b'\n');
            *self = Self::Made(Cursor::new(content));
        }
        match self {
            Self::Made(content) => content.read(buffer),
            Self::Unmade(_) => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use backhand::{FilesystemReader, InnerNode};

    use super::*;

    #[test]
    fn files_come_back_and_stand_on_blocks() {
        let contents: Vec<Vec<u8>> = [1, 4096, 5000, 131_072, 200_000]
            .iter()
            .enumerate()
            .map(|(index, size)| vec![b'a' + index as u8; *size])
            .collect();
        let files = contents.iter().enumerate().map(|(index, content)| File {
            path: format!("lib/{index}/file"),
            executable: index == 0,
            content: Box::new(move || content.clone()),
        });
        let mut image = Cursor::new(Vec::new());
        let length = write(files.collect(), 1, &mut image).unwrap();
        let image = image.into_inner();
        assert_eq!((image.len() as u64, length % 4096), (length, 0));
        for content in &contents {
            let block = image.chunks(BLOCK).position(|block| block[0] == content[0]);
            let start = block.unwrap() * BLOCK;
            assert_eq!(&image[start..start + content.len()], content.as_slice());
        }

        // Read by the crate's own compressor: no block may need it, since gzip is not built in.
        let reader = FilesystemReader::from_reader(Cursor::new(image)).unwrap();
        let mut found = 0;
        for node in reader.files() {
            let InnerNode::File(file) = &node.inner else {
                continue;
            };
            let index: usize = node
                .fullpath
                .iter()
                .nth(2)
                .unwrap()
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            let mut bytes = Vec::new();
            reader.file(file).reader().read_to_end(&mut bytes).unwrap();
            assert!(bytes.starts_with(&contents[index]));
            assert!(bytes[contents[index].len()..].iter().all(|byte| *byte == b'\n'));
            assert_eq!(node.header.permissions, if index == 0 { 0o755 } else { 0o644 });
            found += 1;
        }
        assert_eq!(found, contents.len());
    }
}
