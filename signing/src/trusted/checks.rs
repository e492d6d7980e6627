use jiff::{SignedDuration, Timestamp};

use crate::error::TrustError;
use crate::metadata::{MetaFile, Role, Root, Snapshot, differing_hash, lifetime};

/// How long a root lives that is renewed in time, so that one may be over.
const BEYOND_DOUBT: SignedDuration = lifetime::ROOT;

/// What has expired is refused: freeze attack.
pub(super) fn check_expiry<R: Role>(role: &str, metadata: &R, now: Timestamp) -> Result<(), TrustError> {
    if metadata.expires() <= now {
        return Err(TrustError::Expired {
            role: role.to_owned(),
            expires: metadata.expires(),
            now,
        });
    }
    Ok(())
}

/// The same for the newest root, which outlives all that its keys stand for. A clock that is a whole lifetime past it is
/// beyond everything that is signed, and the error says so: nobody needs to look for what else has expired.
pub(super) fn check_root_expiry(root: &Root, now: Timestamp) -> Result<(), TrustError> {
    if now.duration_since(root.expires) > BEYOND_DOUBT {
        return Err(TrustError::BeyondEveryExpiry {
            expires: root.expires,
            now,
        });
    }
    check_expiry("root", root, now)
}

/// Length and hashes that the role above names, both optional (4.4), within the limit.
pub(super) fn check_listed(
    role: &str,
    listed: &MetaFile,
    bytes: &[u8],
    limit: u64,
) -> Result<(), TrustError> {
    check_length(role, bytes, limit)?;
    let actual = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if let Some(expected) = listed.length.filter(|expected| *expected != actual) {
        return Err(TrustError::Length {
            role: role.to_owned(),
            expected,
            actual,
        });
    }
    if let Some(algorithm) = listed
        .hashes
        .as_ref()
        .and_then(|hashes| differing_hash(hashes, bytes))
    {
        return Err(TrustError::Hash {
            role: role.to_owned(),
            algorithm: algorithm.to_owned(),
        });
    }
    Ok(())
}

pub(super) fn check_length(role: &str, bytes: &[u8], limit: u64) -> Result<(), TrustError> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length > limit {
        return Err(TrustError::TooLong {
            role: role.to_owned(),
            length,
            limit,
        });
    }
    Ok(())
}

pub(super) fn check_version(role: &str, expected: u64, actual: u64) -> Result<(), TrustError> {
    if expected != actual {
        return Err(TrustError::Version {
            role: role.to_owned(),
            expected,
            actual,
        });
    }
    Ok(())
}

pub(super) fn check_rollback(role: &str, trusted: u64, offered: u64) -> Result<(), TrustError> {
    if offered < trusted {
        return Err(TrustError::Rollback {
            role: role.to_owned(),
            trusted,
            offered,
        });
    }
    Ok(())
}

/// 5.5.5: rollback of any role; none may vanish. The snapshot's own version is bounded too, in case that the timestamp was
/// lost that named it.
pub(super) fn check_successor(known: &Snapshot, new: &Snapshot) -> Result<(), TrustError> {
    check_rollback("snapshot", known.version, new.version)?;
    for (name, known) in &known.meta {
        let role = name.strip_suffix(".json").unwrap_or(name);
        match new.meta.get(name) {
            Some(file) => check_rollback(role, known.version, file.version)?,
            None => {
                return Err(TrustError::Vanished {
                    role: role.to_owned(),
                    trusted: known.version,
                });
            }
        }
    }
    Ok(())
}
