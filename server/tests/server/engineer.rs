use std::collections::BTreeMap;
use std::io::Cursor;

use jiff::{SignedDuration, Timestamp};
use millet_payload::{Image, Options};
use millet_protocol::api::{OnlineKeys, Publication, Published};
use millet_protocol::{
    Build, BuildManifest, Entry, FORMAT, Model, PartitionName, PayloadRef, Sequence, Sha256Digest, targets,
};
use millet_signing::metadata::{Root, TargetFile, Targets};
use millet_signing::{Ed25519Key, PublicKey, Signer, sign};

use crate::world::{Answer, World};

/// A release engineer with all offline keys of a repository with the model `rubik`.
pub struct Engineer {
    pub root_key: Ed25519Key,
    pub targets_key: Ed25519Key,
    pub builds_key: Ed25519Key,
    pub root: Root,
    pub targets: Targets,
    pub builds: Targets,
    /// The first root, as it ships in an image.
    pub shipped: Vec<u8>,
}

pub fn model() -> Model {
    "rubik".parse().unwrap()
}

pub fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[seed; 32])
}

impl Engineer {
    /// Makes the offline roles for a server's online keys.
    pub fn new(world: &World) -> Self {
        let online: OnlineKeys = world.get("/api/v1/online-keys").json();
        let online: BTreeMap<String, PublicKey> = online
            .keys
            .into_iter()
            .map(|(role, key)| (role, serde_json::from_value(key).unwrap()))
            .collect();
        let (root_key, targets_key, builds_key) = (key(101), key(102), key(103));
        let expires = far(world.now());
        let mut root = Root::new(expires);
        root.set_role("root", &[root_key.public_key().clone()], 1)
            .unwrap();
        root.set_role("targets", &[targets_key.public_key().clone()], 1)
            .unwrap();
        root.set_role("snapshot", &[online["snapshot"].clone()], 1)
            .unwrap();
        root.set_role("timestamp", &[online["timestamp"].clone()], 1)
            .unwrap();
        let mut targets = Targets::new(expires);
        let builders = [builds_key.public_key().clone()];
        targets
            .delegate_model(&model(), &builders, 1, &online["deltas"], &online["rollouts"])
            .unwrap();
        let shipped = sign(&root, &[&root_key]).unwrap();
        Self {
            root_key,
            targets_key,
            builds_key,
            root,
            targets,
            builds: Targets::new(expires),
            shipped,
        }
    }

    /// Begins the repository with an empty list of builds.
    pub fn begin(world: &World) -> Self {
        let engineer = Self::new(world);
        let answer = engineer.publish(world, &["root", "targets", "builds.rubik"]);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        engineer
    }

    pub fn signed(&self, role: &str) -> String {
        let bytes = match role {
            "root" => sign(&self.root, &[&self.root_key]),
            "targets" => sign(&self.targets, &[&self.targets_key]),
            _ => sign(&self.builds, &[&self.builds_key]),
        };
        String::from_utf8(bytes.unwrap()).unwrap()
    }

    pub fn publish(&self, world: &World, roles: &[&str]) -> Answer {
        let metadata = roles
            .iter()
            .map(|role| ((*role).to_owned(), self.signed(role)))
            .collect();
        world.post("/publications", &Publication { metadata })
    }

    /// Signs the next list of builds and publishes it.
    pub fn publish_builds(&mut self, world: &World) -> Answer {
        self.builds = self.builds.next(far(world.now()));
        let answer = self.publish(world, &["builds.rubik"]);
        if answer.status != 200 {
            self.builds.version -= 1;
        }
        answer
    }

    /// Uploads a build and lists it, without publishing.
    pub fn add(&mut self, world: &World, manifest: &BuildManifest, payload: &[u8]) {
        let document = serde_json::to_vec(manifest).unwrap();
        world.upload(payload);
        world.upload(&document);
        self.name(manifest, payload);
    }

    /// Signs the next list of builds with one more, without sending anything.
    pub fn list(&mut self, world: &World, manifest: &BuildManifest, payload: &[u8]) {
        self.builds = self.builds.next(far(world.now()));
        self.name(manifest, payload);
    }

    fn name(&mut self, manifest: &BuildManifest, payload: &[u8]) {
        let document = serde_json::to_vec(manifest).unwrap();
        let (model, build) = (&manifest.model, &manifest.build);
        let files = &mut self.builds.targets;
        files.insert(targets::full_payload(model, build), TargetFile::of(payload));
        files.insert(targets::manifest(model, build), TargetFile::of(&document));
    }

    /// Builds, uploads and publishes a week's build for `channels`.
    pub fn release(&mut self, world: &World, week: u8, channels: &[&str]) -> Published {
        let (manifest, payload) = build(week, channels);
        self.add(world, &manifest, &payload);
        let answer = self.publish_builds(world);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}

/// Long enough for every test that lets weeks pass.
fn far(now: Timestamp) -> Timestamp {
    now.checked_add(SignedDuration::from_hours(24 * 365)).unwrap()
}

pub fn name(week: u8) -> Build {
    format!("V6.11.{week}").parse().unwrap()
}

/// Two small partitions; most of a week's bytes are those of the week before.
pub fn images(week: u8) -> BTreeMap<PartitionName, Vec<u8>> {
    let mut system = noise(1, 64 * 4096);
    system[4096..8192].copy_from_slice(&noise(u32::from(week), 4096));
    let boot = noise(1000 + u32::from(week), 2 * 4096);
    BTreeMap::from([
        ("system".parse().unwrap(), system),
        ("boot".parse().unwrap(), boot),
    ])
}

/// Bytes that do not compress (xorshift, Marsaglia 2003).
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..length).map(|_| step()).collect()
}

pub fn build(week: u8, channels: &[&str]) -> (BuildManifest, Vec<u8>) {
    let images = images(week);
    let list: Vec<Image<'_>> = images
        .iter()
        .map(|(name, bytes)| Image {
            name: name.clone(),
            bytes,
        })
        .collect();
    let mut payload = Cursor::new(Vec::new());
    let summary = millet_payload::write_full(&list, &Options::default(), &(), &mut payload).unwrap();
    let entry = |id: &str, title: &str| Entry {
        id: id.parse().unwrap(),
        title: title.to_owned(),
        description: format!("{title}, as many have asked."),
    };
    let manifest = BuildManifest {
        format: FORMAT,
        model: model(),
        build: name(week),
        sequence: sequence(week),
        train: format!("2026-W{week:02}").parse().unwrap(),
        data_epoch: 1,
        channels: channels.iter().map(|channel| channel.parse().unwrap()).collect(),
        released: "2026-11-20T11:00:00Z".parse().unwrap(),
        security_patch: "2026-11-05".parse().unwrap(),
        partitions: summary.partitions,
        payload: PayloadRef {
            path: targets::full_payload(&model(), &name(week)),
            metadata_size: summary.metadata_size,
            metadata_sha256: summary.metadata_sha256,
        },
        floor: None,
        requires: None,
        notes: BTreeMap::from([("en".to_owned(), "Faster & calmer.".to_owned())]),
        entries: vec![
            entry("dark-mode", "Dark mode at sunset"),
            entry("quiet-camera", "A quiet camera"),
        ],
        known_issues: vec!["The flashlight tile flickers once.".to_owned()],
    };
    (manifest, payload.into_inner())
}

pub fn sequence(week: u8) -> Sequence {
    Sequence(202_600_001 + u64::from(week) * 1000)
}

pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    TargetFile::of(bytes).sha256().unwrap()
}
