//! The thread that leads: it reads and checks blobs and sources while the operations before are decoded and written.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::thread::Scope;
use std::time::Duration;

use super::decode::{self, Task};
use super::{
    ApplyError, CHECKPOINT_BYTES, Checkpoint, Fault, Observer, Open, clear_footer, open_target, verity, write,
};
use crate::storage::{Slots, Target};

/// Operations that wait for the decoding thread, at most.
const TASKS: usize = 16;

/// Bytes of blobs in memory at a time, unless a single one is longer.
const BLOBS_UNDERWAY: u64 = 512 << 10;

/// How long nothing may happen before the observer is asked again, and, if it wants to stop, before what is being
/// decoded is left: short operations come to their end, and a checkpoint behind them is taken.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether the decoding thread shall leave what it is doing.
#[derive(Default)]
pub(super) struct Halt(AtomicBool);

impl Halt {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Asked wherever a payload could make an operation long.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Fault::Stopped),
            false => Ok(()),
        }
    }
}

/// What the other threads tell the one that leads them.
pub(super) enum Event {
    /// Another operation is written; so many bytes of blobs are used.
    Written(u64),
    /// Everything before it survives a power cut.
    Durable(Checkpoint),
    Failed(ApplyError),
}

/// Leads: reads and checks blobs and sources while the operations before are decoded and written.
pub(super) struct Driver<'a> {
    /// The operation to hand on next.
    pub(super) next: Checkpoint,
    /// Bytes handed on since the last checkpoint was asked for.
    unsynced: u64,
    /// Bytes of blobs that are handed on and not used yet.
    underway: u64,
    /// The observer has asked for the end.
    stopping: bool,
    blobs: &'a mut dyn Read,
    observer: &'a mut dyn Observer,
}

/// The leader's ends of what binds it to the other threads.
struct Threads<'a, 'b> {
    tasks: SyncSender<Task<'a>>,
    heard: Receiver<Event>,
    halt: &'b Halt,
}

impl<'a> Driver<'a> {
    pub(super) fn new(blobs: &'a mut dyn Read, observer: &'a mut dyn Observer) -> Self {
        Self {
            next: Checkpoint::default(),
            unsynced: 0,
            underway: 0,
            stopping: false,
            blobs,
            observer,
        }
    }
}

