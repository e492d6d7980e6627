//! Zstandard frames one after another, as RFC 8878 (section 3) has them in one stream.

use std::io::{self, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::format::ZSTD_WINDOW;

/// Reads what a blob's frames hold. A frame that asks for a window above [`ZSTD_WINDOW`] or for a dictionary is refused,
/// and so is one that holds more or less than it declares.
pub(super) struct ZstdFrames<'a> {
    blob: &'a [u8],
    decoder: FrameDecoder,
    /// Inside a frame: what it has yielded so far.
    frame: Option<u64>,
}

impl<'a> ZstdFrames<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Self {
            blob,
            decoder,
            frame: None,
        }
    }

    /// Goes on to the next frame that holds something to decode; `false` when there is none.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.blob.is_empty() {
            match self.decoder.reset(&mut self.blob) {
                Ok(()) => {
                    self.frame = Some(0);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let rest = usize::try_from(length)
                        .ok()
                        .and_then(|length| self.blob.get(length..));
                    self.blob = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(false)
    }

    /// The end of a frame: its content size, where it declares one, must be what it held.
    fn end(&mut self, held: u64) -> io::Result<()> {
        self.frame = None;
        match self.decoder.content_size() {
            // Absent, or an empty frame.
            0 => Ok(()),
            declared if declared == held => Ok(()),
            declared => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame declares {declared} bytes and holds {held}"),
            )),
        }
    }
}

impl Read for ZstdFrames<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let Some(held) = self.frame else {
                if self.begin()? {
                    continue;
                }
                return Ok(0);
            };
            // What lies behind the window, or all of it once the last block is decoded.
            let read = self.decoder.read(buf)?;
            if read > 0 {
                self.frame = Some(held.saturating_add(read as u64));
                return Ok(read);
            }
            if self.decoder.is_finished() {
                self.end(held)?;
                continue;
            }
            // One at a time: a block makes at most 128 KiB beyond the window.
            self.decoder
                .decode_blocks(&mut self.blob, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(broken)?;
        }
    }
}

fn broken(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
