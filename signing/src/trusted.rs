mod checks;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use self::checks::{
    check_expiry, check_length, check_listed, check_rollback, check_root_expiry, check_successor,
    check_version,
};
use crate::error::TrustError;
use crate::limits::Limits;
use crate::metadata::{self, MetaFile, Role, Root, Snapshot, Targets};
use crate::verify::{verify, verify_first_root, verify_next_root};

pub use search::Search;

/// Whether a timestamp said something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// A newer version than the one that was known.
    New,
    /// The version that was known.
    Same,
}

/// Metadata that has passed every check, taken in the order of the client's workflow (specification, 5.2 to 5.6).
///
/// It does no I/O and knows one instant, the update's fixed start time (5.1). What is refused changes nothing.
#[derive(Debug, Clone)]
pub struct TrustedSet {
    now: Timestamp,
    limits: Limits,
    root: Root,
    chain_ended: bool,
    online_keys_rotated: bool,
    known_timestamp: Option<metadata::Timestamp>,
    known_snapshot: Option<Snapshot>,
    timestamp: Option<metadata::Timestamp>,
    snapshot: Option<Snapshot>,
    roles: BTreeMap<String, Loaded>,
}

/// A targets role, and whose keys for it have signed it.
#[derive(Debug, Clone)]
struct Loaded {
    parents: BTreeSet<String>,
    targets: Targets,
}

impl TrustedSet {
    /// Begins with the trusted root (5.2), whose own expiry does not matter yet.
    pub fn new(trusted_root: &[u8], limits: Limits, now: Timestamp) -> Result<Self, TrustError> {
        check_length("root", trusted_root, limits.root)?;
        Ok(Self {
            now,
            limits,
            root: verify_first_root(trusted_root)?,
            chain_ended: false,
            online_keys_rotated: false,
            known_timestamp: None,
            known_snapshot: None,
            timestamp: None,
            snapshot: None,
            roles: BTreeMap::new(),
        })
    }

    /// Follows the root chain by one version (5.3.3 to 5.3.7).
    pub fn update_root(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        if self.chain_ended {
            return Err(order("root", "the root chain has ended"));
        }
        check_length("root", bytes, self.limits.root)?;
        let next = verify_next_root(bytes, &self.root)?;
        for role in ["timestamp", "snapshot"] {
            self.online_keys_rotated |= !self.root.top_level(role).same_keys(&next.top_level(role));
        }
        self.root = next;
        Ok(())
    }

    /// Ends the root chain: the last root must be valid now.
    pub fn end_root_chain(&mut self) -> Result<(), TrustError> {
        // 5.3.10: freeze attack.
        check_root_expiry(&self.root, self.now)?;
        self.chain_ended = true;
        Ok(())
    }

    /// Whether the root chain changed the timestamp's or the snapshot's keys. What was known of both roles is then
    /// deleted (5.3.11), also when the old keys would still do: a fast-forward attack ends with them.
    pub fn online_keys_rotated(&self) -> bool {
        self.online_keys_rotated
    }

    /// Recalls the timestamp of an earlier refresh, which bounds the new one from below. It may have expired.
    pub fn recall_timestamp(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        self.check_recall("timestamp")?;
        self.known_timestamp = Some(self.top_level("timestamp", bytes, self.limits.timestamp)?);
        Ok(())
    }

    /// Recalls the snapshot of an earlier refresh, which bounds the new one from below. It may have expired.
    pub fn recall_snapshot(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        self.check_recall("snapshot")?;
        self.known_snapshot = Some(self.top_level("snapshot", bytes, self.limits.snapshot)?);
        Ok(())
    }

    /// Takes the timestamp (5.4).
    pub fn update_timestamp(&mut self, bytes: &[u8]) -> Result<Changed, TrustError> {
        self.check_timestamp_is_due()?;
        // 5.4.1 and 5.4.2: bounded length, arbitrary software attack.
        let new: metadata::Timestamp = self.top_level("timestamp", bytes, self.limits.timestamp)?;
        if let Some(known) = &self.known_timestamp {
            // 5.4.3.1: rollback of the timestamp; an equal version is discarded, and that is no error.
            check_rollback("timestamp", known.version, new.version)?;
            if new.version == known.version {
                self.keep_timestamp()?;
                return Ok(Changed::Same);
            }
            // 5.4.3.2: rollback of the snapshot.
            let snapshot =
                |timestamp: &metadata::Timestamp| timestamp.snapshot().map_or(0, |file| file.version);
            check_rollback("snapshot", snapshot(known), snapshot(&new))?;
        }
        // 5.4.4: freeze attack.
        check_expiry("timestamp", &new, self.now)?;
        self.timestamp = Some(new);
        Ok(Changed::New)
    }

    /// Takes the recalled timestamp as the current one: the repository has said that it did not change.
    pub fn keep_timestamp(&mut self) -> Result<(), TrustError> {
        self.check_timestamp_is_due()?;
        let known = self.known_timestamp.clone();
        let known =
            known.ok_or_else(|| order("timestamp", "no earlier one is known that could be unchanged"))?;
        // 5.4.4: freeze attack.
        check_expiry("timestamp", &known, self.now)?;
        self.timestamp = Some(known);
        Ok(())
    }

