use hyper::body::{Body as _, Bytes, Incoming};

use super::pace::Meter;
use super::{Failed, Pace};
use crate::error::HttpError;

/// Part of a file on its way: so many bytes, in pieces.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    meter: Meter,
    skip: u64,
    left: u64,
    length: u64,
}

impl Body {
    pub(super) fn new(incoming: Incoming, pace: Pace, skip: u64, length: u64) -> Self {
        Self {
            incoming,
            meter: Meter::new(pace),
            skip,
            left: length,
            length,
        }
    }

    /// The next piece; none when all bytes came.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        while self.left > 0 {
            let Some(mut piece) = self.meter.next(&mut self.incoming).await? else {
                return Err(HttpError::Truncated {
                    got: self.length - self.left,
                    expected: self.length,
                });
            };
            let passed = cut(piece.len(), self.skip);
            let _ = piece.split_to(passed);
            self.skip = self.skip.saturating_sub(passed as u64);
            piece.truncate(cut(piece.len(), self.left));
            self.left = self.left.saturating_sub(piece.len() as u64);
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

/// All of a small body; refused as soon as it is known to be longer than `max_length`.
pub(super) async fn read_whole(
    mut incoming: Incoming,
    pace: Pace,
    max_length: u64,
) -> Result<Vec<u8>, Failed> {
    let expected = incoming.size_hint().exact();
    if expected.is_some_and(|length| length > max_length) {
        return Err(HttpError::TooLong(max_length).into());
    }
    let mut meter = Meter::new(pace);
    let mut bytes = Vec::new();
    while let Some(piece) = meter.next(&mut incoming).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > max_length {
            return Err(HttpError::TooLong(max_length).into());
        }
    }
    Ok(bytes)
}

/// The smaller of a length and a count.
fn cut(length: usize, count: u64) -> usize {
    usize::try_from(count).map_or(length, |count| count.min(length))
}
