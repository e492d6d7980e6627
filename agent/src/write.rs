//! The machine's largest effect: a payload is fetched, checked, and written to the other slot while it still comes in.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millet_machine::{Event, Payload, Progress, Source, Update};
use millet_payload::{
    ApplyError, Checkpoint, Head, LONGEST_HEAD, Observer, ReadAt, Slots, apply, check_sources, clear_footer,
    hash,
};
use millet_protocol::{ErrorCode, PartitionEntry, PayloadKind, Sha256Digest, Slot};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::agent::{Age, Agent, Flow, in_thread};
use crate::download::{self, Part, Pieces};
use crate::error::{Error, HttpError};
use crate::screen::Screen;
use crate::slots::{Pair, Storage};
use crate::state::Phase;

/// Bytes copied at a time between slots.
const COPY: usize = 128 * 1024;

/// What the writing thread tells: so much is durable, and it waits until that is written down.
type Durable = (Progress, std::sync::mpsc::Sender<io::Result<()>>);

/// What ended a turn of the loop that watches the writing.
enum Turn {
    Durable(Durable),
    Ended(Result<(), WriteError>),
    TimeToLook,
}

/// Why writing ended early.
#[derive(Debug)]
enum WriteError {
    Apply(ApplyError),
    Other(Error),
    /// A partition that the payload leaves out is in neither slot.
    LeftOut,
}

impl Agent {
    /// Writes the update's target, from a checkpoint on.
    pub(crate) async fn write(&mut self, update: Update, from: Progress) -> Result<Flow, Error> {
        // An agent looks again before it installs, also when it takes up what an earlier process began.
        match self.look_at(&update, Age::Minute).await? {
            Flow::Event(Event::Go) => {}
            other => return Ok(other),
        }
        let Source::Payload(payload) = update.source.clone() else {
            return Ok(Flow::Event(Event::Refused(ErrorCode::PayloadRefused)));
        };
        self.enter(Phase::Downloading, &payload.path);
        let (url, head) = match self.head(&payload, &update).await {
            Ok(found) => found,
            Err(error) => return self.refusal(&payload, error),
        };
        if head.is_delta()
            && from == Progress::default()
            && let Err(error) = self.check_sources(Arc::clone(&head)).await?
        {
            return self.refusal(
                &payload,
                Error::Apply {
                    path: payload.path.clone(),
                    source: error,
                },
            );
        }
        let stop = Arc::new(AtomicBool::new(false));
        let part = Part {
            url,
            offset: head.blobs_offset().saturating_add(from.blob_offset),
            length: head.blobs_length().saturating_sub(from.blob_offset),
        };
        let (pieces, download) = download::start(&self.device.client, part);
        let (durable, mut heard) = mpsc::channel(1);
        let (ended, mut end) = oneshot::channel();
        let work = Work {
            head,
            from: Checkpoint {
                operation: from.operation,
                blob_offset: from.blob_offset,
            },
            pieces,
            storage: Arc::clone(&self.device.storage),
            target: update.target,
            partitions: update.identity.partitions.clone(),
            observer: Reporter {
                durable,
                stop: Arc::clone(&stop),
                screen: Arc::clone(&self.screen),
                state: self.device.state.clone(),
                total: 0,
                writing: false,
            },
        };
        std::thread::Builder::new()
            .name("write".to_owned())
            .spawn(move || ended.send(work.run()))
            .map_err(Error::file("start a thread for", self.device.state.path()))?;
        let mut looks = self.look_timer();
        let mut turned = None;
        let result = loop {
            let turn = tokio::select! {
                biased;
                Some(durable) = heard.recv() => Turn::Durable(durable),
                result = &mut end => Turn::Ended(result.unwrap_or(Err(WriteError::Apply(ApplyError::Stopped)))),
                _ = looks.tick() => Turn::TimeToLook,
            };
            match turn {
                Turn::Durable((progress, answer)) => {
                    let saved = self.step(Event::Checkpoint(progress));
                    let _ = answer.send(saved.map_err(io::Error::other));
                }
                Turn::Ended(result) => break result,
                Turn::TimeToLook => {
                    // Without a network nothing is known, and then what runs goes on until it needs to know.
                    if let Ok(Flow::Event(event @ (Event::Halt | Event::Begin(_)))) =
                        self.look_at(&update, Age::New).await
                    {
                        stop.store(true, Ordering::Relaxed);
                        // The thread may be waiting for a piece.
                        download.abort();
                        turned = Some(event);
                    }
                }
            }
        };
        if let Some(event) = turned {
            return Ok(Flow::Event(event));
        }
        match result {
            Ok(()) => Ok(Flow::Event(Event::Written {
                at: self.device.edge.now(),
            })),
            Err(WriteError::LeftOut) => {
                self.screen
                    .say("the payload leaves out a partition that this device does not have");
                Ok(Flow::Event(Event::Refused(ErrorCode::PayloadRefused)))
            }
            Err(WriteError::Other(error)) => Err(error),
            Err(WriteError::Apply(source)) => self.refusal(
                &payload,
                Error::Apply {
                    path: payload.path.clone(),
                    source,
                },
            ),
        }
    }

