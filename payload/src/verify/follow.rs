//! Hashes a file in a thread of its own, close behind what another thread writes to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use millet_protocol::Sha256Digest;
use sha2::{Digest, Sha256};

use crate::storage::{COPY_BUFFER, ReadAt, step};

/// Starts to hash the first `size` bytes of `file`, which are written in any order, each once.
pub(super) fn follow<'scope>(
    scope: &'scope Scope<'scope, '_>,
    file: Arc<File>,
    size: u64,
) -> io::Result<(Written, Hashing<'scope>)> {
    let ready = Arc::new(Ready::default());
    let written = Written {
        ready: ready.clone(),
        prefix: 0,
        beyond: BTreeMap::new(),
    };
    let thread = std::thread::Builder::new()
        .name("hash".to_owned())
        .spawn_scoped(scope, move || hash_behind(&file, size, &ready))?;
    Ok((written, Hashing(thread)))
}

/// How many bytes from the start are final, and a bell for who waits for more.
#[derive(Default)]
struct Ready {
    bytes: Mutex<u64>,
    more: Condvar,
}

/// Hears what was written. When it is dropped, everything was.
pub(super) struct Written {
    ready: Arc<Ready>,
    prefix: u64,
    /// Starts and ends of what lies behind a gap.
    beyond: BTreeMap<u64, u64>,
}

impl Written {
    pub(super) fn add(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        if offset != self.prefix {
            self.beyond.insert(offset, end);
            return;
        }
        self.prefix = end;
        while let Some(end) = self.beyond.remove(&self.prefix) {
            self.prefix = end;
        }
        self.announce(self.prefix);
    }

    fn announce(&self, bytes: u64) {
        *self.ready.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        self.ready.more.notify_one();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.announce(u64::MAX);
    }
}

/// The thread that hashes.
pub(super) struct Hashing<'scope>(ScopedJoinHandle<'scope, io::Result<Sha256Digest>>);

impl Hashing<'_> {
    /// Waits for the hash.
    pub(super) fn sha256(self) -> io::Result<Sha256Digest> {
        self.0
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn hash_behind(file: &File, size: u64, ready: &Ready) -> io::Result<Sha256Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER];
    let mut done = 0;
    while done < size {
        let step = step(size - done, buffer.len());
        // Whole buffers only: a wake-up for every block would cost more than it hashes.
        let bytes = ready.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            ready
                .more
                .wait_while(bytes, |bytes| *bytes < done + step as u64)
                .unwrap_or_else(PoisonError::into_inner),
        );
        ReadAt::read_exact_at(file, &mut buffer[..step], done)?;
        hasher.update(&buffer[..step]);
        done += step as u64;
    }
    Ok(Sha256Digest(hasher.finalize().into()))
}
