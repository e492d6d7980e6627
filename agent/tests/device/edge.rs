use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use millet_agent::Error;
use millet_agent::edge::Edge;

/// A clock that stands until it is moved, and randomness that counts. Sleeping moves the clock.
pub struct TestEdge {
    now: Mutex<Timestamp>,
    drawn: Mutex<u8>,
}

impl TestEdge {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: Mutex::new(now),
            drawn: Mutex::new(0),
        }
    }

    pub fn advance(&self, time: SignedDuration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Edge for TestEdge {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let mut drawn = self.drawn.lock().unwrap();
        *drawn = drawn.wrapping_add(1);
        bytes.fill(*drawn);
        Ok(())
    }

    fn zone(&self) -> TimeZone {
        TimeZone::UTC
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.advance(SignedDuration::try_from(time).unwrap());
        Box::pin(tokio::task::yield_now())
    }
}