    /// Lock 1: the head has the SHA-256 that signed metadata names before anything in it is parsed, and what it makes is
    /// what the manifest names.
    async fn head(&self, payload: &Payload, update: &Update) -> Result<(String, Arc<Head>), Error> {
        let missing = || Error::Missing {
            what: payload.path.clone(),
        };
        let set = &self.look.as_ref().ok_or_else(missing)?.set;
        let (url, file) = self
            .device
            .repository
            .payload(set, &payload.path)
            .ok_or_else(missing)?;
        let refuse = |reason: String| Error::Document {
            path: payload.path.clone(),
            what: "payload",
            source: reason.into(),
        };
        if payload.metadata_size > LONGEST_HEAD.min(file.length) {
            return Err(refuse(format!(
                "its head of {} bytes is too long",
                payload.metadata_size
            )));
        }
        let part = Part {
            url: url.clone(),
            offset: 0,
            length: payload.metadata_size,
        };
        let bytes = download::read(&self.device.client, &part).await?;
        // Here the hash of the head, then of each blob, then of each partition, stand in for TUF's hash of the whole file:
        // a payload is written while it comes in (deviation from TUF 1.0.33, section 5.7.3).
        if Sha256Digest(Sha256::digest(&bytes).into()) != payload.metadata_sha256 {
            return Err(refuse(
                "its head has another SHA-256 than signed metadata names".to_owned(),
            ));
        }
        let head = |source| Error::Head {
            path: payload.path.clone(),
            source,
        };
        let parsed = Head::parse(&bytes).map_err(head)?;
        parsed.check_against(&update.identity.partitions).map_err(head)?;
        if parsed.is_delta() && payload.kind == PayloadKind::Full {
            return Err(refuse("a full payload reads from the running slot".to_owned()));
        }
        let end = parsed.blobs_offset().saturating_add(parsed.blobs_length());
        if end > file.length {
            return Err(refuse(format!(
                "its blobs end at byte {end}, after the file's {} bytes",
                file.length
            )));
        }
        Ok((url, Arc::new(parsed)))
    }

    async fn check_sources(&self, head: Arc<Head>) -> Result<Result<(), ApplyError>, Error> {
        let pair = Pair::new(Arc::clone(&self.device.storage), self.machine.running());
        let screen = Arc::clone(&self.screen);
        in_thread(move || check_sources(&head, &pair, &mut |done, total| screen.advance(done, total))).await
    }

    /// Content that does not fit is the machine's business; a network or a disk that fails ends the pass.
    fn refusal(&self, payload: &Payload, error: Error) -> Result<Flow, Error> {
        let code = match &error {
            Error::Document { .. } | Error::Head { .. } => ErrorCode::PayloadRefused,
            Error::Apply { source, .. } => match source {
                ApplyError::HashMismatch { .. } => ErrorCode::HashMismatch,
                ApplyError::OtherSource { .. }
                | ApplyError::Refused { .. }
                | ApplyError::OtherCheckpoint { .. } => ErrorCode::PayloadRefused,
                // The full payload reads nothing of the running slot.
                ApplyError::Source { .. } if payload.kind == PayloadKind::Delta => ErrorCode::Storage,
                _ => return Err(error),
            },
            Error::Missing { .. }
            | Error::Http {
                source: HttpError::Status {
                    status: 404 | 410, ..
                },
                ..
            } if payload.kind == PayloadKind::Delta => ErrorCode::PayloadRefused,
            _ => return Err(error),
        };
        self.screen.say(&error.chain());
        Ok(Flow::Event(Event::Refused(code)))
    }

