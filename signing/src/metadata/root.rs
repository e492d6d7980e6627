use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Other, Role};
use crate::error::FormError;
use crate::instant::tuf;
use crate::role_name::TOP_LEVEL;
use crate::{Authority, KeyId, PublicKey};

/// `root.json` (section 4.3): the keys of the top-level roles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// The file's version, from 1.
    pub version: u64,
    /// When it stops being valid.
    #[serde(with = "tuf")]
    pub expires: Timestamp,
    /// Whether file names carry versions and digests. Millet's always do.
    #[serde(default)]
    pub consistent_snapshot: bool,
    keys: BTreeMap<KeyId, PublicKey>,
    roles: BTreeMap<String, RoleKeys>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// Which keys sign for a role, and how many of them are needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// Identifiers of the keys.
    pub keyids: Vec<KeyId>,
    /// How many different keys must sign.
    pub threshold: u64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

impl Root {
    /// Version 1 without any keys yet: give all four roles theirs with [`Root::set_role`].
    pub fn new(expires: Timestamp) -> Self {
        Self {
            version: 1,
            expires,
            consistent_snapshot: true,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            other: Other::new(),
        }
    }

    /// The next version, with the same keys.
    pub fn next(&self, expires: Timestamp) -> Self {
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        next.expires = expires;
        next
    }

    /// Gives a top-level role its keys. Keys that no role uses any more are dropped.
    ///
    /// Fails when the threshold is 0 or more than there are different keys, or when one of the keys can verify nothing.
    pub fn set_role(&mut self, role: &str, keys: &[PublicKey], threshold: u64) -> Result<(), FormError> {
        let role_keys = role_keys(role, keys, threshold)?;
        self.keys.extend(keys.iter().map(|key| (key.id(), key.clone())));
        self.roles.insert(role.to_owned(), role_keys);
        let used: BTreeSet<&KeyId> = self.roles.values().flat_map(|role| &role.keyids).collect();
        self.keys.retain(|keyid, _| used.contains(keyid));
        Ok(())
    }

    /// The keys and threshold of one of the four top-level roles. One that is not there, which no verified root lacks, can be
    /// signed by nobody.
    pub(crate) fn top_level<'a>(&'a self, role: &'a str) -> Authority<'a> {
        let (keyids, threshold) = self
            .roles
            .get(role)
            .map_or((&[][..], u64::MAX), |role| (&role.keyids, role.threshold));
        Authority::new(role, &self.keys, keyids, threshold)
    }

    /// The roles that it names: the four of the specification, and any that nobody knows.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The keys and threshold of a role that it names.
    pub fn authority(&self, role: &str) -> Option<Authority<'_>> {
        let (name, role) = self.roles.get_key_value(role)?;
        Some(Authority::new(name, &self.keys, &role.keyids, role.threshold))
    }
}

impl Role for Root {
    const TYPE: &'static str = "root";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Timestamp {
        self.expires
    }

    fn check(&self) -> Result<(), FormError> {
        // 4.3 `ROLE`: root, snapshot, targets and timestamp must be specified.
        for role in TOP_LEVEL {
            let keys = self.roles.get(role).ok_or(FormError::NoRole(role))?;
            check_keyids(role, &keys.keyids, keys.threshold)?;
        }
        Ok(())
    }
}

/// A role's keys as new metadata names them.
pub(super) fn role_keys(role: &str, keys: &[PublicKey], threshold: u64) -> Result<RoleKeys, FormError> {
    let different: BTreeSet<_> = keys.iter().filter_map(PublicKey::material).collect();
    if keys.iter().all(PublicKey::is_supported) && different.len() != keys.len() {
        return Err(FormError::Twice(format!("a key of {role}")));
    }
    let reachable = u64::try_from(different.len()).is_ok_and(|count| threshold <= count);
    if threshold == 0 || !reachable || different.len() != keys.len() {
        return Err(FormError::Threshold {
            role: role.to_owned(),
            keys: different.len(),
            threshold,
        });
    }
    Ok(RoleKeys {
        keyids: keys.iter().map(PublicKey::id).collect(),
        threshold,
        other: Other::new(),
    })
}

/// Keys of one role, for the same reason as signatures in one file: a role that delegates chooses how many are checked.
const MOST_KEYS: usize = 128;

/// Form only: a threshold that cannot be reached is a role that nobody can sign, and harms nobody.
pub(super) fn check_keyids(role: &str, keyids: &[KeyId], threshold: u64) -> Result<(), FormError> {
    if threshold == 0 {
        return Err(FormError::Threshold {
            role: role.to_owned(),
            keys: keyids.len(),
            threshold,
        });
    }
    if keyids.len() > MOST_KEYS {
        return Err(FormError::TooMany {
            what: format!("keys of {role}"),
            count: keyids.len(),
            limit: MOST_KEYS,
        });
    }
    let mut seen = BTreeSet::new();
    match keyids.iter().find(|keyid| !seen.insert(*keyid)) {
        Some(keyid) => Err(FormError::Twice(format!("key {} of {role}", keyid.short()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::ed25519(&[seed; 32])
    }

    #[test]
    fn thresholds_that_cannot_work_are_refused() {
        let mut root = Root::new(Timestamp::UNIX_EPOCH);
        assert!(root.set_role("root", &[key(1), key(2)], 2).is_ok());
        assert!(root.set_role("root", &[key(1), key(2)], 3).is_err());
        assert!(root.set_role("root", &[key(1)], 0).is_err());
        assert!(root.set_role("root", &[key(1), key(1)], 1).is_err());
    }

    #[test]
    fn unused_keys_are_dropped() {
        let mut root = Root::new(Timestamp::UNIX_EPOCH);
        root.set_role("root", &[key(1)], 1).unwrap();
        root.set_role("targets", &[key(1), key(2)], 1).unwrap();
        root.set_role("root", &[key(3)], 1).unwrap();
        assert_eq!(root.keys.len(), 3);
        root.set_role("targets", &[key(2)], 1).unwrap();
        assert!(!root.keys.contains_key(&key(1).id()));
    }

    #[test]
    fn all_four_roles_must_be_there() {
        let mut root = Root::new(Timestamp::UNIX_EPOCH);
        for role in ["root", "timestamp", "snapshot"] {
            root.set_role(role, &[key(1)], 1).unwrap();
        }
        assert!(matches!(root.check(), Err(FormError::NoRole("targets"))));
        root.set_role("targets", &[key(1)], 1).unwrap();
        assert!(root.check().is_ok());
        assert!(root.authority("mirrors").is_none());
        let nobody = root.top_level("mirrors");
        assert_eq!((nobody.keyids().len(), nobody.threshold()), (0, u64::MAX));
    }
}
