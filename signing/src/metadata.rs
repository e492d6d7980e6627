//! What each role signs (specification, sections 4.3 to 4.6).
//!
//! The structs hold what Millet reads, and every field that it does not know in `other`, so that reading a file and
//! signing its next version loses nothing. `_type` and `spec_version` are added by [`crate::sign`] and checked by
//! [`crate::verify`].

mod root;
mod targets;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use millet_protocol::Sha256Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

use crate::error::FormError;
use crate::instant::tuf;
use crate::role_name;

pub use root::{RoleKeys, Root};
pub use targets::{DelegatedRole, Delegations, TargetFile, Targets};

/// Fields that this version does not know.
pub type Other = BTreeMap<String, Value>;

/// How long each role's metadata is valid by default.
pub mod lifetime {
    use super::SignedDuration;

    const DAY: i64 = 24;

    /// Root, signed offline.
    pub const ROOT: SignedDuration = SignedDuration::from_hours(365 * DAY);
    /// Targets, signed offline.
    pub const TARGETS: SignedDuration = SignedDuration::from_hours(365 * DAY);
    /// `builds.<model>`, signed offline by release engineers.
    pub const BUILDS: SignedDuration = SignedDuration::from_hours(60 * DAY);
    /// `deltas.<model>`, signed online.
    pub const DELTAS: SignedDuration = SignedDuration::from_hours(7 * DAY);
    /// `rollouts.<model>`, signed online.
    pub const ROLLOUTS: SignedDuration = SignedDuration::from_hours(7 * DAY);
    /// Snapshot, signed online.
    pub const SNAPSHOT: SignedDuration = SignedDuration::from_hours(7 * DAY);
    /// Timestamp, signed online.
    pub const TIMESTAMP: SignedDuration = SignedDuration::from_hours(DAY);
}

/// Metadata of one type. The trait is closed: the four types of the specification are all there are.
pub trait Role: Serialize + DeserializeOwned + Clone + sealed::Sealed {
    /// `_type` in the file.
    const TYPE: &'static str;

    /// The file's version, from 1.
    fn version(&self) -> u64;

    /// When it stops being valid.
    fn expires(&self) -> jiff::Timestamp;

    /// Checks the rules of form that tie fields together.
    fn check(&self) -> Result<(), FormError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Root {}
    impl Sealed for super::Targets {}
    impl Sealed for super::Snapshot {}
    impl Sealed for super::Timestamp {}
}

/// Which version of a metadata file is current, and optionally its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetaFile {
    /// The version inside the file.
    pub version: u64,
    /// Bytes of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Hexadecimal digests by function, `sha256` or `sha512`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<BTreeMap<String, String>>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

impl MetaFile {
    /// A file by its version, length and SHA-256.
    pub fn of(version: u64, bytes: &[u8]) -> Self {
        Self {
            version,
            length: u64::try_from(bytes.len()).ok(),
            hashes: Some(BTreeMap::from([(
                "sha256".to_owned(),
                hex::encode(Sha256::digest(bytes)),
            )])),
            other: Other::new(),
        }
    }
}

/// `snapshot.json` (section 4.4): the current version of every targets role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The file's version, from 1.
    pub version: u64,
    /// When it stops being valid.
    #[serde(with = "tuf")]
    pub expires: jiff::Timestamp,
    /// Keyed by `<role>.json`.
    pub meta: BTreeMap<String, MetaFile>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

impl Snapshot {
    /// A snapshot that lists nothing yet.
    pub fn new(version: u64, expires: jiff::Timestamp) -> Self {
        Self {
            version,
            expires,
            meta: BTreeMap::new(),
            other: Other::new(),
        }
    }

    /// What it says of `targets` or a delegated role.
    pub fn role(&self, role: &str) -> Option<&MetaFile> {
        self.meta.get(&format!("{role}.json"))
    }

    /// Lists `targets` or a delegated role.
    pub fn set_role(&mut self, role: &str, file: MetaFile) {
        self.meta.insert(format!("{role}.json"), file);
    }
}

impl Role for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> jiff::Timestamp {
        self.expires
    }

    fn check(&self) -> Result<(), FormError> {
        // 4.4: the version of the top-level targets metadata must be listed.
        if self.role("targets").is_none() {
            return Err(FormError::NoRole(role_name::TOP_LEVEL[3]));
        }
        self.meta
            .iter()
            .try_for_each(|(name, file)| check_listed(name, file))
    }
}

