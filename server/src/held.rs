//! The repository's own metadata as it stands, checked again whenever it is read.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use millet_protocol::{Model, targets};
use millet_signing::metadata::{Root, Snapshot, Targets, Timestamp as TufTimestamp, lifetime};
use millet_signing::{Authority, TrustError, verify, verify_first_root};

use crate::store::SignedFile;

/// What is current.
#[derive(Debug, Default, Clone)]
pub struct Held {
    files: BTreeMap<String, SignedFile>,
    repository: Option<Repository>,
}

/// The offline roles of a repository that has been begun.
#[derive(Debug, Clone)]
pub struct Repository {
    /// The keys of the top-level roles.
    pub root: Root,
    /// The models and the keys of their roles.
    pub targets: Targets,
    /// The builds of each model.
    pub builds: BTreeMap<Model, Targets>,
}

/// What is stored does not verify: the database was changed by someone else.
#[derive(Debug, thiserror::Error)]
#[error("the stored {role} metadata does not verify")]
pub struct HeldError {
    role: String,
    source: TrustError,
}

/// Corrections of a clock that are no reason to sign anew.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(10);

impl Held {
    /// Reads the newest file of every role.
    pub fn read(files: Vec<SignedFile>) -> Result<Self, HeldError> {
        let files: BTreeMap<_, _> = files.into_iter().map(|file| (file.role.clone(), file)).collect();
        let repository = match (files.get("root"), files.get("targets")) {
            (Some(root), Some(targets)) => Some(Repository::read(root, targets, &files)?),
            _ => None,
        };
        Ok(Self { files, repository })
    }

    /// The offline roles, once a repository has been begun.
    pub fn repository(&self) -> Option<&Repository> {
        self.repository.as_ref()
    }

    /// The newest file of a role.
    pub fn file(&self, role: &str) -> Option<&SignedFile> {
        self.files.get(role)
    }

    /// The version of a role's newest file; 0 when there is none.
    pub fn version(&self, role: &str) -> u64 {
        self.files.get(role).map_or(0, |file| file.version)
    }

    /// Every file by its role.
    pub fn files(&self) -> impl Iterator<Item = &SignedFile> {
        self.files.values()
    }

    /// The online roles whose signature should be renewed now: less than half their life is left, or more than all of
    /// it, because the clock that dated them ran ahead; or nobody believes it.
    pub fn due(&self, now: Timestamp) -> Vec<String> {
        let orphaned = self.orphaned();
        let due = |file: &&SignedFile| {
            let life = match online_lifetime(&file.role) {
                Some(life) => life,
                None => return false,
            };
            let left = file.expires.duration_since(now);
            left < life / 2 || left > life.saturating_add(CLOCK_STEP) || orphaned.contains(&file.role)
        };
        self.files
            .values()
            .filter(due)
            .map(|file| file.role.clone())
            .collect()
    }

    /// The online roles whose newest file does not count under the keys that the repository names.
    pub fn orphaned(&self) -> Vec<String> {
        let Some(repository) = &self.repository else {
            return Vec::new();
        };
        self.files
            .values()
            .filter(|file| online_lifetime(&file.role).is_some() && !repository.believes(file))
            .map(|file| file.role.clone())
            .collect()
    }
}

impl Repository {
    fn read(
        root: &SignedFile,
        targets: &SignedFile,
        files: &BTreeMap<String, SignedFile>,
    ) -> Result<Self, HeldError> {
        let failed = |role: &str| {
            let role = role.to_owned();
            move |source| HeldError { role, source }
        };
        let root = verify_first_root(&root.body).map_err(failed("root"))?;
        let authority = root
            .authority("targets")
            .ok_or_else(|| not_delegated("targets", "root"))?;
        let targets: Targets = verify(&targets.body, &authority).map_err(failed("targets"))?;
        let mut builds = BTreeMap::new();
        for (role, file) in files {
            let Some(model) = targets::model_of("builds.", role) else {
                continue;
            };
            let authority = targets
                .authority(role)
                .ok_or_else(|| not_delegated(role, "targets"))?;
            builds.insert(model, verify(&file.body, &authority).map_err(failed(role))?);
        }
        Ok(Self {
            root,
            targets,
            builds,
        })
    }

    /// Whose signatures count for an online role.
    pub fn authority(&self, role: &str) -> Option<Authority<'_>> {
        match role {
            "snapshot" | "timestamp" => self.root.authority(role),
            _ => self.targets.authority(role),
        }
    }

    fn believes(&self, file: &SignedFile) -> bool {
        self.authority(&file.role)
            .is_some_and(|authority| match file.role.as_str() {
                "snapshot" => verify::<Snapshot>(&file.body, &authority).is_ok(),
                "timestamp" => verify::<TufTimestamp>(&file.body, &authority).is_ok(),
                _ => verify::<Targets>(&file.body, &authority).is_ok(),
            })
    }

    /// Every role that the server signs.
    pub fn online_roles(&self) -> Vec<String> {
        let mut roles = vec!["snapshot".to_owned(), "timestamp".to_owned()];
        for model in self.models() {
            roles.push(targets::deltas_role(&model));
            roles.push(targets::rollouts_role(&model));
        }
        roles
    }

    /// The models that targets delegates, by name.
    pub fn models(&self) -> impl Iterator<Item = Model> {
        self.targets
            .delegated_roles()
            .filter_map(|role| targets::model_of("builds.", &role.name))
    }
}

/// How long a signature of an online role lasts; nothing for offline roles.
pub fn online_lifetime(role: &str) -> Option<SignedDuration> {
    match role {
        "timestamp" => Some(lifetime::TIMESTAMP),
        "snapshot" => Some(lifetime::SNAPSHOT),
        _ if targets::model_of("deltas.", role).is_some() => Some(lifetime::DELTAS),
        _ if targets::model_of("rollouts.", role).is_some() => Some(lifetime::ROLLOUTS),
        _ => None,
    }
}

fn not_delegated(role: &str, parent: &str) -> HeldError {
    HeldError {
        role: role.to_owned(),
        source: TrustError::NotDelegated {
            role: role.to_owned(),
            parent: parent.to_owned(),
        },
    }
}
