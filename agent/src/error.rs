use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millet_payload::{ApplyError, HeadError};
use millet_protocol::{Build, Model, NameError, PartitionName, Slot};
use millet_signing::TrustError;

/// What can go wrong on a device. Each names the operation and its subject and holds its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// Read, write, open, …
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of ours does not have its form.
    #[error("{} is not {what}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The configuration does not have its form.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A program that an update would need, found missing before one began.
    #[error("{}: {setting} names the program {program:?}, which {reason}", path.display())]
    NoProgram {
        /// The configuration file.
        path: PathBuf,
        /// The setting, such as `boot.reboot`.
        setting: &'static str,
        /// As configured.
        program: String,
        /// Why it cannot be started.
        reason: String,
    },
    /// Another agent works here.
    #[error("another millet-agent (process {holder}) holds the state directory {}", directory.display())]
    Held {
        /// Its process number, as it wrote it.
        holder: String,
        /// The directory.
        directory: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system gives no randomness")]
    Randomness {
        /// What it said.
        source: io::Error,
    },
    /// Snapshots instead of a second copy.
    #[error(
        "this is a Virtual A/B device ({evidence}): it has no second copy to write, so millet-agent refuses it; its own \
         update_engine takes what `millet payload zip` makes"
    )]
    VirtualAb {
        /// What gave it away.
        evidence: String,
    },
    /// Nobody says which slot runs.
    #[error("{} does not say which slot runs: no androidboot.slot_suffix", cmdline.display())]
    NoSlot {
        /// The kernel command line.
        cmdline: PathBuf,
    },
    /// Boot control did not keep what was written.
    #[error("boot control in {} does not read back as it was written", path.display())]
    NotKept {
        /// The misc partition.
        path: PathBuf,
    },
    /// The network, or what answers there.
    #[error("cannot {operation} {url}")]
    Http {
        /// Get, post, …
        operation: &'static str,
        /// Where.
        url: String,
        /// What happened.
        source: HttpError,
    },
    /// The metadata does not verify.
    #[error("the repository at {repository} is not trusted{}", hint(source))]
    Trust {
        /// Its address.
        repository: String,
        /// Which check failed.
        source: TrustError,
    },
    /// The configuration names a model that nobody signed for.
    #[error("the repository at {repository} has no model {model}; {known}: set `model` to this device's")]
    NoModel {
        /// Its address.
        repository: String,
        /// As configured.
        model: Model,
        /// The models that it has, in a sentence.
        known: String,
    },
    /// Signed metadata does not name something that it must.
    #[error("the repository does not name {what}")]
    Missing {
        /// The target.
        what: String,
    },
    /// A signed document does not have its form, or not the bytes that metadata names.
    #[error("{path} is not a valid {what}")]
    Document {
        /// Target path.
        path: String,
        /// Manifest, rollout, …
        what: &'static str,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The payload's head is refused.
    #[error("the payload {path} is refused")]
    Head {
        /// Target path.
        path: String,
        /// Why.
        source: HeadError,
    },
    /// The payload cannot be applied.
    #[error("the payload {path} cannot be applied")]
    Apply {
        /// Target path.
        path: String,
        /// Why.
        source: ApplyError,
    },
    /// A partition cannot be read or written.
    #[error("cannot {operation} partition {partition} of slot {slot}")]
    Partition {
        /// Read, write, …
        operation: &'static str,
        /// The partition.
        partition: PartitionName,
        /// The slot.
        slot: Slot,
        /// What the system said.
        source: io::Error,
    },
    /// A command of the configuration failed.
    #[error("the command {command:?} {outcome}")]
    Command {
        /// As configured.
        command: String,
        /// How it ended.
        outcome: String,
    },
    /// Nothing to go back to.
    #[error("slot {slot} cannot be booted: {reason}")]
    NoWayBack {
        /// The other slot.
        slot: Slot,
        /// Why.
        reason: String,
    },
    /// Only a confirmed build can be voted on.
    #[error("{what}")]
    NotConfirmed {
        /// What is missing, in a sentence.
        what: String,
    },
    /// A name given on the command line.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The build has no such feature.
    #[error("{build} has no entry {entry:?}; it has: {known}")]
    NoEntry {
        /// The build.
        build: Build,
        /// As given.
        entry: String,
        /// What there is.
        known: String,
    },
}

/// What happened on the network.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none.
    #[error("it is not an http or https address")]
    Address,
    /// No connection, or it broke.
    #[error("the connection failed")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("nothing came for {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// Bytes came, but too few.
    #[error("only {bytes} bytes came in {} seconds", .time.as_secs())]
    TooSlow {
        /// Bytes that came.
        bytes: u64,
        /// The time they took.
        time: Duration,
    },
    /// An answer that is neither success nor expected.
    #[error("the server answered {status}{}", detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}")))]
    Status {
        /// HTTP status code.
        status: u16,
        /// The server's own words (RFC 9457), cut to a line.
        detail: Option<String>,
    },
    /// The server asks for more patience than one pass has.
    #[error("the server is busy and asks to come back in {} seconds", .0.as_secs())]
    Busy(Duration),
    /// More bytes than signed metadata allows.
    #[error("the answer is longer than {0} bytes")]
    TooLong(u64),
    /// Other bytes than asked for.
    #[error("the server answered with the range {0:?}, which was not asked for")]
    Range(String),
    /// The file ended early, again and again.
    #[error("the answer ended after {got} of {expected} bytes")]
    Truncated {
        /// Bytes that came.
        got: u64,
        /// Bytes promised.
        expected: u64,
    },
}

impl Error {
    /// For `map_err` on a file operation.
    pub fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }

    /// The error and its sources, on one line: for talk about what the agent goes on after.
    pub fn chain(&self) -> String {
        let errors = self.errors().map(ToString::to_string);
        errors.collect::<Vec<_>>().join(": ")
    }

    /// How long the server asked to be left alone, if that is why the pass ended.
    pub fn busy(&self) -> Option<Duration> {
        self.errors().find_map(|error| match error.downcast_ref() {
            Some(HttpError::Busy(asked)) => Some(*asked),
            _ => None,
        })
    }

    fn errors(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let first: &(dyn std::error::Error + 'static) = self;
        std::iter::successors(Some(first), |error| error.source())
    }

    /// Whether it may go away by itself: the network, not the content.
    pub fn is_network(&self) -> bool {
        matches!(
            self,
            Self::Http { .. }
                | Self::Apply {
                    source: ApplyError::Blobs(_),
                    ..
                }
        )
    }
}

fn hint(source: &TrustError) -> &'static str {
    match source {
        TrustError::Expired { .. } => ": its metadata has expired, or this device's clock is wrong",
        _ => "",
    }
}
