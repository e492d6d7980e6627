use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};

use super::{Failed, SILENCE};
use crate::error::HttpError;

/// Part of a file on its way: so many bytes, in pieces.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    skip: u64,
    left: u64,
    length: u64,
}

impl Body {
    pub(super) fn new(incoming: Incoming, skip: u64, length: u64) -> Self {
        Self {
            incoming,
            skip,
            left: length,
            length,
        }
    }

    /// The next piece; none when all bytes came.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        while self.left > 0 {
            let Some(mut piece) = frame(&mut self.incoming).await? else {
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
pub(super) async fn read_whole(mut incoming: Incoming, max_length: u64) -> Result<Vec<u8>, Failed> {
    let expected = incoming.size_hint().exact();
    if expected.is_some_and(|length| length > max_length) {
        return Err(HttpError::TooLong(max_length).into());
    }
    let mut bytes = Vec::new();
    while let Some(piece) = frame(&mut incoming).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > max_length {
            return Err(HttpError::TooLong(max_length).into());
        }
    }
    Ok(bytes)
}

async fn frame(incoming: &mut Incoming) -> Result<Option<Bytes>, HttpError> {
    loop {
        let next = tokio::time::timeout(SILENCE, incoming.frame());
        match next.await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(error))) => return Err(HttpError::Connection(error.into())),
            Ok(None) => return Ok(None),
            Err(_) => return Err(HttpError::TimedOut(SILENCE)),
        }
    }
}

/// The smaller of a length and a count.
fn cut(length: usize, count: u64) -> usize {
    usize::try_from(count).map_or(length, |count| count.min(length))
}
