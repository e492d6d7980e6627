use std::collections::BTreeMap;

use jiff::Timestamp;
use millet_protocol::api::Publication;
use millet_signing::metadata::{self, MetaFile, Root, Snapshot, TargetFile, Targets};
use millet_signing::{Ed25519Key, Signer, sign, verify, verify_first_root};
use serde_json::{Value, json};

/// What a server keeps: blobs by SHA-256, metadata by file name.
#[derive(Default)]
pub struct FakeRepository {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub metadata: BTreeMap<String, Vec<u8>>,
    pub rollouts: Vec<(String, Value)>,
    root: Option<Root>,
    targets: Option<Targets>,
    listed: BTreeMap<String, MetaFile>,
    version: u64,
}

fn online() -> Ed25519Key {
    Ed25519Key::from_seed(&[7; 32])
}

fn far() -> Timestamp {
    "2099-01-01T00:00:00Z".parse().unwrap()
}

impl FakeRepository {
    pub fn online_keys(&self) -> Value {
        let key = serde_json::to_value(online().public_key()).unwrap();
        let roles = ["snapshot", "timestamp", "deltas", "rollouts"];
        json!({"keys": roles.map(|role| (role, key.clone())).into_iter().collect::<BTreeMap<_, _>>()})
    }

    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(name) = path.strip_prefix("metadata/") {
            return self.metadata.get(name).cloned();
        }
        let name = path.strip_prefix("targets/")?.rsplit('/').next()?;
        self.blobs.get(name.split('.').next()?).cloned()
    }

    pub fn publish(&mut self, publication: &Publication) -> Result<(), String> {
        let text = |role: &str| {
            publication
                .metadata
                .get(role)
                .map(|text| text.as_bytes().to_vec())
        };
        if let Some(bytes) = text("root") {
            self.root = Some(verify_first_root(&bytes).map_err(|error| error.to_string())?);
            self.metadata.insert("1.root.json".into(), bytes);
        }
        let root = self.root.clone().ok_or("there is no root")?;
        if let Some(bytes) = text("targets") {
            let authority = root.authority("targets").unwrap();
            let targets: Targets = verify(&bytes, &authority).map_err(|error| error.to_string())?;
            self.list("targets", targets.version, bytes);
            self.targets = Some(targets);
        }
        let targets = self.targets.clone().ok_or("there are no targets")?;
        for (role, text) in publication
            .metadata
            .iter()
            .filter(|(role, _)| role.starts_with("builds."))
        {
            let authority = targets.authority(role).ok_or("nobody delegates to it")?;
            let builds: Targets = verify(text.as_bytes(), &authority).map_err(|error| error.to_string())?;
            for (path, file) in &builds.targets {
                if !self.blobs.contains_key(&file.sha256().unwrap().to_string()) {
                    return Err(format!("{path} was not uploaded"));
                }
            }
            self.list(role, builds.version, text.clone().into_bytes());
        }
        for role in targets
            .delegated_roles()
            .filter(|role| !role.name.starts_with("builds."))
        {
            let bytes = sign(&Targets::new(far()), &[&online() as &dyn Signer]).unwrap();
            self.list(&role.name, 1, bytes);
        }
        self.sign_online_roles();
        Ok(())
    }

    /// Lets an online role name these targets and no others, whatever they are.
    pub fn name_targets(&mut self, role: &str, targets: BTreeMap<String, TargetFile>) {
        let mut list = Targets::new(far());
        list.version = self.listed[role].version + 1;
        list.targets = targets;
        let bytes = sign(&list, &[&online() as &dyn Signer]).unwrap();
        self.list(role, list.version, bytes);
        self.sign_online_roles();
    }

    /// Every target that is there, by the name under which it is served.
    pub fn targets(&self) -> BTreeMap<String, Vec<u8>> {
        let mut served = BTreeMap::new();
        for (role, file) in &self.listed {
            let bytes = &self.metadata[&format!("{}.{role}.json", file.version)];
            let envelope: Value = serde_json::from_slice(bytes).unwrap();
            let list: Targets = serde_json::from_value(envelope["signed"].clone()).unwrap();
            for (path, file) in list.targets {
                let sha256 = file.sha256().unwrap().to_string();
                let (folder, name) = path.rsplit_once('/').unwrap();
                if let Some(blob) = self.blobs.get(&sha256) {
                    served.insert(format!("targets/{folder}/{sha256}.{name}"), blob.clone());
                }
            }
        }
        served
    }

    fn list(&mut self, role: &str, version: u64, bytes: Vec<u8>) {
        self.listed.insert(role.to_owned(), MetaFile::of(version, &bytes));
        self.metadata.insert(format!("{version}.{role}.json"), bytes);
    }

    fn sign_online_roles(&mut self) {
        self.version += 1;
        let mut snapshot = Snapshot::new(self.version, far());
        for (role, file) in &self.listed {
            snapshot.set_role(role, file.clone());
        }
        let snapshot = sign(&snapshot, &[&online() as &dyn Signer]).unwrap();
        self.metadata
            .insert(format!("{}.snapshot.json", self.version), snapshot);
        self.sign_timestamp(far());
    }

    /// Signs the timestamp once more: the same version, perhaps another end.
    pub fn sign_timestamp(&mut self, expires: Timestamp) {
        let snapshot = &self.metadata[&format!("{}.snapshot.json", self.version)];
        let listed = MetaFile::of(self.version, snapshot);
        let timestamp = metadata::Timestamp::new(self.version, Timestamp::UNIX_EPOCH, expires, listed);
        let timestamp = sign(&timestamp, &[&online() as &dyn Signer]).unwrap();
        self.metadata.insert("timestamp.json".into(), timestamp);
    }
}
