//! PUFFDIFF: patches for files that hold deflate, by its tokens.

mod containers;
mod locate;
mod pairs;
mod stream;
#[cfg(test)]
mod tests;

use super::{GenerateError, diff, encode};
use crate::puff::Container;
use locate::Deflate;

pub(super) use locate::announces_deflate;
pub(super) use pairs::{Limits, Piece, pieces};

/// A PUFFDIFF blob that makes `new` of `old`; `None` if there is no deflate in `new` that is not in `old` as well, or
/// none that a puff brings back exactly. Takes about ten bytes of memory for each of `old` and of `new`.
fn of_deflates(
    old: &[u8],
    mut old_deflates: Vec<Deflate>,
    new: &[u8],
    mut new_deflates: Vec<Deflate>,
) -> Result<Option<Vec<u8>>, GenerateError> {
    stream::drop_common(old, &mut old_deflates, new, &mut new_deflates);
    stream::keep_exact(new, &mut new_deflates);
    if new_deflates.is_empty() {
        return Ok(None);
    }
    let old = stream::puffed(old, &old_deflates)?;
    let new = stream::puffed(new, &new_deflates)?;
    let patch = encode::patch(&diff::diff(&old.bytes, &new.bytes)?, new.bytes.len())?;
    Ok(Container::to_bytes(&old.layout, &new.layout, &patch))
}
