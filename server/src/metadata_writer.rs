//! The one writer of the repository's metadata: takes its turn, changes things in memory, signs the online roles, and
//! commits everything in one transaction that ends in one new `timestamp.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use millet_protocol::{DeltaCustom, Model, Sha256Digest, targets};
use millet_signing::metadata::{
    MetaFile, Role, Snapshot, TargetFile, Targets, Timestamp as TufTimestamp, lifetime,
};
use millet_signing::{Ed25519Key, SignError, sign};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use crate::edge::Clock;
use crate::held::{Held, HeldError};
use crate::keys::{OnlineKeys, UntrustedKeys};
use crate::objects::{ObjectError, Objects};
use crate::rollouts::visible;
use crate::store::{Commit, FinishedDelta, JobKey, SignedFile, Store, StoreError, TargetRow};

/// Writes metadata, one change at a time over all processes.
#[derive(Debug)]
pub struct MetadataWriter {
    store: Store,
    objects: Objects,
    keys: OnlineKeys,
    holder: String,
    clock: Clock,
    turn: Mutex<()>,
}

/// Why a change was not written. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another process is writing.
    #[error("another process is writing the metadata")]
    Busy,
    /// Devices would refuse what we sign.
    #[error(transparent)]
    Keys(#[from] UntrustedKeys),
    /// What is stored cannot be believed.
    #[error(transparent)]
    Held(#[from] HeldError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// An online key did not sign.
    #[error("sign the {role} metadata")]
    Sign {
        /// The role.
        role: String,
        /// Why.
        source: SignError,
    },
    /// A document could not be written as JSON.
    #[error("write {subject} as JSON")]
    Json {
        /// The document.
        subject: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The right to write once, and what is current while it lasts.
#[derive(Debug)]
pub struct Turn<'a> {
    writer: &'a MetadataWriter,
    _guard: MutexGuard<'a, ()>,
    fence: u64,
    /// What is current.
    pub held: Held,
    /// When the turn began.
    pub now: Timestamp,
}

const LEASE: &str = "metadata";
/// A turn takes a second; a process that has died in one holds up the others for so long.
const LEASE_TIME: SignedDuration = SignedDuration::from_secs(30);
/// Looked at so often and so many times, a dead process's lease has run out.
const WAIT: Duration = Duration::from_millis(200);
const WAITS: u32 = 200;

impl MetadataWriter {
    /// A writer that is called `holder` among the processes of a database.
    pub fn new(store: Store, objects: Objects, keys: OnlineKeys, holder: String, clock: Clock) -> Self {
        Self {
            store,
            objects,
            keys,
            holder,
            clock,
            turn: Mutex::new(()),
        }
    }

    /// The keys it signs with.
    pub fn keys(&self) -> &OnlineKeys {
        &self.keys
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits for the turn to write.
    pub async fn begin(&self) -> Result<Turn<'_>, WriteError> {
        let guard = self.turn.lock().await;
        for _ in 0..WAITS {
            let now = self.clock.now();
            let until = now.saturating_add(LEASE_TIME).unwrap_or(now);
            if let Some(fence) = self.store.take_lease(LEASE, &self.holder, now, until).await? {
                let held = Held::read(self.store.current_metadata().await?)?;
                return Ok(Turn {
                    writer: self,
                    _guard: guard,
                    fence,
                    held,
                    now,
                });
            }
            tokio::time::sleep(WAIT).await;
        }
        Err(WriteError::Busy)
    }

    /// Whether the repository names our keys: while it does not, no change can be written.
    pub async fn check_keys(&self) -> Result<(), WriteError> {
        let mut files = Vec::new();
        for role in ["root", "targets"] {
            files.extend(self.store.latest_metadata(role).await?);
        }
        Ok(self.keys.check(&Held::read(files)?)?)
    }

    /// Signs again what has lived more than half its time or nobody believes, as far as our keys are believed. The roles
    /// that were signed.
    pub async fn renew(&self) -> Result<Vec<String>, WriteError> {
        let turn = self.begin().await?;
        let mut due = turn.held.due(turn.now);
        let may = |role: &str| key_for(role, &self.keys, &turn.held).is_ok();
        // A list is shown by a snapshot, and that by a timestamp.
        due.retain(|role| may(role) && may("timestamp") && (role == "timestamp" || may("snapshot")));
        if !due.is_empty() {
            let after = turn.held.clone();
            turn.write(Commit::default(), &after, &due).await?;
        }
        Ok(due)
    }
}

impl Turn<'_> {
    /// Writes a change: adds to it the online roles that follow from it and those of `renew`, and a new snapshot and
    /// timestamp that show it. The snapshot's version.
    ///
    /// Refused while any of our keys is not the one that the repository names after the change.
    pub async fn commit(self, commit: Commit, renew: &[String]) -> Result<u64, WriteError> {
        let after = self.after(&commit)?;
        self.writer.keys.check(&after)?;
        let mut renew = renew.to_vec();
        renew.extend(after.orphaned());
        self.write(commit, &after, &renew).await
    }

    /// What is current once a commit is written, but for the online roles.
    fn after(&self, commit: &Commit) -> Result<Held, HeldError> {
        Held::read(self.held.files().chain(&commit.files).cloned().collect())
    }

    async fn write(self, mut commit: Commit, after: &Held, renew: &[String]) -> Result<u64, WriteError> {
        let mut files: BTreeMap<String, SignedFile> = after
            .files()
            .map(|file| (file.role.clone(), file.clone()))
            .collect();
        let touched = Touched::by(&commit, renew);
        let mut signed = Vec::new();
        for model in after
            .repository()
            .iter()
            .flat_map(|repository| repository.models())
        {
            let role = targets::deltas_role(&model);
            if touched.deltas.contains(&model) || !files.contains_key(&role) {
                let listed = self.deltas(&model, &mut commit).await?;
                signed.push(self.sign_list(role, listed, lifetime::DELTAS, after)?);
            }
            let role = targets::rollouts_role(&model);
            if touched.rollouts.contains(&model) || !files.contains_key(&role) {
                let listed = self.rollouts(&model, &mut commit).await?;
                signed.push(self.sign_list(role, listed, lifetime::ROLLOUTS, after)?);
            }
        }
        files.extend(signed.iter().map(|file| (file.role.clone(), file.clone())));
        commit.files.extend(signed);
        let mut snapshot_version = self.held.version("snapshot");
        if !commit.files.is_empty() || touched.snapshot {
            let snapshot = self.sign_snapshot(&files, after)?;
            snapshot_version = snapshot.version;
            files.insert(snapshot.role.clone(), snapshot.clone());
            commit.files.push(snapshot);
        }
        if !commit.files.is_empty() || touched.timestamp {
            let timestamp = self.sign_timestamp(&files, after)?;
            commit.files.push(timestamp);
        }
        self.writer
            .store
            .commit(LEASE, self.fence, self.writer.clock.now(), &commit)
            .await?;
        Ok(snapshot_version)
    }

    /// The deltas towards builds that are listed after the commit.
    async fn deltas(
        &self,
        model: &Model,
        commit: &mut Commit,
    ) -> Result<BTreeMap<String, TargetFile>, WriteError> {
        let mut listed: BTreeMap<_, _> = BTreeMap::new();
        for row in self
            .writer
            .store
            .builds(model)
            .await?
            .iter()
            .chain(&commit.builds)
        {
            if row.manifest.model == *model {
                listed.insert(row.manifest.build.clone(), row.listed);
            }
        }
        let mut done: Vec<(JobKey, FinishedDelta)> = Vec::new();
        for job in self.writer.store.jobs_of(model).await? {
            done.extend(job.finished.map(|delta| (job.key, delta)));
        }
        let finished = commit.finished.iter().filter(|(job, _)| job.key.model == *model);
        done.extend(finished.map(|(job, delta)| (job.key.clone(), *delta)));
        done.retain(|(key, _)| listed.get(&key.to) == Some(&true));
        let mut files = BTreeMap::new();
        for (key, delta) in done {
            let path = key.path();
            let custom = DeltaCustom {
                from: key.from,
                to: key.to,
                metadata_size: delta.metadata_size,
                metadata_sha256: delta.metadata_sha256,
            };
            let mut file = TargetFile::new(delta.size, &delta.sha256);
            file.custom = Some(to_json(&path, &custom)?);
            commit.targets.push(TargetRow {
                path: path.clone(),
                sha256: delta.sha256,
                length: delta.size,
            });
            files.insert(path, file);
        }
        Ok(files)
    }

    /// The rollout documents that devices see after the commit. Each is stored before anything names it.
    async fn rollouts(
        &self,
        model: &Model,
        commit: &mut Commit,
    ) -> Result<BTreeMap<String, TargetFile>, WriteError> {
        let mut rows = self.writer.store.rollouts(model).await?;
        rows.retain(|row| !commit.rollouts.iter().any(|new| new.key() == row.key()));
        rows.extend(commit.rollouts.iter().filter(|row| row.model == *model).cloned());
        let mut files = BTreeMap::new();
        for document in visible(&rows).filter_map(|row| row.document.as_ref()) {
            let path = targets::rollout(model, &document.channel);
            let bytes = serde_json::to_vec(document).map_err(|source| WriteError::Json {
                subject: path.clone(),
                source,
            })?;
            let file = TargetFile::of(&bytes);
            let sha256 = self.writer.objects.put(bytes).await?;
            commit.targets.push(TargetRow {
                path: path.clone(),
                sha256,
                length: file.length,
            });
            files.insert(path, file);
        }
        Ok(files)
    }

    fn sign_list(
        &self,
        role: String,
        files: BTreeMap<String, TargetFile>,
        life: SignedDuration,
        after: &Held,
    ) -> Result<SignedFile, WriteError> {
        let key = key_for(&role, &self.writer.keys, after)?;
        let mut list = Targets::new(self.expiry(life));
        list.version = self.next_version(&role);
        list.targets = files;
        signed_file(role, &list, key)
    }

    fn sign_snapshot(
        &self,
        files: &BTreeMap<String, SignedFile>,
        after: &Held,
    ) -> Result<SignedFile, WriteError> {
        let key = key_for("snapshot", &self.writer.keys, after)?;
        let mut snapshot = Snapshot::new(self.next_version("snapshot"), self.expiry(lifetime::SNAPSHOT));
        for (role, file) in files {
            if !matches!(role.as_str(), "root" | "snapshot" | "timestamp") {
                snapshot.set_role(role, MetaFile::of(file.version, &file.body));
            }
        }
        signed_file("snapshot".to_owned(), &snapshot, key)
    }

    fn sign_timestamp(
        &self,
        files: &BTreeMap<String, SignedFile>,
        after: &Held,
    ) -> Result<SignedFile, WriteError> {
        let key = key_for("timestamp", &self.writer.keys, after)?;
        // There is always one: it was signed just now or is held, since a timestamp is never signed before it.
        let snapshot = match files.get("snapshot") {
            Some(file) => MetaFile::of(file.version, &file.body),
            None => MetaFile::of(0, &[]),
        };
        let timestamp = TufTimestamp::new(
            self.next_version("timestamp"),
            self.now,
            self.expiry(lifetime::TIMESTAMP),
            snapshot,
        );
        signed_file("timestamp".to_owned(), &timestamp, key)
    }

    fn next_version(&self, role: &str) -> u64 {
        self.held.version(role).saturating_add(1)
    }

    fn expiry(&self, life: SignedDuration) -> Timestamp {
        self.now.saturating_add(life).unwrap_or(Timestamp::MAX)
    }
}

/// Which online roles a commit changes.
#[derive(Debug, Default)]
struct Touched {
    deltas: BTreeSet<Model>,
    rollouts: BTreeSet<Model>,
    snapshot: bool,
    timestamp: bool,
}

impl Touched {
    fn by(commit: &Commit, renew: &[String]) -> Self {
        let mut touched = Self::default();
        touched
            .deltas
            .extend(commit.finished.iter().map(|(job, _)| job.key.model.clone()));
        touched
            .deltas
            .extend(commit.builds.iter().map(|row| row.manifest.model.clone()));
        let opened = commit.rollouts.iter().filter(|row| row.document.is_some());
        touched.rollouts.extend(opened.map(|row| row.model.clone()));
        for role in renew {
            touched.snapshot |= role == "snapshot";
            touched.timestamp |= role == "timestamp";
            touched.deltas.extend(targets::model_of("deltas.", role));
            touched.rollouts.extend(targets::model_of("rollouts.", role));
        }
        touched
    }
}

/// The key that signs a role. Nothing is signed but with a key that comes from here.
fn key_for<'a>(role: &str, keys: &'a OnlineKeys, held: &Held) -> Result<&'a Ed25519Key, UntrustedKeys> {
    let authority = held
        .repository()
        .and_then(|repository| repository.authority(role));
    keys.signer(role, authority)
}

fn signed_file<R: Role>(role: String, metadata: &R, key: &Ed25519Key) -> Result<SignedFile, WriteError> {
    let body = sign(metadata, &[key]).map_err(|source| WriteError::Sign {
        role: role.clone(),
        source,
    })?;
    Ok(SignedFile {
        role,
        version: metadata.version(),
        expires: metadata.expires(),
        sha256: Sha256Digest(Sha256::digest(&body).into()),
        body,
    })
}

fn to_json(subject: &str, value: &impl serde::Serialize) -> Result<serde_json::Value, WriteError> {
    serde_json::to_value(value).map_err(|source| WriteError::Json {
        subject: subject.to_owned(),
        source,
    })
}
