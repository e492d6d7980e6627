//! How long the server waits for the other side.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long the other side may take, since whoever takes his time takes a connection from somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the start of a connection, or the end of the answer before, to the end of a request's head.
    pub head: Duration,
    /// For a message's body, and a second more for every 8 KiB that it announces.
    pub message: Duration,
    /// For uploads and answers, which may be long.
    pub pace: Pace,
}

/// Bytes that must go through within each span of waiting for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time over which they are counted.
    pub span: Duration,
    /// How many.
    pub bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            message: Duration::from_secs(10),
            // What devices ask of servers: 512 bytes a second over a minute, half of the slowest GPRS.
            pace: Pace {
                span: Duration::from_secs(60),
                bytes: 60 * 512,
            },
        }
    }
}

impl Patience {
    /// For a message of so many bytes.
    pub fn of_message(&self, announced: u64) -> Duration {
        self.message
            .saturating_add(Duration::from_secs(announced / (8 << 10)))
    }
}

/// Sees to it that the pace is kept. Only a wait opens its window, so what we ourselves take counts against nobody.
#[derive(Debug)]
pub struct Watch {
    pace: Pace,
    window: Option<Pin<Box<Sleep>>>,
    got: u64,
}

impl Watch {
    /// A watch over one direction of one connection.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            window: None,
            got: 0,
        }
    }

    /// So many bytes went through.
    pub fn progress(&mut self, bytes: usize) {
        self.got = self.got.saturating_add(bytes as u64);
        if self.got >= self.pace.bytes {
            self.rest();
        }
    }

    /// There is nothing to wait for.
    pub fn rest(&mut self) {
        self.window = None;
        self.got = 0;
    }

    /// Ready when too little came while we waited.
    pub fn poll_given_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let span = self.pace.span;
        let window = self.window.get_or_insert_with(|| {
            self.got = 0;
            Box::pin(sleep(span))
        });
        window.as_mut().poll(context)
    }
}
