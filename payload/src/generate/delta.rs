use super::{GenerateError, Options, Progress};
use crate::storage::Image;
use crate::write::Summary;
use std::io::Write;

/// Writes a delta payload.
pub fn write_delta(
    _old: &[Image],
    new: &[Image],
    options: &Options,
    progress: &dyn Progress,
    out: &mut impl Write,
) -> Result<Summary, GenerateError> {
    super::write_full(new, options, progress, out)
}
