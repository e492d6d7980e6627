//! A complete repository in memory, signed by keys of fixed seeds, that tests bend until it breaks.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use millet_signing::metadata::{self, MetaFile, Other, Root, Snapshot, TargetFile, Targets, lifetime};
use millet_signing::{
    Ed25519Key, Files, KeyId, Limits, PublicKey, Refresh, Signer, Step, TrustError, Verified, canonical,
    file_name, sign,
};
use serde_json::{Value, json};

pub const TARGET: &str = "rubik/builds/V6.11.20.json";

pub fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

pub fn after(duration: SignedDuration) -> Timestamp {
    now().checked_add(duration).unwrap()
}

pub fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[seed; 32])
}

pub fn public(keys: &[Ed25519Key]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public_key().clone()).collect()
}

pub fn signers(keys: &[Ed25519Key]) -> Vec<&dyn Signer> {
    keys.iter().map(|key| key as &dyn Signer).collect()
}

/// The file name of a role's metadata in a consistent snapshot.
pub fn versioned(version: u64, role: &str) -> String {
    format!("{version}.{}", file_name(role))
}

/// The file that is up as `name`, in that version where names carry one.
pub fn file_of(repository: &Repository, name: &str, version: u64) -> Vec<u8> {
    let published = &repository.published;
    let role = name.strip_suffix(".json").unwrap();
    let versioned = published.get(&versioned(version, role));
    versioned.or_else(|| published.get(name)).unwrap().clone()
}

/// What stands under `signed` in a file.
pub fn signed_part(file: &[u8]) -> Value {
    serde_json::from_slice::<Value>(file).unwrap()["signed"].take()
}

/// A metadata file of any content, each signature under the identifier that it is given.
pub fn sign_json(signed: &Value, signatures: &[(&str, &Ed25519Key)]) -> Vec<u8> {
    let message = canonical::to_vec(signed).unwrap();
    let signatures: Vec<Value> = signatures
        .iter()
        .map(|(keyid, key)| json!({"keyid": keyid, "sig": hex::encode(key.sign(&message).unwrap())}))
        .collect();
    serde_json::to_vec(&json!({"signatures": signatures, "signed": signed})).unwrap()
}

/// The same, under the keys' own identifiers.
pub fn sign_json_by(signed: &Value, keys: &[Ed25519Key]) -> Vec<u8> {
    let ids: Vec<_> = keys.iter().map(|key| key.public_key().id()).collect();
    let by: Vec<_> = ids.iter().map(KeyId::as_str).zip(keys).collect();
    sign_json(signed, &by)
}

/// The latest versions of every role, with the keys that sign them.
pub struct Repository {
    /// When it is signed.
    pub now: Timestamp,
    /// Whether files are listed by version alone, without lengths and hashes.
    pub bare: bool,
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
    /// Two models, `rubik` and `cube`.
    pub fn new() -> Self {
        Self::of(&[("rubik", 31), ("cube", 41)])
    }

    /// Some models, each with the first seed of its keys.
    pub fn of(models: &[(&str, u8)]) -> Self {
        let root_keys = vec![key(1), key(2), key(3)];
        let targets_keys = vec![key(11), key(12)];
        let mut root = Root::new(after(lifetime::ROOT));
        root.set_role("root", &public(&root_keys), 2).unwrap();
        root.set_role("targets", &public(&targets_keys), 2).unwrap();
        root.set_role("snapshot", &public(&[key(21)]), 1).unwrap();
        root.set_role("timestamp", &public(&[key(22)]), 1).unwrap();
        let mut targets = Targets::new(after(lifetime::TARGETS));
        let mut roles = BTreeMap::new();
        for (model, seed) in models {
            let online = [key(seed + 1), key(seed + 2)];
            targets
                .delegate_model(
                    &model.parse().unwrap(),
                    &public(&[key(*seed)]),
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
        let builds = roles.get_mut("builds.rubik").unwrap();
        builds
            .0
            .targets
            .insert(TARGET.into(), TargetFile::of(b"manifest"));
        let mut repository = Self {
            now: now(),
            bare: false,
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

    /// The role of a delegation.
    pub fn role(&mut self, name: &str) -> &mut Targets {
        &mut self.roles.get_mut(name).unwrap().0
    }

    /// Signs everything as it stands and puts it up.
    pub fn publish(&mut self) {
        self.publish_root();
        self.publish_roles();
    }

    /// Signs everything but the root.
    pub fn publish_roles(&mut self) {
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
        let version = self.snapshot.version;
        let listed = self.listed(version, &bytes);
        self.publish_as(version, "snapshot", bytes);
        let expires = self.timestamp.expires;
        self.timestamp = metadata::Timestamp::new(self.timestamp.version, self.now, expires, listed);
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

    /// Moves on to the next root, whose keys are changed by `change`. The keys before sign it too.
    pub fn rotate(&mut self, change: impl FnOnce(&mut Self)) {
        let before: Vec<Ed25519Key> = std::mem::take(&mut self.root_keys);
        self.root_keys = before.iter().map(copy).collect();
        self.root = self.root.next(self.root.expires);
        change(self);
        let own: Vec<Ed25519Key> = self.root_keys.iter().map(copy).collect();
        self.root_keys.extend(before);
        self.publish_root();
        self.root_keys = own;
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
        let refresh = Refresh::start(&root, cached, &roles, Limits::default(), now)
            .map_err(|error| (error, Files::new()))?;
        self.drive(refresh)
    }

    /// Answers a refresh until it is done or refuses.
    pub fn drive(&self, mut refresh: Refresh) -> Result<Verified, (TrustError, Files)> {
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

    /// Puts up a role's file and lists it.
    pub fn list(&mut self, role: &str, version: u64, bytes: Vec<u8>) {
        let listed = self.listed(version, &bytes);
        self.snapshot.set_role(role, listed);
        self.publish_as(version, role, bytes);
    }

    fn listed(&self, version: u64, bytes: &[u8]) -> MetaFile {
        if self.bare {
            return MetaFile {
                version,
                length: None,
                hashes: None,
                other: Other::new(),
            };
        }
        MetaFile::of(version, bytes)
    }

    fn publish_as(&mut self, version: u64, role: &str, bytes: Vec<u8>) {
        let name = if self.root.consistent_snapshot {
            versioned(version, role)
        } else {
            file_name(role)
        };
        self.published.insert(name, bytes);
    }
}

fn copy(key: &Ed25519Key) -> Ed25519Key {
    Ed25519Key::from_pkcs8_pem(&key.to_pkcs8_pem().unwrap()).unwrap()
}
