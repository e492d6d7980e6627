//! The thread that writes, and what the decoding thread hands it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use millet_protocol::BLOCK_SIZE;

use super::patch::NewBytes;
use super::{Checkpoint, Event, Fault, Halt};
use crate::format::{Extent, size_of};
use crate::storage::{COPY_BUFFER, Target, step};

/// Buffers between decoding and writing: half a megabyte in all, so that neither waits for every single write.
const BUFFERS: usize = 8;

enum Order<'a> {
    /// The bytes that follow belong here.
    To(&'a [Extent]),
    Bytes(Vec<u8>),
    /// An operation is complete; so many bytes of blobs are used then.
    Done(u64),
    Sync(Checkpoint),
}

/// The decoding thread's end.
pub(super) struct Orders<'a> {
    to: SyncSender<Order<'a>>,
    spare: Receiver<Vec<u8>>,
    halt: &'a Halt,
}

/// The writing thread's end.
pub(super) struct Writing<'a> {
    orders: Receiver<Order<'a>>,
    spare: Sender<Vec<u8>>,
}

/// Both ends.
pub(super) fn orders<'a>(halt: &'a Halt) -> (Orders<'a>, Writing<'a>) {
    let (to, orders) = sync_channel(BUFFERS);
    let (give, spare) = channel();
    for _ in 0..BUFFERS {
        // Both ends are here: this cannot fail.
        let _ = give.send(Vec::new());
    }
    (Orders { to, spare, halt }, Writing { orders, spare: give })
}

impl<'a> Orders<'a> {
    /// Begins an operation that writes `destination`.
    pub(super) fn begin(&self, destination: &'a [Extent]) -> Result<PieceWriter<'a, '_>, Fault> {
        self.send(Order::To(destination))?;
        Ok(PieceWriter {
            orders: self,
            left: size_of(destination),
            buffer: Vec::new(),
        })
    }

    /// Ends an operation.
    pub(super) fn done(&self, blob_offset: u64) -> Result<(), Fault> {
        self.send(Order::Done(blob_offset))
    }

    /// Asks for everything so far to be made durable.
    pub(super) fn sync(&self, at: Checkpoint) -> Result<(), Fault> {
        self.send(Order::Sync(at))
    }

    fn send(&self, order: Order<'a>) -> Result<(), Fault> {
        self.to.send(order).map_err(|_| gone())
    }
}

// The writing thread ended and has said why.
fn gone() -> Fault {
    Fault::Storage(io::ErrorKind::BrokenPipe.into())
}

/// Takes an operation's bytes, and hands them on in buffers.
pub(super) struct PieceWriter<'a, 'b> {
    orders: &'b Orders<'a>,
    left: u64,
    buffer: Vec<u8>,
}

impl PieceWriter<'_, '_> {
    /// Hands on what is buffered. Everything must have been taken.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::take(&mut self.buffer);
        self.orders.send(Order::Bytes(full))
    }
}

impl NewBytes for PieceWriter<'_, '_> {
    fn left(&self) -> u64 {
        self.left
    }

    /// More than fits is the caller's mistake and ends as a storage error.
    fn write(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        if data.len() as u64 > self.left {
            return Err(Fault::Storage(io::ErrorKind::WriteZero.into()));
        }
        self.orders.halt.check()?;
        self.left -= data.len() as u64;
        while !data.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer = self.orders.spare.recv().map_err(|_| gone())?;
                self.buffer.reserve_exact(COPY_BUFFER);
            }
            let (now, later) = data.split_at(data.len().min(COPY_BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            data = later;
            if self.buffer.len() == COPY_BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }
}

impl Writing<'_> {
    /// Obeys until the decoding thread has ended.
    ///
    /// By reference: the decoding thread shall not find this end closed before it is known why.
    pub(super) fn run(&self, target: &mut dyn Target, events: &Sender<Event>) -> io::Result<()> {
        let mut extents: &[Extent] = &[];
        // Bytes of the first extent that are written.
        let mut done = 0;
        for order in &self.orders {
            // Nobody listens to events or wants buffers when the update ended early.
            match order {
                Order::To(destination) => (extents, done) = (destination, 0),
                Order::Bytes(mut buffer) => {
                    let mut data = buffer.as_slice();
                    while let ([extent, rest @ ..], false) = (extents, data.is_empty()) {
                        let size = extent.blocks * BLOCK_SIZE;
                        let (now, later) = data.split_at(step(size - done, data.len()));
                        target.write_all_at(now, extent.start * BLOCK_SIZE + done)?;
                        done += now.len() as u64;
                        data = later;
                        if done == size {
                            (extents, done) = (rest, 0);
                        }
                    }
                    buffer.clear();
                    let _ = self.spare.send(buffer);
                }
                Order::Done(blob_offset) => {
                    let _ = events.send(Event::Written(blob_offset));
                }
                Order::Sync(at) => {
                    target.sync()?;
                    let _ = events.send(Event::Durable(at));
                }
            }
        }
        Ok(())
    }
}
