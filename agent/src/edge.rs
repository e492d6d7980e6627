//! What comes in from outside: the clock, randomness, the zone, and the passing of time. Tests bring their own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::Error;

/// The clock, randomness and zone of a device.
pub trait Edge: Send + Sync {
    /// The clock, as it stands.
    fn now(&self) -> Timestamp;
    /// Fills `bytes` with what nobody can guess.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;
    /// The zone in which people are told the time.
    fn zone(&self) -> TimeZone;
    /// Waits.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The real ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Edge for System {
    #[expect(
        clippy::disallowed_methods,
        reason = "the agent's one place that asks for the time"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the agent's one place that asks for randomness"
    )]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(bytes).map_err(|source| Error::Randomness {
            source: std::io::Error::other(source),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the agent's one place that asks for the zone"
    )]
    fn zone(&self) -> TimeZone {
        TimeZone::system()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(time))
    }
}
