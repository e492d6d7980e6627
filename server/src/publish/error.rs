use jiff::Timestamp;
use millet_payload::HeadError;
use millet_protocol::{Build, Channel, ManifestError, PartitionName, Sequence, Sha256Digest};
use millet_signing::TrustError;

use crate::metadata_writer::WriteError;
use crate::objects::ObjectError;
use crate::store::StoreError;

/// Why a publication was refused. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not `root`, `targets` or `builds.<model>`.
    #[error("{0:?} is not a role that is published: root, targets or builds.<model>")]
    UnknownRole(String),
    /// A repository begins with both.
    #[error("this repository is empty and must begin with root and targets together")]
    Empty,
    /// Another repository's beginning.
    #[error("this repository has begun with another root")]
    OtherRoot,
    /// The signatures do not say what they should.
    #[error("the {role} metadata is not trusted")]
    NotTrusted {
        /// The role.
        role: String,
        /// What is wrong.
        source: TrustError,
    },
    /// Versions grow by one.
    #[error("the {role} metadata is version {offered} where version {expected} comes next")]
    Version {
        /// The role.
        role: String,
        /// The version that comes next.
        expected: u64,
        /// The version that was sent.
        offered: u64,
    },
    /// Devices would refuse it at once.
    #[error("the {role} metadata expired at {expires}")]
    Expired {
        /// The role.
        role: String,
        /// When.
        expires: Timestamp,
    },
    /// Root or targets gives an online role to other keys, or to more than one.
    #[error("{role} is not signed by this server's key alone")]
    OnlineKey {
        /// The role.
        role: String,
    },
    /// Devices look for a model's files in its folders only.
    #[error("targets delegates {role} with other paths than {expected}")]
    Paths {
        /// The role.
        role: String,
        /// The pattern that belongs there.
        expected: String,
    },
    /// A role that this server does not know.
    #[error("targets delegates {0:?}, which is not a role of a model")]
    ForeignRole(String),
    /// One of a model's three roles is not delegated.
    #[error("targets does not delegate {0}")]
    NotDelegated(String),
    /// Clients refuse a snapshot that loses a role.
    #[error("targets no longer delegates {0}, which devices would refuse as a step back")]
    Vanished(String),
    /// A snapshot must list every delegated role.
    #[error("targets delegates {0}, but its metadata was not sent")]
    NotSent(String),
    /// The stored file no longer verifies under the new keys.
    #[error("{role} was signed with keys that are no longer trusted; send it signed anew")]
    Orphaned {
        /// The role.
        role: String,
        /// What is wrong.
        source: TrustError,
    },
    /// Targets itself names no files.
    #[error("targets names the file {0}; files are named by builds.<model>")]
    ForeignTarget(String),
    /// A path that is neither a manifest nor a payload of the model.
    #[error("{0:?} is neither a manifest nor a payload of the model")]
    TargetPath(String),
    /// No SHA-256 in its hashes.
    #[error("{0} has no SHA-256")]
    NoSha256(String),
    /// It was not uploaded.
    #[error("{path} was not uploaded: the server has no {sha256}")]
    NotUploaded {
        /// The target path.
        path: String,
        /// Its SHA-256.
        sha256: Sha256Digest,
    },
    /// The upload has another length than the metadata says.
    #[error("{path} has {actual} bytes where the metadata says {expected}")]
    Length {
        /// The target path.
        path: String,
        /// What the metadata says.
        expected: u64,
        /// What was uploaded.
        actual: u64,
    },
    /// The manifest is not one.
    #[error("{path} is not a build manifest")]
    ManifestForm {
        /// The target path.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The manifest contradicts itself.
    #[error("the manifest {path} contradicts itself")]
    Manifest {
        /// The target path.
        path: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// The manifest is for another model or build than its path says.
    #[error("{path} holds the manifest of {found}")]
    OtherManifest {
        /// The target path.
        path: String,
        /// Whose manifest it is.
        found: String,
    },
    /// The payload that the manifest names is not among the files.
    #[error("the manifest {path} names the payload {payload:?}, which the metadata does not list")]
    PayloadNotListed {
        /// The manifest's path.
        path: String,
        /// The payload's path.
        payload: String,
    },
    /// The payload's head is not readable.
    #[error("{path} is not a payload")]
    Payload {
        /// The payload's path.
        path: String,
        /// What is wrong.
        source: HeadError,
    },
    /// The head is another than the manifest names.
    #[error("the head of {0} has another size or SHA-256 than its manifest says")]
    PayloadHead(String),
    /// The payload would make other partitions.
    #[error("{path} makes other partitions than its manifest lists")]
    PayloadPartitions {
        /// The payload's path.
        path: String,
        /// What is different.
        source: HeadError,
    },
    /// The payload ends before its last blob.
    #[error("{path} has {actual} bytes, but its blobs need {needed}")]
    PayloadShort {
        /// The payload's path.
        path: String,
        /// Bytes that its head asks for.
        needed: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// A build needs a payload that makes it from nothing.
    #[error("{0} is a delta; a build needs a full payload")]
    IsDelta(String),
    /// A full payload makes every partition.
    #[error("{path} does not make the partition {partition}")]
    PartitionMissing {
        /// The payload's path.
        path: String,
        /// The partition.
        partition: PartitionName,
    },
    /// Another build has the name.
    #[error("the build name {0} is taken by other content")]
    BuildTaken(Build),
    /// A promotion adds channels.
    #[error("{build} would lose its channel {channel}")]
    ChannelLost {
        /// The build.
        build: Build,
        /// The channel.
        channel: Channel,
    },
    /// Votes for an entry must not lose it.
    #[error("{build} would lose its entry {entry}")]
    EntryLost {
        /// The build.
        build: Build,
        /// The entry.
        entry: String,
    },
    /// Unique within a model.
    #[error("the sequence {sequence} of {build} is that of {other}")]
    SequenceTaken {
        /// The build.
        build: Build,
        /// Its sequence.
        sequence: Sequence,
        /// The build that has it.
        other: Build,
    },
    /// Devices of the channel would not take it.
    #[error("the sequence {sequence} of {build} is not above {newest}, the newest on channel {channel}")]
    SequenceNotGrowing {
        /// The build.
        build: Build,
        /// Its sequence.
        sequence: Sequence,
        /// The channel.
        channel: Channel,
        /// The newest sequence there.
        newest: Sequence,
    },
    /// Devices are installing it.
    #[error("{0} cannot be dropped while a rollout offers it")]
    OnOffer(Build),
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
