//! SOURCE_COPY and ZERO.

use super::Fault;
use super::extents::ExtentReader;
use super::patch::NewBytes;
use super::write::PieceWriter;
use crate::format::Source;
use crate::storage::step;

/// Copies and hashes in one pass: no decoder sees the bytes, and a slot that was written wrongly never boots.
pub(super) fn copy(reader: &ExtentReader, from: &Source, writer: &mut PieceWriter) -> Result<(), Fault> {
    let sha256 = reader.stream(|piece| writer.write(piece))?;
    if sha256 != from.sha256 {
        return Err(Fault::Hash("source"));
    }
    Ok(())
}

pub(super) fn zero(writer: &mut PieceWriter) -> Result<(), Fault> {
    let zeros = [0; 16 * 1024];
    while writer.left() > 0 {
        writer.write(&zeros[..step(writer.left(), zeros.len())])?;
    }
    Ok(())
}
