//! A complete repository in memory, signed by keys of fixed seeds, that tests bend until it breaks.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::metadata::{self, MetaFile, Root, Snapshot, TargetFile, Targets, lifetime};
use crate::role_name::{file_name, versioned};
use crate::{Ed25519Key, Files, Limits, PublicKey, Refresh, Signer, Step, TrustError, Verified, sign};

pub const TARGET: &str = "rubik/builds/V6.11.20.json";

pub fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

pub fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[seed; 32])
}

/// The latest versions of every role, with the keys that sign them.
pub struct Repository {
    pub root: Root,
    pub root_keys: Vec<Ed25519Key>,
    pub timestamp: metadata::Timestamp,
    pub timestamp_key: Ed25519Key,
    pub snapshot: Snapshot,
    pub snapshot_key: Ed25519Key,
    pub targets: Targets,
    pub targets_keys: Vec<Ed25519Key>,
    pub roles: BTreeMap<String, (Targets, Ed25519Key)>,
    /// What clients can download.
    pub published: Files,
}

impl Repository {
    pub fn new() -> Self {
        let public = |keys: &[&Ed25519Key]| -> Vec<PublicKey> {
            keys.iter().map(|key| key.public_key().clone()).collect()
        };
        let root_keys = vec![key(1), key(2), key(3)];
        let targets_keys = vec![key(11), key(12)];
        let mut root = Root::new(after(lifetime::ROOT));
        root.set_role("root", &public(&root_keys.iter().collect::<Vec<_>>()), 2)
            .unwrap();
        root.set_role("targets", &public(&targets_keys.iter().collect::<Vec<_>>()), 2)
            .unwrap();
        root.set_role("snapshot", &public(&[&key(21)]), 1).unwrap();
        root.set_role("timestamp", &public(&[&key(22)]), 1).unwrap();
        let mut targets = Targets::new(after(lifetime::TARGETS));
        let mut roles = BTreeMap::new();
        for (model, seed) in [("rubik", 31), ("cube", 41)] {
            let online = [key(seed + 1), key(seed + 2)];
            targets
                .delegate_model(
                    &model.parse().unwrap(),
                    &public(&[&key(seed)]),
                    1,
                    online[0].public_key(),
                    online[1].public_key(),
                )
                .unwrap();
            for (index, kind) in ["builds", "deltas", "rollouts"].into_iter().enumerate() {
                let empty = Targets::new(after(lifetime::DELTAS));
                roles.insert(format!("{kind}.{model}"), (empty, key(seed + index as u8)));
            }
        }
        roles
            .get_mut("builds.rubik")
            .unwrap()
            .0
            .targets
            .insert(TARGET.into(), TargetFile::of(b"manifest"));
        let mut repository = Self {
            root,
            root_keys,
            timestamp: metadata::Timestamp::new(1, now(), after(lifetime::TIMESTAMP), MetaFile::of(1, b"")),
            timestamp_key: key(22),
            snapshot: Snapshot::new(1, after(lifetime::SNAPSHOT)),
            snapshot_key: key(21),
            targets,
            targets_keys,
            roles,
            published: Files::new(),
        };
        repository.publish();
        repository
    }

    /// Signs everything as it stands and puts it up.
    pub fn publish(&mut self) {
        self.publish_root();
        let targets = sign(&self.targets, &signers(&self.targets_keys)).unwrap();
        self.list("targets", self.targets.version, targets);
        let sign_role = |(role, (targets, key)): (&String, &(Targets, Ed25519Key))| {
            (
                role.clone(),
                targets.version,
                sign(targets, &[key as &dyn Signer]).unwrap(),
            )
        };
        for (role, version, bytes) in self.roles.iter().map(sign_role).collect::<Vec<_>>() {
            self.list(&role, version, bytes);
        }
        self.publish_snapshot();
    }

    pub fn publish_root(&mut self) {
        let bytes = sign(&self.root, &signers(&self.root_keys)).unwrap();
        self.published.insert(versioned(self.root.version, "root"), bytes);
    }

    pub fn publish_snapshot(&mut self) {
        let bytes = sign(&self.snapshot, &[&self.snapshot_key as &dyn Signer]).unwrap();
        let listed = MetaFile::of(self.snapshot.version, &bytes);
        self.published
            .insert(versioned(self.snapshot.version, "snapshot"), bytes);
        self.timestamp =
            metadata::Timestamp::new(self.timestamp.version, now(), self.timestamp.expires, listed);
        self.publish_timestamp();
    }

    pub fn publish_timestamp(&mut self) {
        let bytes = sign(&self.timestamp, &[&self.timestamp_key as &dyn Signer]).unwrap();
        self.published.insert(file_name("timestamp"), bytes);
    }

    /// Moves the online roles one version on, as every publication does.
    pub fn advance(&mut self) {
        self.snapshot.version += 1;
        self.timestamp.version += 1;
        self.publish();
    }

    pub fn first_root(&self) -> Vec<u8> {
        self.published["1.root.json"].clone()
    }

    pub fn refresh(&self, cached: Files, roles: &[&str]) -> Result<Verified, (TrustError, Files)> {
        self.refresh_at(now(), cached, roles)
    }

    pub fn refresh_at(
        &self,
        now: Timestamp,
        cached: Files,
        roles: &[&str],
    ) -> Result<Verified, (TrustError, Files)> {
        let root = cached
            .get("root.json")
            .cloned()
            .unwrap_or_else(|| self.first_root());
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let mut refresh = Refresh::start(&root, cached, &roles, Limits::default(), now)
            .map_err(|error| (error, Files::new()))?;
        while let Step::Fetch { name, max_length, .. } = refresh.next() {
            let bytes = self.published.get(&name).cloned();
            assert!(
                bytes
                    .as_ref()
                    .is_none_or(|bytes| bytes.len() as u64 <= max_length),
                "{name}"
            );
            if let Err(error) = refresh.supply(bytes) {
                return Err((error, refresh.files()));
            }
        }
        Ok(refresh.finish().unwrap())
    }

    fn list(&mut self, role: &str, version: u64, bytes: Vec<u8>) {
        self.snapshot.set_role(role, MetaFile::of(version, &bytes));
        self.published.insert(versioned(version, role), bytes);
    }
}

pub fn after(duration: SignedDuration) -> Timestamp {
    now().checked_add(duration).unwrap()
}

pub fn signers(keys: &[Ed25519Key]) -> Vec<&dyn Signer> {
    keys.iter().map(|key| key as &dyn Signer).collect()
}
