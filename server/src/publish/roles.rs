//! Whether signed offline roles may follow those that are held. Pure: signatures, versions, delegations.

use std::collections::BTreeMap;

use jiff::Timestamp;
use millet_protocol::api::Publication;
use millet_protocol::targets::model_of;
use millet_protocol::{Model, Sha256Digest};
use millet_signing::metadata::{DelegatedRole, Role, Root, Targets};
use millet_signing::{Authority, TrustError, verify, verify_first_root, verify_next_root};
use sha2::{Digest, Sha256};

use super::{PublishError, role_of};
use crate::held::Held;
use crate::keys::OnlineKeys;
use crate::metadata_writer::WriteError;
use crate::store::SignedFile;

/// Verified offline roles, and which of them are new.
#[derive(Debug)]
pub struct Offline {
    files: Vec<SignedFile>,
    builds: BTreeMap<Model, Targets>,
}

impl Offline {
    /// The lists of builds that are new.
    pub fn new_builds(&self) -> impl Iterator<Item = (&Model, &Targets)> {
        self.builds.iter()
    }

    /// The new files.
    pub fn into_files(self) -> Vec<SignedFile> {
        self.files
    }
}

/// Checks what was sent against what is held. A file that is held already is not new, whatever else was sent.
pub fn check(
    held: &Held,
    publication: &Publication,
    keys: &OnlineKeys,
    now: Timestamp,
) -> Result<Offline, PublishError> {
    let sent = |role: &str| publication.metadata.get(role).map(String::as_bytes);
    for role in publication.metadata.keys() {
        if role != "root" && role != "targets" && model_of("builds.", role).is_none() {
            return Err(PublishError::UnknownRole(role.chars().take(80).collect()));
        }
    }
    let mut files = Vec::new();
    let root = check_root(held, sent("root"), now, &mut files)?;
    let is_new = is_taken("root", &files);
    check_online(keys, "snapshot", root.authority("snapshot"), is_new)?;
    check_online(keys, "timestamp", root.authority("timestamp"), is_new)?;
    let targets = check_targets(held, &root, sent("targets"), now, &mut files)?;
    check_delegations(held, &targets, keys, is_taken("targets", &files))?;
    let mut builds = BTreeMap::new();
    for role in targets.delegated_roles() {
        let Some(model) = model_of("builds.", &role.name) else {
            continue;
        };
        if let Some(list) = check_builds(held, &targets, &role.name, sent(&role.name), now, &mut files)? {
            builds.insert(model, list);
        }
    }
    if let Some(stray) = publication
        .metadata
        .keys()
        .find(|role| model_of("builds.", role).is_some() && targets.authority(role).is_none())
    {
        return Err(PublishError::NotDelegated(stray.clone()));
    }
    Ok(Offline { files, builds })
}

fn check_root(
    held: &Held,
    sent: Option<&[u8]>,
    now: Timestamp,
    files: &mut Vec<SignedFile>,
) -> Result<Root, PublishError> {
    let not_trusted = |source| PublishError::NotTrusted {
        role: "root".to_owned(),
        source,
    };
    let current = held.repository().map(|repository| &repository.root);
    let root = match (current, sent) {
        (None, None) => return Err(PublishError::Empty),
        (Some(root), None) => return Ok(root.clone()),
        (Some(root), Some(bytes)) if is_held(held, "root", bytes) => return Ok(root.clone()),
        // The first root is believed because the repository is empty and the token was right.
        (None, Some(bytes)) => {
            let root = verify_first_root(bytes).map_err(not_trusted)?;
            check_version("root", 1, root.version)?;
            root
        }
        (Some(_), Some(bytes)) if verify_first_root(bytes).is_ok_and(|root| root.version == 1) => {
            return Err(PublishError::OtherRoot);
        }
        (Some(root), Some(bytes)) => verify_next_root(bytes, root).map_err(|error| match error {
            TrustError::Version { expected, actual, .. } => PublishError::Version {
                role: "root".to_owned(),
                expected,
                offered: actual,
            },
            source => not_trusted(source),
        })?,
    };
    if let Some(bytes) = sent {
        take("root", &root, bytes, now, files)?;
    }
    Ok(root)
}

fn check_targets(
    held: &Held,
    root: &Root,
    sent: Option<&[u8]>,
    now: Timestamp,
    files: &mut Vec<SignedFile>,
) -> Result<Targets, PublishError> {
    let authority = root
        .authority("targets")
        .ok_or_else(|| PublishError::NotDelegated("targets".to_owned()))?;
    let Some(bytes) = sent else {
        let file = held.file("targets").ok_or(PublishError::Empty)?;
        return still_trusted(file, &authority);
    };
    let targets: Targets = verify(bytes, &authority).map_err(|source| PublishError::NotTrusted {
        role: "targets".to_owned(),
        source,
    })?;
    if let Some(path) = targets.targets.keys().next() {
        return Err(PublishError::ForeignTarget(path.clone()));
    }
    if !is_held(held, "targets", bytes) {
        check_version(
            "targets",
            held.version("targets").saturating_add(1),
            targets.version,
        )?;
        take("targets", &targets, bytes, now, files)?;
    }
    Ok(targets)
}