    /// Takes the snapshot (5.5).
    pub fn update_snapshot(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        let listed = self.listed_snapshot()?;
        if self.snapshot.is_some() {
            return Err(order("snapshot", "one was taken already"));
        }
        // 5.5.1 and 5.5.2: length and hashes of the timestamp, before anything is parsed.
        check_listed("snapshot", listed, bytes, self.limits.snapshot)?;
        // 5.5.3: arbitrary software attack.
        let new: Snapshot = self.top_level("snapshot", bytes, self.limits.snapshot)?;
        // 5.5.4: the timestamp's version.
        check_version("snapshot", listed.version, new.version)?;
        if let Some(known) = &self.known_snapshot {
            check_successor(known, &new)?;
        }
        // 5.5.6: freeze attack.
        check_expiry("snapshot", &new, self.now)?;
        self.snapshot = Some(new);
        Ok(())
    }

    /// Takes the top-level targets role (5.6).
    pub fn update_targets(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        self.update_delegated("targets", "root", bytes)
    }

    /// Takes a role that `parent` delegates to (5.6, applied to delegated roles as 5.6.7 asks). Where several roles delegate
    /// to it, it is taken once for each, and has to be the same every time.
    pub fn update_delegated(&mut self, role: &str, parent: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let listed = self.listed(role)?;
        let authority = match parent {
            "root" if role == "targets" => self.root.authority(role),
            _ => self.delegated(parent).and_then(|targets| targets.authority(role)),
        };
        let authority = authority.ok_or_else(|| TrustError::NotDelegated {
            role: role.to_owned(),
            parent: parent.to_owned(),
        })?;
        // 5.6.1 and 5.6.2: length and hashes of the snapshot, before anything is parsed.
        check_listed(role, listed, bytes, self.limits.targets)?;
        // 5.6.3: arbitrary software attack.
        let new: Targets = verify(bytes, &authority)?;
        // 5.6.4: the snapshot's version.
        check_version(role, listed.version, new.version)?;
        // 5.6.5: freeze attack.
        check_expiry(role, &new, self.now)?;
        match self.roles.get_mut(role) {
            // Without a hash in the snapshot, two files of one version could be signed by the keys of two parents.
            Some(loaded) if loaded.targets != new => {
                Err(order(role, "another file of that version was taken"))
            }
            Some(loaded) => {
                loaded.parents.insert(parent.to_owned());
                Ok(())
            }
            None => {
                let parents = BTreeSet::from([parent.to_owned()]);
                let loaded = Loaded {
                    parents,
                    targets: new,
                };
                self.roles.insert(role.to_owned(), loaded);
                Ok(())
            }
        }
    }

    /// The instant that expiries are judged by.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The trusted root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The trusted timestamp.
    pub fn timestamp(&self) -> Option<&metadata::Timestamp> {
        self.timestamp.as_ref()
    }

    /// The trusted snapshot.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The trusted top-level targets role.
    pub fn targets(&self) -> Option<&Targets> {
        self.delegated("targets")
    }

    /// A trusted delegated role, or `targets`; `None` when it is not loaded.
    pub fn delegated(&self, role: &str) -> Option<&Targets> {
        self.roles.get(role).map(|loaded| &loaded.targets)
    }

    /// What the trusted snapshot says of a targets role.
    pub fn listed(&self, role: &str) -> Result<&MetaFile, TrustError> {
        let snapshot = self
            .snapshot()
            .ok_or_else(|| order(role, "the snapshot comes first"))?;
        snapshot.role(role).ok_or_else(|| TrustError::NotListed {
            role: role.to_owned(),
        })
    }

    /// What the trusted timestamp says of the snapshot.
    pub fn listed_snapshot(&self) -> Result<&MetaFile, TrustError> {
        let listed = self.timestamp.as_ref().and_then(metadata::Timestamp::snapshot);
        listed.ok_or_else(|| order("snapshot", "the timestamp comes first"))
    }

    fn top_level<R: Role>(&self, role: &str, bytes: &[u8], limit: u64) -> Result<R, TrustError> {
        check_length(role, bytes, limit)?;
        verify(bytes, &self.root.top_level(role))
    }

    fn check_recall(&self, role: &str) -> Result<(), TrustError> {
        self.check_chain_ended(role)?;
        if self.timestamp.is_some() {
            return Err(order(role, "a newer one was taken already"));
        }
        // 5.3.11: fast-forward recovery.
        if self.online_keys_rotated {
            return Err(order(role, "its keys have been rotated"));
        }
        Ok(())
    }

    fn check_timestamp_is_due(&self) -> Result<(), TrustError> {
        self.check_chain_ended("timestamp")?;
        match self.timestamp {
            Some(_) => Err(order("timestamp", "one was taken already")),
            None => Ok(()),
        }
    }

    fn check_chain_ended(&self, role: &str) -> Result<(), TrustError> {
        if self.chain_ended {
            Ok(())
        } else {
            Err(order(role, "the root chain ends first"))
        }
    }
}

fn order(role: &str, reason: &'static str) -> TrustError {
    TrustError::Order {
        role: role.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
