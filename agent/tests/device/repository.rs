use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use millet_payload::{Image, Options, Summary, write_delta, write_full};
use millet_protocol::{
    Build, BuildManifest, DeltaCustom, Entry, FORMAT, Model, PayloadRef, RampPoint, RolloutDocument,
    RolloutState, Sequence, Sha256Digest, targets,
};
use millet_signing::metadata::{MetaFile, Root, Snapshot, TargetFile, Targets};
use millet_signing::{Ed25519Key, Signer, metadata, sign};
use sha2::{Digest, Sha256};

use crate::server::Server;

/// Images of a build, by partition.
pub type Images = BTreeMap<String, Vec<u8>>;

/// A repository that signs everything with keys of fixed seeds and puts it on a server.
pub struct Repository {
    pub now: Timestamp,
    pub images: BTreeMap<String, Images>,
    root: Root,
    snapshot: u64,
    pub roles: BTreeMap<String, Targets>,
    /// The seeds of the keys that sign for each role; a thief signs with those that he has.
    pub signers: BTreeMap<&'static str, Vec<u8>>,
}

fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[seed; 32])
}

fn model() -> Model {
    "rubik".parse().unwrap()
}

fn online(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

impl Repository {
    pub fn new(now: Timestamp) -> Self {
        Self::signed_by(now, &[5], 1)
    }

    /// With these release engineers, so many of whom must sign.
    pub fn signed_by(now: Timestamp, builds: &[u8], threshold: u64) -> Self {
        let mut root = Root::new(now + online(365));
        for (role, seed) in [("root", 1), ("targets", 2), ("snapshot", 3), ("timestamp", 4)] {
            root.set_role(role, &[key(seed).public_key().clone()], 1).unwrap();
        }
        let mut top = Targets::new(now + online(365));
        let public = |seed| key(seed).public_key().clone();
        let engineers: Vec<_> = builds.iter().map(|seed| public(*seed)).collect();
        top.delegate_model(&model(), &engineers, threshold, &public(6), &public(7))
            .unwrap();
        let mut roles = BTreeMap::from([("targets".to_owned(), top)]);
        for role in ["builds.rubik", "deltas.rubik", "rollouts.rubik"] {
            roles.insert(role.to_owned(), Targets::new(now + online(60)));
        }
        Self {
            now,
            images: BTreeMap::new(),
            root,
            snapshot: 0,
            roles,
            signers: BTreeMap::from([
                ("targets", vec![2]),
                ("builds.rubik", builds[..threshold as usize].to_vec()),
                ("deltas.rubik", vec![6]),
                ("rollouts.rubik", vec![7]),
            ]),
        }
    }

    pub fn first_root(&self) -> Vec<u8> {
        sign(&self.root, &[&key(1)]).unwrap()
    }

    /// Adds a build with its full payload; `change` may change its manifest.
    pub fn build(
        &mut self,
        server: &Server,
        week: u64,
        images: Images,
        change: impl FnOnce(&mut BuildManifest),
    ) {
        let build = name(week);
        let (bytes, summary) = full(&images);
        let path = targets::full_payload(&model(), &build);
        self.target(server, "builds.rubik", &path, &bytes, None);
        let mut manifest = BuildManifest {
            format: FORMAT,
            model: model(),
            build: build.clone(),
            sequence: Sequence(week),
            train: "2026-W47".parse().unwrap(),
            data_epoch: 1,
            channels: vec!["beta".parse().unwrap()],
            released: self.now,
            security_patch: "2026-11-05".parse().unwrap(),
            partitions: summary.partitions,
            payload: PayloadRef {
                path,
                metadata_size: summary.metadata_size,
                metadata_sha256: summary.metadata_sha256,
            },
            floor: None,
            requires: None,
            notes: BTreeMap::new(),
            entries: vec![Entry {
                id: "lava".parse().unwrap(),
                title: "Lava".into(),
                description: "A lamp.".into(),
            }],
            known_issues: Vec::new(),
        };
        change(&mut manifest);
        let document = serde_json::to_vec(&manifest).unwrap();
        self.target(
            server,
            "builds.rubik",
            &targets::manifest(&model(), &build),
            &document,
            None,
        );
        self.images.insert(build.to_string(), images);
    }

    /// Adds a delta between two builds. `leave_out` names a partition that it does not carry.
    pub fn delta(&mut self, server: &Server, from: u64, to: u64, leave_out: Option<&str>) {
        let pick = |week: u64| -> Images {
            let images = self.images[name(week).as_str()].clone();
            images
                .into_iter()
                .filter(|(partition, _)| Some(partition.as_str()) != leave_out)
                .collect()
        };
        let (bytes, summary) = delta(&pick(from), &pick(to));
        let custom = DeltaCustom {
            from: name(from),
            to: name(to),
            metadata_size: summary.metadata_size,
            metadata_sha256: summary.metadata_sha256,
        };
        let path = targets::delta_payload(&model(), &name(from), &name(to));
        self.target(
            server,
            "deltas.rubik",
            &path,
            &bytes,
            Some(serde_json::to_value(custom).unwrap()),
        );
    }

    /// Adds a delta that makes `evil` images and says of them that they are the build's.
    pub fn forged_delta(&mut self, server: &Server, from: u64, to: u64, evil: &Images) {
        let (mut bytes, made) = delta(&self.images[name(from).as_str()], evil);
        let (_, right) = full(&self.images[name(to).as_str()]);
        for (evil, right) in made.partitions.iter().zip(&right.partitions) {
            let places: Vec<usize> = (0..bytes.len() - 32)
                .filter(|at| bytes[*at..at + 32] == evil.sha256.0)
                .collect();
            for at in places {
                bytes[at..at + 32].copy_from_slice(&right.sha256.0);
            }
        }
        let head = &bytes[..usize::try_from(made.metadata_size).unwrap()];
        let custom = DeltaCustom {
            from: name(from),
            to: name(to),
            metadata_size: made.metadata_size,
            metadata_sha256: Sha256Digest(Sha256::digest(head).into()),
        };
        let path = targets::delta_payload(&model(), &name(from), &name(to));
        let custom = serde_json::to_value(custom).unwrap();
        self.target(server, "deltas.rubik", &path, &bytes, Some(custom));
    }

    /// Offers a build to everybody, unless `change` says otherwise.
    pub fn offer(&mut self, server: &Server, week: u64, change: impl FnOnce(&mut RolloutDocument)) {
        let mut rollout = RolloutDocument {
            format: FORMAT,
            model: model(),
            channel: "beta".parse().unwrap(),
            build: name(week),
            sequence: Sequence(week),
            state: RolloutState::Running,
            reason: None,
            ramp: vec![RampPoint {
                at: self.now,
                percent: 100.0,
            }],
            pilot: None,
            stones: Vec::new(),
            polls_seconds: 1,
        };
        change(&mut rollout);
        let path = targets::rollout(&model(), &rollout.channel);
        let document = serde_json::to_vec(&rollout).unwrap();
        self.target(server, "rollouts.rubik", &path, &document, None);
    }

    /// Signs everything anew, at `self.now`, and puts it up.
    pub fn publish(&mut self, server: &Server) {
        self.publish_with_timestamp_of(server, self.now);
    }

    pub fn publish_with_timestamp_of(&mut self, server: &Server, signed_at: Timestamp) {
        self.snapshot += 1;
        let mut snapshot = Snapshot::new(self.snapshot, self.now + online(7));
        for (role, seeds) in &self.signers {
            let role = *role;
            let targets = self.roles.get_mut(role).unwrap();
            targets.version = self.snapshot;
            targets.expires = self.now + online(if role == "targets" { 365 } else { 60 });
            let keys: Vec<Ed25519Key> = seeds.iter().map(|seed| key(*seed)).collect();
            let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
            let bytes = sign(targets, &signers).unwrap();
            snapshot.set_role(role, MetaFile::of(self.snapshot, &bytes));
            server.put(&format!("/repo/metadata/{}.{role}.json", self.snapshot), bytes);
        }
        let bytes = sign(&snapshot, &[&key(3)]).unwrap();
        let listed = MetaFile::of(self.snapshot, &bytes);
        server.put(&format!("/repo/metadata/{}.snapshot.json", self.snapshot), bytes);
        let timestamp = metadata::Timestamp::new(self.snapshot, signed_at, signed_at + online(1), listed);
        server.put(
            "/repo/metadata/timestamp.json",
            sign(&timestamp, &[&key(4)]).unwrap(),
        );
    }

    pub fn target(
        &mut self,
        server: &Server,
        role: &str,
        path: &str,
        bytes: &[u8],
        custom: Option<serde_json::Value>,
    ) {
        let mut file = TargetFile::of(bytes);
        file.custom = custom;
        let (folder, name) = path.rsplit_once('/').unwrap();
        let sha256 = Sha256Digest(Sha256::digest(bytes).into());
        server.put(&format!("/repo/targets/{folder}/{sha256}.{name}"), bytes.to_vec());
        self.roles
            .get_mut(role)
            .unwrap()
            .targets
            .insert(path.to_owned(), file);
    }
}

pub fn name(week: u64) -> Build {
    format!("V{week}").parse().unwrap()
}

/// Two partitions that a week changes a little; `size` is system's, in blocks.
pub fn images(week: u8, blocks: usize) -> Images {
    let mut system = noise(1, blocks * 4096);
    let changed = system.len() / 8;
    system[..changed].copy_from_slice(&noise(week, changed));
    let line = format!("build=V{week}\nhealth=good\n");
    system[4096..4096 + line.len()].copy_from_slice(line.as_bytes());
    Images::from([
        ("boot".to_owned(), noise(100 + week, 16 * 4096)),
        ("system".to_owned(), system),
    ])
}

/// The same, but the health check will not like it.
pub fn sick(week: u8, blocks: usize) -> Images {
    let mut images = images(week, blocks);
    let system = images.get_mut("system").unwrap();
    let at = system
        .windows(11)
        .position(|window| window == b"health=good")
        .unwrap();
    system[at..at + 11].copy_from_slice(b"health=evil");
    images
}

/// Bytes that do not compress: xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Compressing is most of the tests' time, and most of them want the same payloads.
static FULL: Mutex<BTreeMap<Images, (Vec<u8>, Summary)>> = Mutex::new(BTreeMap::new());

fn full(images: &Images) -> (Vec<u8>, Summary) {
    let mut made = FULL.lock().unwrap();
    if let Some(payload) = made.get(images) {
        return payload.clone();
    }
    let mut bytes = Vec::new();
    let summary = write_full(&as_images(images), &options(), &(), &mut bytes).unwrap();
    made.insert(images.clone(), (bytes.clone(), summary.clone()));
    (bytes, summary)
}

fn delta(from: &Images, to: &Images) -> (Vec<u8>, Summary) {
    let mut bytes = Vec::new();
    let summary = write_delta(&as_images(from), &as_images(to), &options(), &(), &mut bytes).unwrap();
    (bytes, summary)
}

fn options() -> Options {
    Options {
        threads: 1,
        xz_level: 0,
        ..Options::default()
    }
}

fn as_images(images: &Images) -> Vec<Image<'_>> {
    images
        .iter()
        .map(|(name, bytes)| Image {
            name: name.parse().unwrap(),
            bytes,
        })
        .collect()
}
