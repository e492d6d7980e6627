use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::output;

/// How long something may take before it is said what it may be waiting for.
const SOON: Duration = Duration::from_secs(2);

/// Does something that may need a person's hand, and says so if it takes long.
pub fn hint_after<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    let hint = format!("waiting for {name}: does its token wait for a touch?");
    let watcher = thread::spawn(move || {
        if waiting.recv_timeout(SOON) == Err(RecvTimeoutError::Timeout) {
            output::say(&hint);
        }
    });
    let result = work();
    drop(done);
    let _ = watcher.join();
    result
}