/// `timestamp.json` (section 4.6): the current snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timestamp {
    /// The file's version, from 1.
    pub version: u64,
    /// When it stops being valid.
    #[serde(with = "tuf")]
    pub expires: jiff::Timestamp,
    /// When it was signed: the instant that a device takes as certainly past. An addition of ours, under the signature.
    #[serde(
        rename = "x_millet_signed",
        default,
        with = "tuf::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub signed_at: Option<jiff::Timestamp>,
    meta: BTreeMap<String, MetaFile>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

impl Timestamp {
    /// A timestamp that names a snapshot.
    pub fn new(
        version: u64,
        signed_at: jiff::Timestamp,
        expires: jiff::Timestamp,
        snapshot: MetaFile,
    ) -> Self {
        Self {
            version,
            expires,
            signed_at: Some(signed_at),
            meta: BTreeMap::from([(SNAPSHOT_FILE.to_owned(), snapshot)]),
            other: Other::new(),
        }
    }

    /// What it says of the snapshot; `None` only in a value that was not verified.
    pub fn snapshot(&self) -> Option<&MetaFile> {
        self.meta.get(SNAPSHOT_FILE)
    }
}

impl Role for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> jiff::Timestamp {
        self.expires
    }

    fn check(&self) -> Result<(), FormError> {
        // 4.6: it must include a description of snapshot.json only.
        match (self.snapshot(), self.meta.len()) {
            (Some(file), 1) => check_listed(SNAPSHOT_FILE, file),
            _ => Err(FormError::TimestampMeta),
        }
    }
}

const SNAPSHOT_FILE: &str = "snapshot.json";

/// 4.4 `VERSION` and `HASHES`: greater than 0, and one or more where there are any.
fn check_listed(name: &str, file: &MetaFile) -> Result<(), FormError> {
    if file.version == 0 {
        return Err(FormError::ListedZero(shown(name)));
    }
    file.hashes
        .as_ref()
        .map_or(Ok(()), |hashes| check_hashes(name, hashes))
}

fn check_hashes(name: &str, hashes: &BTreeMap<String, String>) -> Result<(), FormError> {
    if hashes.is_empty() {
        return Err(FormError::NoHash(shown(name)));
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// The first listed hash that the bytes do not have; functions that we do not know count as not had, so that a file
/// is never taken unchecked because its hash is in fashion.
pub(crate) fn differing_hash<'a>(hashes: &'a BTreeMap<String, String>, bytes: &[u8]) -> Option<&'a str> {
    let known = |name: &str| match name {
        "sha256" => Some(hex::encode(Sha256::digest(bytes))),
        "sha512" => Some(hex::encode(Sha512::digest(bytes))),
        _ => None,
    };
    // 4.4 `HASHES`: one or more. One that we know is enough; all that we know must agree.
    let mut any = false;
    for (name, wanted) in hashes {
        match known(name) {
            Some(actual) if actual == *wanted => any = true,
            Some(_) => return Some(name),
            None => {}
        }
    }
    if any {
        None
    } else {
        Some(hashes.keys().next().map_or("sha256", String::as_str))
    }
}

pub(crate) fn sha256_hash(digest: &Sha256Digest) -> BTreeMap<String, String> {
    BTreeMap::from([("sha256".to_owned(), digest.to_string())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_must_agree_and_one_must_be_known() {
        let right = ("sha256".to_owned(), hex::encode(Sha256::digest(b"x")));
        let wrong = ("sha512".to_owned(), "00".repeat(64));
        let strange = ("blake9".to_owned(), "00".to_owned());
        let of = |list: &[&(String, String)]| {
            list.iter()
                .map(|pair| (*pair).clone())
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(differing_hash(&of(&[&right]), b"x"), None);
        assert_eq!(differing_hash(&of(&[&right]), b"y"), Some("sha256"));
        assert_eq!(differing_hash(&of(&[&right, &strange]), b"x"), None);
        assert_eq!(differing_hash(&of(&[&right, &wrong]), b"x"), Some("sha512"));
        assert_eq!(differing_hash(&of(&[&strange]), b"x"), Some("blake9"));
    }

    #[test]
    fn a_timestamp_describes_the_snapshot_and_nothing_else() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut timestamp = Timestamp::new(1, now, now, MetaFile::of(1, b""));
        assert!(timestamp.check().is_ok());
        timestamp.meta.insert("targets.json".into(), MetaFile::of(1, b""));
        assert!(matches!(timestamp.check(), Err(FormError::TimestampMeta)));
        timestamp.meta.clear();
        assert!(matches!(timestamp.check(), Err(FormError::TimestampMeta)));
    }
}
