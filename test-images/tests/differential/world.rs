//! A repository as plain JSON, so that anything can be wrong with it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use millet_signing::{Ed25519Key, Signer, canonical, file_name};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::bend::{Bend, Stage};
use crate::dice::Dice;

/// The names under which roles delegate, some of them odd; none is a path.
const NAMES: [&str; 6] = ["one", "two", "three", "a role", "../four", "Fünf"];

/// Target paths, and patterns that cover some of them.
const PATHS: [&str; 7] = ["x", "a/x", "a/y", "a/b/x", "b/x.tgz", "b/y.json", "ä/x"];
const PATTERNS: [&str; 9] = [
    "*", "a/*", "a/?", "a/b/*", "*/x", "b/*.tgz", "b/y.json", "ä/*", "nothing",
];

pub struct World {
    pub now: Timestamp,
    /// What each role says.
    pub signed: BTreeMap<String, Value>,
    /// The seeds of the keys that sign for each role.
    pub signers: BTreeMap<String, Vec<u8>>,
    /// Those that signed for the last root that was served.
    root_before: Vec<u8>,
    pub first_root: Vec<u8>,
    /// What the server has.
    pub files: BTreeMap<String, Vec<u8>>,
    consistent: bool,
    /// Whether roles above name lengths and hashes.
    lists_hashes: bool,
}

pub fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[seed; 32])
}

pub fn key_object(seed: u8) -> Value {
    serde_json::to_value(key(seed).public_key()).unwrap()
}

pub fn key_id(seed: u8) -> String {
    key(seed).public_key().id().to_string()
}

/// `keyids` and `threshold`.
pub fn role_keys(seeds: &[u8], threshold: usize) -> Value {
    json!({"keyids": seeds.iter().map(|seed| key_id(*seed)).collect::<Vec<_>>(), "threshold": threshold})
}

pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl World {
    pub fn new(dice: &mut Dice) -> Self {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let consistent = !dice.once_in(4);
        let signers = BTreeMap::from([
            ("root".to_owned(), vec![1, 2, 3]),
            ("targets".to_owned(), vec![11, 12]),
            ("snapshot".to_owned(), vec![21]),
            ("timestamp".to_owned(), vec![22]),
        ]);
        let keys = [1, 2, 3, 11, 12, 21, 22];
        let head = |kind: &str, days: i64| json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": instant(now + SignedDuration::from_hours(24 * days))});
        let mut root = head("root", 365);
        root["consistent_snapshot"] = consistent.into();
        root["keys"] = keys
            .iter()
            .map(|seed| (key_id(*seed), key_object(*seed)))
            .collect();
        root["roles"] = json!({
            "root": role_keys(&[1, 2, 3], 2),
            "targets": role_keys(&[11, 12], 1 + dice.below(2)),
            "snapshot": role_keys(&[21], 1),
            "timestamp": role_keys(&[22], 1),
        });
        let mut world = Self {
            now,
            signed: BTreeMap::from([
                ("root".to_owned(), root),
                ("snapshot".to_owned(), head("snapshot", 30)),
                ("timestamp".to_owned(), head("timestamp", 7)),
            ]),
            root_before: vec![1, 2, 3],
            signers,
            first_root: Vec::new(),
            files: BTreeMap::new(),
            consistent,
            lists_hashes: !dice.once_in(4),
        };
        world.signed.get_mut("snapshot").unwrap()["meta"] = json!({});
        world.signed.get_mut("timestamp").unwrap()["meta"] = json!({});
        world.delegate("targets", head("targets", 90), dice, 0);
        world
    }

    /// Gives a role its targets and delegations, and these theirs.
    fn delegate(&mut self, role: &str, mut signed: Value, dice: &mut Dice, depth: usize) {
        let mut targets = json!({});
        for path in PATHS {
            if dice.once_in(4) {
                targets[path] = target(format!("{path} of {role}").as_bytes(), dice);
            }
        }
        signed["targets"] = targets;
        let mut roles = Vec::new();
        let mut keys = json!({});
        let mut children = Vec::new();
        let most = if depth < 3 { dice.below(3) } else { 0 };
        for _ in 0..most {
            // Sometimes a role that another one delegates to already, by the same key.
            let name = *dice.pick(&NAMES);
            let own = roles.iter().any(|role: &Value| role["name"] == name);
            if own || name == role {
                continue;
            }
            let seed = 31 + NAMES.iter().position(|other| *other == name).unwrap() as u8;
            let mut delegated = role_keys(&[seed], 1);
            delegated["name"] = name.into();
            delegated["terminating"] = dice.once_in(3).into();
            if dice.once_in(5) {
                let digest = hex::encode(Sha256::digest(dice.pick(&PATHS).as_bytes()));
                delegated["path_hash_prefixes"] = json!([digest[..1 + dice.below(3)], "0"]);
            } else {
                let patterns: Vec<&str> = (0..1 + dice.below(3)).map(|_| *dice.pick(&PATTERNS)).collect();
                delegated["paths"] = json!(patterns);
            }
            keys[key_id(seed)] = key_object(seed);
            roles.push(delegated);
            children.push((name, seed));
        }
        if !roles.is_empty() || dice.once_in(3) {
            signed["delegations"] = json!({"keys": keys, "roles": roles});
        }
        let mut empty = signed.clone();
        self.signed.insert(role.to_owned(), signed);
        for (name, seed) in children {
            if self.signed.contains_key(name) {
                continue;
            }
            self.signers.insert(name.to_owned(), vec![seed]);
            empty.as_object_mut().unwrap().remove("delegations");
            self.delegate(name, empty.clone(), dice, depth + 1);
        }
    }

    pub fn targets_roles(&self) -> Vec<String> {
        let top = ["root", "snapshot", "timestamp"];
        let roles = self.signed.keys().filter(|role| !top.contains(&role.as_str()));
        roles.cloned().collect()
    }

    /// What a repository does between two refreshes.
    pub fn evolve(&mut self, dice: &mut Dice) {
        self.now += SignedDuration::from_hours(*dice.pick(&[0, 0, 1, 30, 100, 24 * 9, 24 * 40, 24 * 100]));
        if dice.once_in(6) {
            // Nothing is signed anew: what there is may have expired.
            return;
        }
        for role in self.targets_roles() {
            if dice.once_in(3) {
                self.renew(&role, 90);
                if dice.once_in(2) {
                    let path = *dice.pick(&PATHS);
                    let file = target(format!("{path} of {role}, {}", dice.below(1000)).as_bytes(), dice);
                    self.signed.get_mut(&role).unwrap()["targets"][path] = file;
                }
            }
        }
        if dice.once_in(4) {
            self.rotate(dice);
        }
        self.renew("snapshot", 30);
        self.renew("timestamp", 7);
    }

    /// A new root: renewed, or with another key for one of the roles.
    pub fn rotate(&mut self, dice: &mut Dice) {
        self.root_before = self.signers["root"].clone();
        self.renew("root", 365);
        let role = *dice.pick(&["none", "root", "targets", "snapshot", "timestamp", "timestamp"]);
        let Some(seeds) = self.signers.get_mut(role) else {
            return;
        };
        let seed = seeds[0] + 100;
        if seeds[0] > 100 {
            return;
        }
        seeds[0] = seed;
        let root = self.signed.get_mut("root").unwrap();
        root["keys"][key_id(seed)] = key_object(seed);
        root["roles"][role]["keyids"] = seeds.iter().map(|seed| key_id(*seed)).collect();
        // Who recovers from a fast-forward begins again with small numbers.
        if role == "timestamp" && dice.once_in(2) {
            self.signed.get_mut("timestamp").unwrap()["version"] = 1.into();
        }
    }

    fn renew(&mut self, role: &str, days: i64) {
        let expires = instant(self.now + SignedDuration::from_hours(24 * days));
        let signed = self.signed.get_mut(role).unwrap();
        signed["version"] = (signed["version"].as_u64().unwrap() + 1).into();
        signed["expires"] = expires.into();
    }

    /// Signs everything and puts it up; `bend` changes it on the way.
    pub fn serve(&mut self, bend: Option<&Bend>, dice: &mut Dice, first: bool) {
        let old = self.files.clone();
        let bent_role = bend.map(|bend| self.pick_role(bend, dice));
        let mut snapshot = json!({});
        for role in self.targets_roles() {
            let (listed, version, _) = self.put(&role, bend, bent_role.as_deref(), dice);
            snapshot[format!("{role}.json")] = self.list(version, &listed, dice);
        }
        self.signed.get_mut("snapshot").unwrap()["meta"] = snapshot;
        let (listed, version, _) = self.put("snapshot", bend, bent_role.as_deref(), dice);
        let meta = self.list(version, &listed, dice);
        self.signed.get_mut("timestamp").unwrap()["meta"] = json!({"snapshot.json": meta});
        self.put("timestamp", bend, bent_role.as_deref(), dice);
        // A root that is bent is a new one, except for a client that has none yet.
        if bent_role.as_deref() == Some("root") && !first {
            self.rotate(dice);
        }
        let (_, _, root) = self.put("root", bend, bent_role.as_deref(), dice);
        if first {
            self.first_root = root;
        }
        if let Some(Bend {
            stage: Stage::Server(change),
            ..
        }) = bend
        {
            change(&mut self.files, &old, dice);
        }
    }

    fn pick_role(&self, bend: &Bend, dice: &mut Dice) -> String {
        let mut roles: Vec<String> = Vec::new();
        for role in bend.roles.split(' ') {
            match role {
                "delegated" => {
                    roles.extend(self.targets_roles().into_iter().filter(|role| role != "targets"));
                }
                other => roles.push(other.to_owned()),
            }
        }
        if roles.is_empty() {
            "targets".to_owned()
        } else {
            dice.pick(&roles).clone()
        }
    }

    /// Signs a role and puts it up: what the role above lists, its version, and what was put up.
    fn put(
        &mut self,
        role: &str,
        bend: Option<&Bend>,
        bent: Option<&str>,
        dice: &mut Dice,
    ) -> (Vec<u8>, u64, Vec<u8>) {
        let version = self.signed[role]["version"].as_u64().unwrap();
        let mut signed = self.signed[role].clone();
        let stage = bend.filter(|_| bent == Some(role)).map(|bend| &bend.stage);
        if let Some(Stage::Signed(change)) = stage {
            change(&mut signed, dice);
        }
        let mut seeds = self.signers[role].clone();
        if role == "root" {
            seeds.extend(
                self.root_before
                    .iter()
                    .filter(|seed| !self.signers["root"].contains(*seed)),
            );
        }
        let message = canonical::to_vec(&signed).unwrap_or_else(|_| serde_json::to_vec(&signed).unwrap());
        let signature = |seed: &u8| json!({"keyid": key_id(*seed), "sig": hex::encode(key(*seed).sign(&message).unwrap())});
        let mut file =
            json!({"signatures": seeds.iter().map(signature).collect::<Vec<_>>(), "signed": signed});
        // Who changes signatures or bytes has no keys, but may have those of the roles above.
        let before = serde_json::to_vec(&file).unwrap();
        if let Some(Stage::Envelope(change)) = stage {
            change(&mut file, dice);
        }
        let mut bytes = serde_json::to_vec(&file).unwrap();
        if let Some(Stage::Bytes(change)) = stage {
            change(&mut bytes, dice);
        }
        let listed = if dice.once_in(2) { before } else { bytes.clone() };
        let name = file_name(role);
        if role == "root" || (self.consistent && role != "timestamp") {
            self.files.insert(format!("{version}.{name}"), bytes.clone());
        } else {
            self.files.insert(name, bytes.clone());
        }
        (listed, version, bytes)
    }

    fn list(&self, version: u64, bytes: &[u8], dice: &mut Dice) -> Value {
        let mut listed = json!({"version": version});
        if self.lists_hashes {
            if !dice.once_in(4) {
                listed["length"] = bytes.len().into();
            }
            listed["hashes"] = hashes(bytes, dice);
        }
        listed
    }

    /// All paths, in some order, one of them twice.
    pub fn wanted(&self, dice: &mut Dice) -> Vec<String> {
        (0..4).map(|_| (*dice.pick(&PATHS)).to_owned()).collect()
    }
}

fn target(bytes: &[u8], dice: &mut Dice) -> Value {
    json!({"length": bytes.len(), "hashes": hashes(bytes, dice)})
}

fn hashes(bytes: &[u8], dice: &mut Dice) -> Value {
    let (short, long) = (
        hex::encode(Sha256::digest(bytes)),
        hex::encode(Sha512::digest(bytes)),
    );
    match dice.below(4) {
        0 => json!({"sha512": long}),
        1 => json!({"sha256": short, "sha512": long}),
        _ => json!({"sha256": short}),
    }
}