impl Driver<'_> {
    pub(super) fn partition(
        &mut self,
        open: &Open,
        from: Checkpoint,
        slots: &dyn Slots,
    ) -> Result<(), ApplyError> {
        let name = &open.partition.name;
        let mut target = open_target(open.partition, slots)?;
        self.operations(open, from, &mut *target)?;
        verity::write(open.partition, &mut *target, &mut || self.stops())?;
        clear_footer(&mut *target, open.partition.new.size).map_err(ApplyError::storage_of(name))?;
        target.sync().map_err(ApplyError::storage_of(name))?;
        self.unsynced = 0;
        self.observer
            .checkpoint(self.next)
            .map_err(ApplyError::Checkpoint)
    }

    fn operations(
        &mut self,
        open: &Open,
        from: Checkpoint,
        target: &mut dyn Target,
    ) -> Result<(), ApplyError> {
        let partition = open.partition;
        let halt = &Halt::default();
        let (events, heard) = channel();
        std::thread::scope(|scope| {
            let (tasks, to_decode) = sync_channel(TASKS);
            let (orders, writing) = write::orders(halt);
            let to_writer = events.clone();
            spawn(scope, "write", move || {
                if let Err(error) = writing.run(target, &to_writer) {
                    let _ = to_writer.send(Event::Failed(ApplyError::storage_of(&partition.name)(error)));
                }
            })?;
            spawn(scope, "decode", move || {
                if let Err((index, fault)) = decode::run(to_decode, open.source.as_deref(), orders, halt) {
                    let _ = events.send(Event::Failed(open.failed(index, fault)));
                }
            })?;
            let threads = Threads { tasks, heard, halt };
            self.hand_on(open, from, &threads)?;
            // Without more tasks the threads come to an end, and with them the events.
            let Threads { tasks, heard, .. } = threads;
            drop(tasks);
            while let Some(event) = self.wait(&heard, halt) {
                self.hear(event)?;
            }
            match halt.check() {
                Ok(()) => Ok(()),
                Err(_) => Err(ApplyError::Stopped),
            }
        })
    }

    fn hand_on<'a>(
        &mut self,
        open: &Open<'a>,
        from: Checkpoint,
        threads: &Threads<'a, '_>,
    ) -> Result<(), ApplyError> {
        let operations = &open.partition.operations;
        for (index, operation) in operations.iter().enumerate() {
            if self.next.operation < from.operation {
                self.next.operation += 1;
                continue;
            }
            self.next.blob_offset = self.next.blob_offset.max(from.blob_offset);
            threads.heard.try_iter().try_for_each(|event| self.hear(event))?;
            if self.stops() {
                self.checkpoint(threads)?;
                return Err(ApplyError::Stopped);
            }
            let length = operation.blob().map_or(0, |blob| blob.length);
            while self.underway > 0 && self.underway + length > BLOBS_UNDERWAY {
                self.hear_one(threads)?;
            }
            let blob = match self.fetch(length) {
                Ok(blob) => blob,
                Err(error) => {
                    self.checkpoint(threads)?;
                    return Err(ApplyError::Blobs(error));
                }
            };
            match open.check(operation, &blob, threads.halt, &mut || self.stops()) {
                Ok(()) => {}
                Err(Fault::Stopped) => {
                    self.checkpoint(threads)?;
                    return Err(ApplyError::Stopped);
                }
                Err(fault) => return Err(open.failed(index, fault)),
            }
            self.next.operation += 1;
            self.next.blob_offset += length;
            self.underway += length;
            let task = Task::Operation {
                index,
                operation,
                blob,
                after: self.next,
            };
            self.send(task, threads)?;
            self.unsynced += operation.destination_size();
            // The last operation's checkpoint waits for verity data and footer.
            if self.unsynced >= CHECKPOINT_BYTES && index + 1 < operations.len() {
                self.unsynced = 0;
                self.send(Task::Sync(self.next), threads)?;
            }
        }
        Ok(())
    }

    /// Whether the observer wants to stop, now or before.
    fn stops(&mut self) -> bool {
        self.stopping |= self.observer.stop();
        self.stopping
    }

    fn fetch(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut blob = Vec::new();
        // The head was refused if this were more than LONGEST_BLOB; growing step by step would take twice as much.
        blob.reserve_exact(usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?);
        let read = (&mut *self.blobs).take(length).read_to_end(&mut blob)?;
        if read as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(blob)
    }

    /// Waits until everything handed on is durable and the observer has heard of it.
    fn checkpoint(&mut self, threads: &Threads) -> Result<(), ApplyError> {
        self.send(Task::Sync(self.next), threads)?;
        while self.hear_one(threads)? != Some(self.next) {}
        Ok(())
    }

    fn send<'a>(&mut self, mut task: Task<'a>, threads: &Threads<'a, '_>) -> Result<(), ApplyError> {
        loop {
            task = match threads.tasks.try_send(task) {
                Ok(()) => return Ok(()),
                // Room comes with the end of an operation, of which an event tells.
                Err(TrySendError::Full(task)) => task,
                // The decoding thread ended early. Somebody has said why.
                Err(TrySendError::Disconnected(task)) => task,
            };
            self.hear_one(threads)?;
        }
    }

    /// Waits for an event; returns the checkpoint that it brought, if it did.
    fn hear_one(&mut self, threads: &Threads) -> Result<Option<Checkpoint>, ApplyError> {
        let event = self.wait(&threads.heard, threads.halt);
        let event = event.ok_or(ApplyError::Stopped)?;
        let durable = match &event {
            Event::Durable(at) => Some(*at),
            _ => None,
        };
        self.hear(event)?;
        Ok(durable)
    }

    /// The next event; `None` when the other threads have ended.
    fn wait(&mut self, heard: &Receiver<Event>, halt: &Halt) -> Option<Event> {
        loop {
            match heard.recv_timeout(PATIENCE) {
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.stops() => halt.set(),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn hear(&mut self, event: Event) -> Result<(), ApplyError> {
        match event {
            Event::Written(blob_offset) => {
                self.underway = self.next.blob_offset - blob_offset;
                self.observer.written(blob_offset);
                Ok(())
            }
            Event::Durable(at) => self.observer.checkpoint(at).map_err(ApplyError::Checkpoint),
            Event::Failed(error) => Err(error),
        }
    }
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), ApplyError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map(drop)
        .map_err(ApplyError::Threads)
}