    fn look_timer(&self) -> tokio::time::Interval {
        let polls = self
            .look
            .as_ref()
            .and_then(|look| look.rollout.as_ref())
            .map(|rollout| rollout.polls_seconds);
        let time = self.device.config.polls.every(polls);
        let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + time, time);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        timer
    }
}

/// Everything that the writing thread owns.
struct Work {
    head: Arc<Head>,
    from: Checkpoint,
    pieces: Pieces,
    storage: Arc<dyn Storage>,
    target: Slot,
    partitions: Vec<PartitionEntry>,
    observer: Reporter,
}

impl Work {
    fn run(mut self) -> Result<(), WriteError> {
        self.observer.total = self.head.blobs_length();
        let pair = Pair::new(Arc::clone(&self.storage), self.target.other());
        apply(&self.head, self.from, &mut self.pieces, &pair, &mut self.observer)
            .map_err(WriteError::Apply)?;
        let named: Vec<_> = self.head.partitions().map(|partition| &partition.name).collect();
        for partition in self
            .partitions
            .iter()
            .filter(|partition| !named.contains(&&partition.name))
        {
            self.complete(&pair, partition)?;
        }
        Ok(())
    }

    /// A partition that the payload leaves out: it is there already, or the running slot's copy is the one.
    fn complete(&self, pair: &Pair, partition: &PartitionEntry) -> Result<(), WriteError> {
        let fail = |operation, slot| {
            move |source| {
                WriteError::Other(Error::Partition {
                    operation,
                    partition: partition.name.clone(),
                    slot,
                    source,
                })
            }
        };
        let same = |bytes: &dyn ReadAt| matches!(hash(bytes, partition.size, &mut |_| ()), Ok(sha256) if sha256 == partition.sha256);
        let (running, target) = (self.target.other(), self.target);
        let mut to = pair
            .target(&partition.name, partition.size)
            .map_err(fail("open", target))?;
        if !same(
            &*self
                .storage
                .read(&partition.name, target)
                .map_err(fail("read", target))?,
        ) {
            let from = self
                .storage
                .read(&partition.name, running)
                .map_err(fail("read", running))?;
            if !same(&*from) {
                return Err(WriteError::LeftOut);
            }
            let mut buffer = vec![0; COPY];
            let mut done = 0;
            while done < partition.size {
                let step = usize::try_from(partition.size - done).map_or(COPY, |left| left.min(COPY));
                from.read_exact_at(&mut buffer[..step], done)
                    .map_err(fail("read", running))?;
                to.write_all_at(&buffer[..step], done)
                    .map_err(fail("write", target))?;
                done += step as u64;
            }
        }
        clear_footer(&mut *to, partition.size).map_err(fail("write", target))?;
        to.sync().map_err(fail("flush", target))
    }
}

/// Hears what the writing thread did, and passes it on.
struct Reporter {
    durable: mpsc::Sender<Durable>,
    stop: Arc<AtomicBool>,
    screen: Arc<dyn Screen>,
    state: crate::state::StateDirectory,
    total: u64,
    writing: bool,
}

impl Observer for Reporter {
    fn written(&mut self, blob_bytes_done: u64) {
        if !self.writing {
            self.writing = true;
            self.state.set_phase(Phase::Writing);
            self.screen.begin(Phase::Writing, "the other slot");
        }
        self.screen.advance(blob_bytes_done, self.total);
    }

    fn checkpoint(&mut self, at: Checkpoint) -> io::Result<()> {
        let progress = Progress {
            operation: at.operation,
            blob_offset: at.blob_offset,
        };
        let (answer, answered) = std::sync::mpsc::channel();
        let gone = || io::Error::other("the agent has gone");
        self.durable
            .blocking_send((progress, answer))
            .map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
