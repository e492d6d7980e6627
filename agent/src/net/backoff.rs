use std::time::Duration;

use jiff::Timestamp;

use super::{Failed, RetryAfter};
use crate::edge::Edge;
use crate::error::HttpError;

/// The first wait; each further one doubles.
const FIRST: Duration = Duration::from_millis(500);

/// Tries without any progress before giving up.
pub const TRIES: u32 = 6;

/// A server that asks for more patience than this ends the pass.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits between tries: longer every time, with jitter, as long as the server asks, and not for ever.
pub struct Backoff<'a> {
    edge: &'a dyn Edge,
    most: u32,
    tries: u32,
    /// Bytes since the last failure, and how many of them are progress.
    got: u64,
    enough: u64,
}

impl<'a> Backoff<'a> {
    /// No try yet, of at most `most` without progress. Progress is `enough` bytes in one try: who sends one byte and
    /// breaks off, again and again, must not be asked for ever.
    pub fn new(edge: &'a dyn Edge, most: u32, enough: u64) -> Self {
        Self {
            edge,
            most,
            tries: 0,
            got: 0,
            enough,
        }
    }

    /// So many bytes came; when they are enough, patience begins anew.
    pub fn progress(&mut self, bytes: u64) {
        self.got = self.got.saturating_add(bytes);
        if self.got >= self.enough {
            self.tries = 0;
        }
    }

    /// Waits for the next try; returns the error when there shall be none.
    pub async fn wait(&mut self, failed: Failed) -> Result<(), HttpError> {
        self.tries = self.tries.saturating_add(1);
        self.got = 0;
        if !may_pass(&failed.error) || self.tries >= self.most {
            return Err(failed.error);
        }
        let asked = failed.retry_after.map(|asked| delay(asked, self.edge.now()));
        let wait = match asked {
            Some(asked) if asked > LONGEST => return Err(HttpError::Busy(asked)),
            Some(asked) => asked,
            None => self.jitter(FIRST.saturating_mul(1 << (self.tries - 1).min(16))),
        };
        self.edge.sleep(wait).await;
        Ok(())
    }

    /// Between half and all of it, so that devices which failed together do not come back together.
    fn jitter(&self, wait: Duration) -> Duration {
        let mut byte = [0; 1];
        // Without randomness the wait is merely regular.
        let _ = self.edge.fill(&mut byte);
        (wait / 2).saturating_add(wait / 2 * u32::from(byte[0]) / 255)
    }
}

fn may_pass(error: &HttpError) -> bool {
    match error {
        HttpError::Connection(_)
        | HttpError::TimedOut(_)
        | HttpError::TooSlow { .. }
        | HttpError::Truncated { .. } => true,
        // RFC 9110: request timeout, too many requests, and the server's own faults.
        HttpError::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
        HttpError::Address | HttpError::Busy(_) | HttpError::TooLong(_) | HttpError::Range(_) => false,
    }
}

fn delay(asked: RetryAfter, now: Timestamp) -> Duration {
    match asked {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::At(moment) => Duration::try_from(moment.duration_since(now)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Mutex;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::error::Error;

    const ENOUGH: u64 = 1000;

    /// Draws one byte for ever and writes down how long it was asked to wait.
    struct Recorder {
        draw: u8,
        waits: Mutex<Vec<Duration>>,
    }

    impl Edge for Recorder {
        fn now(&self) -> Timestamp {
            "2026-11-20T12:00:00Z".parse().unwrap()
        }
        fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
            bytes.fill(self.draw);
            Ok(())
        }
        fn zone(&self) -> TimeZone {
            TimeZone::UTC
        }
        fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            self.waits.lock().unwrap().push(time);
            Box::pin(std::future::ready(()))
        }
    }

    fn status(status: u16, retry_after: Option<RetryAfter>) -> Failed {
        Failed {
            error: HttpError::Status { status, detail: None },
            retry_after,
        }
    }

    fn run(draw: u8, failures: impl IntoIterator<Item = Failed>) -> (Vec<Duration>, Option<HttpError>) {
        let recorder = Recorder {
            draw,
            waits: Mutex::default(),
        };
        let mut backoff = Backoff::new(&recorder, TRIES, ENOUGH);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = failures
            .into_iter()
            .find_map(|failed| runtime.block_on(backoff.wait(failed)).err());
        (recorder.waits.into_inner().unwrap(), ended)
    }

    #[test]
    fn waits_grow_and_end() {
        let (waits, ended) = run(255, (0..100).map(|_| status(503, None)));
        assert_eq!(waits.len(), 5);
        assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2), "{waits:?}");
        assert!(matches!(ended, Some(HttpError::Status { status: 503, .. })));
    }

    #[test]
    fn jitter_spreads_over_half_of_the_wait() {
        let (shortest, _) = run(0, [status(503, None)]);
        let (longest, _) = run(255, [status(503, None)]);
        assert_eq!(shortest[0] * 2, longest[0]);
    }

    #[test]
    fn the_server_is_obeyed_up_to_a_minute() {
        let soon = RetryAfter::Delay(Duration::from_secs(7));
        assert_eq!(run(0, [status(429, Some(soon))]).0, [Duration::from_secs(7)]);
        let at = RetryAfter::At("2026-11-20T12:00:09Z".parse().unwrap());
        assert_eq!(run(0, [status(503, Some(at))]).0, [Duration::from_secs(9)]);
        let late = RetryAfter::Delay(Duration::from_secs(3600));
        let (waits, ended) = run(0, [status(503, Some(late))]);
        assert!(waits.is_empty());
        assert!(matches!(ended, Some(HttpError::Busy(asked)) if asked == Duration::from_secs(3600)));
    }

    #[test]
    fn patience_begins_anew_when_enough_came_and_not_before() {
        let tries = |bytes| {
            let recorder = Recorder {
                draw: 0,
                waits: Mutex::default(),
            };
            let mut backoff = Backoff::new(&recorder, TRIES, ENOUGH);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut tries = 0;
            while tries < 100 && runtime.block_on(backoff.wait(status(503, None))).is_ok() {
                tries += 1;
                backoff.progress(bytes);
            }
            tries
        };
        assert_eq!(tries(ENOUGH), 100);
        assert_eq!(tries(ENOUGH - 1), TRIES - 1);
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        for code in [400, 401, 403, 404, 410, 416] {
            assert!(run(0, [status(code, None)]).1.is_some(), "{code}");
        }
    }
}
