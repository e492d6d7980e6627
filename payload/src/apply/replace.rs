//! REPLACE, REPLACE_BZ, REPLACE_XZ and REPLACE_ZSTD.

use std::io::{self, Read};

use bzip2::read::BzDecoder;
use lzma_rust2::XzReader;

use super::patch::NewBytes;
use super::write::PieceWriter;
use super::zstd::ZstdFrames;
use super::{DecodeError, Fault};
use crate::format::{Coder, XZ_MEMORY_KIB};

pub(super) fn replace(coder: Coder, blob: &[u8], writer: &mut PieceWriter) -> Result<(), Fault> {
    match coder {
        Coder::Plain if blob.len() as u64 == writer.left() => writer.write(blob),
        Coder::Plain => Err(Fault::Decode(DecodeError::Length("data"))),
        Coder::Bzip2 => decode(&mut BzDecoder::new(blob), writer),
        Coder::Xz => decode(&mut XzReader::new_mem_limit(blob, false, XZ_MEMORY_KIB), writer),
        Coder::Zstd => decode(&mut ZstdFrames::new(blob), writer),
    }
}

fn decode(decoder: &mut dyn Read, writer: &mut PieceWriter) -> Result<(), Fault> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = match decoder.read(&mut buffer) {
            Ok(0) if writer.left() == 0 => return Ok(()),
            Ok(read) if read > 0 && read as u64 <= writer.left() => read,
            Ok(_) => return Err(Fault::Decode(DecodeError::Length("data"))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Fault::Decode(DecodeError::Stream {
                    stream: "data",
                    error,
                }));
            }
        };
        writer.write(&buffer[..read])?;
    }
}