fn check_builds(
    held: &Held,
    targets: &Targets,
    role: &str,
    sent: Option<&[u8]>,
    now: Timestamp,
    files: &mut Vec<SignedFile>,
) -> Result<Option<Targets>, PublishError> {
    let authority = targets
        .authority(role)
        .ok_or_else(|| PublishError::NotDelegated(role.to_owned()))?;
    let Some(bytes) = sent else {
        let file = held
            .file(role)
            .ok_or_else(|| PublishError::NotSent(role.to_owned()))?;
        still_trusted(file, &authority)?;
        return Ok(None);
    };
    let builds: Targets = verify(bytes, &authority).map_err(|source| PublishError::NotTrusted {
        role: role.to_owned(),
        source,
    })?;
    if is_held(held, role, bytes) {
        return Ok(None);
    }
    check_version(role, held.version(role).saturating_add(1), builds.version)?;
    if let Some(deeper) = builds.delegated_roles().next() {
        return Err(PublishError::ForeignRole(deeper.name.clone()));
    }
    take(role, &builds, bytes, now, files)?;
    Ok(Some(builds))
}

/// Every delegated role is one of a model's three, with its own folder and, online, with this server's key alone.
fn check_delegations(
    held: &Held,
    targets: &Targets,
    keys: &OnlineKeys,
    is_new: bool,
) -> Result<(), PublishError> {
    for role in targets.delegated_roles() {
        if let Some(model) = model_of("builds.", &role.name) {
            check_paths(role, format!("{model}/builds/*"))?;
            for other in ["deltas.", "rollouts."] {
                let other = format!("{other}{model}");
                if targets.authority(&other).is_none() {
                    return Err(PublishError::NotDelegated(other));
                }
            }
        } else if let Some(model) = model_of("deltas.", &role.name) {
            check_paths(role, format!("{model}/deltas/*"))?;
            check_online(keys, &role.name, targets.authority(&role.name), is_new)?;
        } else if let Some(model) = model_of("rollouts.", &role.name) {
            check_paths(role, format!("{model}/rollouts/*"))?;
            check_online(keys, &role.name, targets.authority(&role.name), is_new)?;
        } else {
            return Err(PublishError::ForeignRole(role.name.chars().take(80).collect()));
        }
    }
    for model in held
        .repository()
        .iter()
        .flat_map(|repository| repository.models())
    {
        let role = role_of(&model);
        if targets.authority(&role).is_none() {
            return Err(PublishError::Vanished(role));
        }
    }
    Ok(())
}

fn check_paths(role: &DelegatedRole, expected: String) -> Result<(), PublishError> {
    if role.path_hash_prefixes.is_none() && role.paths.as_deref() == Some(std::slice::from_ref(&expected)) {
        return Ok(());
    }
    Err(PublishError::Paths {
        role: role.name.clone(),
        expected,
    })
}

/// What is new must name this server's keys. That what is held does not is no fault of the publication.
fn check_online(
    keys: &OnlineKeys,
    role: &str,
    authority: Option<Authority<'_>>,
    is_new: bool,
) -> Result<(), PublishError> {
    match keys.signer(role, authority) {
        Ok(_) => Ok(()),
        Err(_) if is_new => Err(PublishError::OnlineKey {
            role: role.to_owned(),
        }),
        Err(untrusted) => Err(WriteError::from(untrusted).into()),
    }
}

/// A held file that was not sent must still verify under the keys that the publication leaves.
fn still_trusted(file: &SignedFile, authority: &Authority<'_>) -> Result<Targets, PublishError> {
    verify(&file.body, authority).map_err(|source| PublishError::Orphaned {
        role: file.role.clone(),
        source,
    })
}

fn check_version(role: &str, expected: u64, offered: u64) -> Result<(), PublishError> {
    if offered == expected {
        return Ok(());
    }
    Err(PublishError::Version {
        role: role.to_owned(),
        expected,
        offered,
    })
}

fn take(
    role: &str,
    metadata: &impl Role,
    bytes: &[u8],
    now: Timestamp,
    files: &mut Vec<SignedFile>,
) -> Result<(), PublishError> {
    if metadata.expires() <= now {
        return Err(PublishError::Expired {
            role: role.to_owned(),
            expires: metadata.expires(),
        });
    }
    files.push(SignedFile {
        role: role.to_owned(),
        version: metadata.version(),
        expires: metadata.expires(),
        sha256: Sha256Digest(Sha256::digest(bytes).into()),
        body: bytes.to_vec(),
    });
    Ok(())
}

fn is_taken(role: &str, files: &[SignedFile]) -> bool {
    files.iter().any(|file| file.role == role)
}

fn is_held(held: &Held, role: &str, bytes: &[u8]) -> bool {
    held.file(role).is_some_and(|file| file.body == bytes)
}
