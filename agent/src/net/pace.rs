use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::time::Instant;

use crate::error::HttpError;

/// How slow a server may be. One that is slower is given up and asked again; whoever lets bytes drip would otherwise hold
/// a device in one answer for as long as he likes.
///
/// Only the time that is spent waiting for the network counts, not what a slow disk takes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long it may be silent, before its answer and within it.
    pub silence: Duration,
    /// The time over which a body's bytes are counted, again and again.
    pub span: Duration,
    /// Bytes that must come in each span, unless the body ends before.
    pub bytes: u64,
}

impl Default for Pace {
    /// 512 bytes a second over a minute: less than half of what the slowest GPRS carries in one slot (9.05 kbit/s in
    /// coding scheme CS-1; 3GPP TS 43.064).
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            span: Duration::from_secs(60),
            bytes: 60 * 512,
        }
    }
}

/// Counts what comes of one body.
#[derive(Debug)]
pub(super) struct Meter {
    pace: Pace,
    waited: Duration,
    got: u64,
}

impl Meter {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            waited: Duration::ZERO,
            got: 0,
        }
    }

    /// The next bytes of a body; none at its end.
    pub(super) async fn next(&mut self, incoming: &mut Incoming) -> Result<Option<Bytes>, HttpError> {
        let mut silent = Duration::ZERO;
        loop {
            let patience = self.pace.silence.saturating_sub(silent);
            let patience = patience.min(self.pace.span.saturating_sub(self.waited));
            let began = Instant::now();
            let next = tokio::time::timeout(patience, incoming.frame()).await;
            let waited = began.elapsed();
            silent = silent.saturating_add(waited);
            self.waited = self.waited.saturating_add(waited);
            let data = match next {
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) => return Err(HttpError::Connection(error.into())),
                Ok(None) => return Ok(None),
                Err(_) if silent >= self.pace.silence => return Err(HttpError::TimedOut(self.pace.silence)),
                Err(_) => Bytes::new(),
            };
            self.count(data.len() as u64)?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), HttpError> {
        self.got = self.got.saturating_add(bytes);
        if self.waited < self.pace.span {
            return Ok(());
        }
        if self.got < self.pace.bytes {
            return Err(HttpError::TooSlow {
                bytes: self.got,
                time: self.pace.span,
            });
        }
        (self.waited, self.got) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_span_by_span() {
        let mut meter = Meter::new(Pace {
            silence: Duration::from_secs(9),
            span: Duration::from_secs(10),
            bytes: 100,
        });
        let mut after = |seconds, bytes| {
            meter.waited += Duration::from_secs(seconds);
            meter.count(bytes)
        };
        // What came in one span does not help the next one.
        after(9, 1_000).unwrap();
        after(1, 0).unwrap();
        after(9, 99).unwrap();
        let slow = after(1, 0);
        assert!(
            matches!(slow, Err(HttpError::TooSlow { bytes: 99, .. })),
            "{slow:?}"
        );
    }
}
