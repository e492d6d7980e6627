//! How long the server waits for the other side.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How long the other side may take, since whoever takes his time takes a connection from somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the start of a connection, or the end of the answer before, to the end of a request's head.
    pub head: Duration,
    /// For a message's body, and a second more for every 8 KiB that it announces and may have.
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
            // Devices ask 512 bytes a second of servers, half of the slowest GPRS. At that pace a step of 124 KB, the
            // longest in which the system takes an answer (see `listen`), lasts four minutes.
            pace: Pace {
                span: Duration::from_secs(300),
                bytes: 30 << 10,
            },
        }
    }
}

impl Patience {
    /// For a message that announces so many bytes, which the caller bounds.
    pub fn of_message(&self, announced: u64) -> Duration {
        self.message
            .saturating_add(Duration::from_secs(announced / (8 << 10)))
    }
}

/// Sees to it that the pace is kept. Only time counts in which we waited for the other side: what we ourselves take, for a
/// slow disk for instance, is nobody's fault.
#[derive(Debug)]
pub struct Watch {
    pace: Pace,
    /// Of the span, what the waits so far have left.
    left: Duration,
    wait: Option<Pin<Box<Sleep>>>,
    got: u64,
}

impl Watch {
    /// A watch over one direction of one connection.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            left: pace.span,
            wait: None,
            got: 0,
        }
    }

    /// So many bytes went through, which ends a wait.
    pub fn progress(&mut self, bytes: usize) {
        if let Some(wait) = self.wait.take() {
            self.left = wait.deadline().saturating_duration_since(Instant::now());
        }
        self.got = self.got.saturating_add(bytes as u64);
        if self.got >= self.pace.bytes {
            self.rest();
        }
    }

    /// There is nothing to wait for.
    pub fn rest(&mut self) {
        *self = Self::new(self.pace);
    }

    /// Waits. Ready when too little came while we did.
    pub fn poll_given_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(self.left)));
        wait.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const PACE: Pace = Pace {
        span: Duration::from_secs(60),
        bytes: 100,
    };

    /// Whether the watch gives up when it is made to wait for so long.
    async fn gives_up(watch: &mut Watch, seconds: u64) -> bool {
        let wait = poll_fn(|context| watch.poll_given_up(context));
        timeout(Duration::from_secs(seconds), wait).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_count_together_until_enough_has_come() {
        let mut watch = Watch::new(PACE);
        assert!(!gives_up(&mut watch, 50).await);
        watch.progress(99);
        assert!(!gives_up(&mut watch, 9).await);
        watch.progress(1);
        assert!(!gives_up(&mut watch, 50).await);
        watch.progress(99);
        assert!(gives_up(&mut watch, 11).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_we_take_ourselves_counts_against_nobody() {
        let mut watch = Watch::new(PACE);
        assert!(!gives_up(&mut watch, 1).await);
        watch.progress(1);
        advance(Duration::from_secs(600)).await;
        assert!(!gives_up(&mut watch, 58).await);
        assert!(gives_up(&mut watch, 2).await);
    }
}
