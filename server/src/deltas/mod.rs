//! Delta workers: take a job from the database, make the delta from two full payloads, prove it, have it listed.

mod make;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::metadata_writer::{MetadataWriter, WriteError};
use crate::objects::{ObjectError, Objects};
use crate::store::{BuildRow, Commit, FinishedDelta, JobRow, Store, StoreError};

pub use make::MakeError;

/// Makes deltas in this process.
#[derive(Debug)]
pub struct Worker {
    /// The database.
    pub store: Store,
    /// The payloads.
    pub objects: Objects,
    /// Lists what is done.
    pub writer: Arc<MetadataWriter>,
    /// Its name among the workers of a database.
    pub holder: String,
    /// A folder with room for both builds' images twice.
    pub work: PathBuf,
    /// Rung when there may be a job.
    pub bell: Arc<Notify>,
}

/// Why a job was not done this time.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// A build was dropped since.
    #[error("the build {0} is no longer there")]
    NoBuild(String),
    /// A file could not be moved between the objects and the work folder.
    #[error("{operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The delta could not be made or proven.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The thread that made it died.
    #[error("the thread that makes the delta ended early")]
    Thread(#[from] tokio::task::JoinError),
    /// A device would rather take the full payload.
    #[error("the delta would be {delta} bytes, no less than the full payload's {full}")]
    NoGain {
        /// Bytes of the delta.
        delta: u64,
        /// Bytes of the full payload.
        full: u64,
    },
    /// Another worker has the job now.
    #[error("another worker took the job")]
    Taken,
    /// The metadata could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

/// A worker that says nothing for so long has died.
const LEASE_TIME: SignedDuration = SignedDuration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A delta that could not be made so often cannot be made.
const ATTEMPTS: u64 = 3;
/// A full disk, a database that is away, a server that is restarted: such things pass. The waits between so many attempts
/// come to an hour.
const ATTEMPTS_IN_TROUBLE: u64 = 8;
/// After the first attempt; twice as long after each further one.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(30);

impl DeltaError {
    /// How often a job may be tried that ended so.
    fn attempts(&self) -> u64 {
        match self {
            Self::NoBuild(_) | Self::NoGain { .. } => 1,
            Self::Make(_) | Self::Thread(_) | Self::Objects(ObjectError::Missing(_)) => ATTEMPTS,
            Self::File { .. } | Self::Taken | Self::Write(_) | Self::Store(_) | Self::Objects(_) => {
                ATTEMPTS_IN_TROUBLE
            }
        }
    }
}

/// When a job is tried again that has been tried so often.
fn next_attempt(now: Timestamp, attempts: u64) -> Timestamp {
    let doublings = attempts.saturating_sub(1).min(ATTEMPTS_IN_TROUBLE);
    (0..doublings).fold(later(now, RETRY_AFTER), |at, _| later(at, at.duration_since(now)))
}

impl Worker {
    /// Takes one job and does it. False when there was none.
    pub async fn run_one(&self) -> Result<bool, StoreError> {
        match self.writer.check_keys().await {
            Ok(()) => {}
            Err(WriteError::Store(error)) => return Err(error),
            // It could not be listed. The job waits, and is no failure.
            Err(_) => return Ok(false),
        }
        let now = self.writer.now();
        let Some(job) = self
            .store
            .take_job(&self.holder, now, later(now, LEASE_TIME))
            .await?
        else {
            return Ok(false);
        };
        // A worker that is killed by its job, again and again, must not take the server with it for ever. Whether it was the
        // job or somebody who restarted the server, a death does not say: it counts as trouble that may pass.
        if job.attempts > ATTEMPTS_IN_TROUBLE {
            let error = job
                .error
                .clone()
                .unwrap_or_else(|| "the worker died making it".to_owned());
            self.store.give_up_job(&job, &error, None).await?;
            return Ok(true);
        }
        let (from, to) = (&job.key.from, &job.key.to);
        tracing::info!(model = %job.key.model, %from, %to, "making a delta");
        match self.keeping(&job, self.make(&job)).await {
            Ok(delta) => {
                tracing::info!(model = %job.key.model, %from, %to, bytes = delta.size, "the delta is published");
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(model = %job.key.model, %from, %to, %reason, "the delta was not made");
                let now = self.writer.now();
                let again = (job.attempts < error.attempts()).then(|| next_attempt(now, job.attempts));
                self.store.give_up_job(&job, &reason, again).await?;
            }
        }
        Ok(true)
    }

    /// Works until it is dropped.
    pub async fn run(&self) {
        loop {
            match self.run_one().await {
                Ok(true) => {}
                Ok(false) => drop(tokio::time::timeout(Duration::from_secs(2), self.bell.notified()).await),
                Err(error) => {
                    tracing::error!(reason = %chain(&error), "the delta worker cannot reach its jobs");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            }
        }
    }

    /// Does something while telling the database, again and again, that the job is in hand.
    async fn keeping<T>(
        &self,
        job: &JobRow,
        doing: impl Future<Output = Result<T, DeltaError>>,
    ) -> Result<T, DeltaError> {
        tokio::pin!(doing);
        loop {
            tokio::select! {
                done = &mut doing => return done,
                () = tokio::time::sleep(HEARTBEAT) => {
                    let now = self.writer.now();
                    if !self.store.keep_job(job, later(now, LEASE_TIME)).await? {
                        return Err(DeltaError::Taken);
                    }
                }
            }
        }
    }

    async fn make(&self, job: &JobRow) -> Result<FinishedDelta, DeltaError> {
        let from = self.build(job, &job.key.from).await?;
        let to = self.build(job, &job.key.to).await?;
        let folder = tempfile::tempdir_in(&self.work).map_err(file_error("make a folder in", &self.work))?;
        let task = make::Task {
            from_payload: self.fetch(&from, folder.path().join("from.payload")).await?,
            to_payload: self.fetch(&to, folder.path().join("to.payload")).await?,
            from: from.manifest,
            to: to.manifest,
            folder: folder.path().to_owned(),
        };
        let made = tokio::task::spawn_blocking(move || make::delta(&task)).await??;
        if made.delta.size >= to.payload_size {
            return Err(DeltaError::NoGain {
                delta: made.delta.size,
                full: to.payload_size,
            });
        }
        let mut file = tokio::fs::File::open(&made.path)
            .await
            .map_err(file_error("open", &made.path))?;
        self.objects.receive(made.delta.sha256, &mut file).await?;
        let commit = Commit {
            finished: vec![(job.clone(), made.delta)],
            ..Commit::default()
        };
        self.writer.begin().await?.commit(commit, &[]).await?;
        Ok(made.delta)
    }

    async fn build(&self, job: &JobRow, build: &millet_protocol::Build) -> Result<BuildRow, DeltaError> {
        let row = self.store.build(&job.key.model, build).await?;
        row.ok_or_else(|| DeltaError::NoBuild(build.to_string()))
    }

    /// Copies a full payload into the work folder.
    async fn fetch(&self, build: &BuildRow, path: PathBuf) -> Result<PathBuf, DeltaError> {
        let mut bytes = self.objects.open(build.payload_sha256, None).await?;
        let mut file = tokio::fs::File::create(&path)
            .await
            .map_err(file_error("create", &path))?;
        tokio::io::copy(&mut bytes, &mut file)
            .await
            .map_err(file_error("copy a payload to", &path))?;
        Ok(path)
    }
}

/// An error and all that caused it, in one line: it goes into a log or a table.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(now)
}

fn file_error(operation: &'static str, path: &std::path::Path) -> impl Fn(std::io::Error) -> DeltaError {
    let path = path.to_owned();
    move |source| DeltaError::File {
        operation,
        path: path.clone(),
        source,
    }
}
