use jiff::Timestamp;

use crate::canonical::CanonicalError;
use crate::instant::tuf;

/// Why metadata is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not metadata of that role.
    #[error("the {role} metadata is malformed")]
    Form {
        /// The role.
        role: String,
        /// What is wrong with it.
        source: FormError,
    },
    /// Longer than anybody needs it.
    #[error("the {role} metadata has {length} bytes, more than the {limit} that are accepted")]
    TooLong {
        /// The role.
        role: String,
        /// Bytes that came.
        length: u64,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// Another length than the role above it says.
    #[error("the {role} metadata has {actual} bytes where signed metadata says {expected}")]
    Length {
        /// The role.
        role: String,
        /// Bytes that signed metadata names.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// Another hash than the role above it says.
    #[error("the {role} metadata does not have the {algorithm} that signed metadata names")]
    Hash {
        /// The role.
        role: String,
        /// The hash function.
        algorithm: String,
    },
    /// Too few different keys have signed it.
    #[error("the {role} metadata has {valid} valid signatures of the {threshold} that it needs")]
    Signatures {
        /// The role.
        role: String,
        /// Different keys that signed it validly.
        valid: u64,
        /// Different keys that are needed.
        threshold: u64,
    },
    /// Another version than the one that was asked for.
    #[error("the {role} metadata is version {actual} where version {expected} belongs")]
    Version {
        /// The role.
        role: String,
        /// The version that belongs there.
        expected: u64,
        /// The version that came.
        actual: u64,
    },
    /// Older than what was trusted before.
    #[error("the {role} metadata goes back from version {trusted} to {offered}")]
    Rollback {
        /// The role.
        role: String,
        /// The version that is trusted.
        trusted: u64,
        /// The version that came.
        offered: u64,
    },
    /// A role that was listed is not any more.
    #[error("the snapshot metadata no longer lists {role}, which it listed in version {trusted}")]
    Vanished {
        /// The role.
        role: String,
        /// The version that was listed.
        trusted: u64,
    },
    /// Its time is over.
    #[error("the {role} metadata expired at {}, and it is {}", tuf::write(*expires), tuf::write(*now))]
    Expired {
        /// The role.
        role: String,
        /// When it expired.
        expires: Timestamp,
        /// The instant it was judged at.
        now: Timestamp,
    },
    /// The clock is so far past the newest root that nothing signed can be valid for it.
    #[error(
        "it is {}, more than a year after the newest root expired ({}), and so beyond everything that is signed: the \
         clock is wrong, or nobody has signed this repository since",
        tuf::write(*now),
        tuf::write(*expires)
    )]
    BeyondEveryExpiry {
        /// When the newest root expired.
        expires: Timestamp,
        /// The instant it was judged at.
        now: Timestamp,
    },
    /// The snapshot does not list a role that is delegated to.
    #[error("the snapshot metadata does not list {role}")]
    NotListed {
        /// The role.
        role: String,
    },
    /// Nobody above delegates to it.
    #[error("{parent} does not delegate to {role}")]
    NotDelegated {
        /// The role.
        role: String,
        /// The role that should delegate to it.
        parent: String,
    },
    /// A step before the one it depends on, or after the one that ended it.
    #[error("{role} metadata cannot be taken now: {reason}")]
    Order {
        /// The role.
        role: String,
        /// What comes first.
        reason: &'static str,
    },
    /// The repository does not have a file that signed metadata names.
    #[error("the repository does not have {file}")]
    Unavailable {
        /// The file's name.
        file: String,
    },
}

/// What is wrong with the form of a metadata file.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// Not JSON, a field missing or of another type, or a name twice in one object.
    #[error("not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// What is signed has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Another role's metadata.
    #[error("its type is {actual:?}, not {expected:?}")]
    Type {
        /// The type that belongs there.
        expected: &'static str,
        /// The type that it names.
        actual: String,
    },
    /// Written to another specification.
    #[error("it is written to specification {0:?}; this version reads 1.x")]
    Specification(String),
    /// Versions begin at 1.
    #[error("its version is 0")]
    VersionZero,
    /// A file is listed by a version that no file can have.
    #[error("it lists version 0 of {0}")]
    ListedZero(String),
    /// More signatures or keys than anybody needs: each costs the time to check it.
    #[error("it has {count} {what}, more than the {limit} that are accepted")]
    TooMany {
        /// Signatures, or keys of a role.
        what: String,
        /// How many there are.
        count: usize,
        /// How many are accepted.
        limit: usize,
    },
    /// Nothing would be needed to sign for that role.
    #[error("it lets {role} be signed by {keys} keys with a threshold of {threshold}")]
    Threshold {
        /// The role.
        role: String,
        /// Keys that are named.
        keys: usize,
        /// The threshold.
        threshold: u64,
    },
    /// A name that must be unique is not.
    #[error("it names {0} twice")]
    Twice(String),
    /// One of the four top-level roles is not there.
    #[error("it does not name the role {0}")]
    NoRole(&'static str),
    /// A delegated role's name that would pass for another file or role.
    #[error("{0:?} cannot be a delegated role's name")]
    RoleName(String),
    /// A delegation has either patterns or hash prefixes.
    #[error("the delegation to {0} has not exactly one of paths and path_hash_prefixes")]
    Paths(String),
    /// The timestamp describes `snapshot.json` and nothing else.
    #[error("it describes something other than snapshot.json alone")]
    TimestampMeta,
    /// A list of hashes that is there but empty would check nothing.
    #[error("it lists no hash for {0}")]
    NoHash(String),
}
