use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use millet_protocol::{Model, Sha256Digest, targets};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::root::{check_keyids, role_keys};
use super::{Other, Role, check_hashes, differing_hash, sha256_hash};
use crate::error::FormError;
use crate::instant::tuf;
use crate::{Authority, KeyId, PublicKey, path_matches, role_name};

/// `targets.json` and every delegated role (section 4.5): files, and roles that may name more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// The file's version, from 1.
    pub version: u64,
    /// When it stops being valid.
    #[serde(with = "tuf")]
    pub expires: Timestamp,
    /// Keyed by target path.
    pub targets: BTreeMap<String, TargetFile>,
    /// Roles that this one trusts with some of its paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// A file by its length and hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Bytes of the file.
    pub length: u64,
    /// Hexadecimal digests by function, `sha256` or `sha512`.
    pub hashes: BTreeMap<String, String>,
    /// Whatever the application wants to say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// Keys and roles, in the order in which they are searched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Delegations {
    /// The keys of all roles below.
    pub keys: BTreeMap<KeyId, PublicKey>,
    /// The roles.
    pub roles: Vec<DelegatedRole>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// A role, its keys, and the paths it is trusted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DelegatedRole {
    /// The role's name, which names its file.
    pub name: String,
    /// Identifiers of its keys.
    pub keyids: Vec<KeyId>,
    /// How many different keys must sign.
    pub threshold: u64,
    /// Patterns of paths, see [`path_matches`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Instead of patterns: how the hexadecimal SHA-256 of a path may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hash_prefixes: Option<Vec<String>>,
    /// Whether the search for its paths ends here, found or not.
    #[serde(default)]
    pub terminating: bool,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Other,
}

impl TargetFile {
    /// A file by its length and SHA-256.
    pub fn new(length: u64, sha256: &Sha256Digest) -> Self {
        Self {
            length,
            hashes: sha256_hash(sha256),
            custom: None,
            other: Other::new(),
        }
    }

    /// A small file by its bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self::new(length, &Sha256Digest(Sha256::digest(bytes).into()))
    }

    /// Its SHA-256, which also names it in a consistent snapshot; `None` when only other functions are listed.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.hashes.get("sha256")?.parse().ok()
    }

    /// Whether the bytes are this file's: equal length, and every listed hash that we know, at least one
    /// (5.7.3). Whoever downloads stops at `length` bytes.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        u64::try_from(bytes.len()) == Ok(self.length) && differing_hash(&self.hashes, bytes).is_none()
    }
}

impl Targets {
    /// Version 1 without files or delegations.
    pub fn new(expires: Timestamp) -> Self {
        Self {
            version: 1,
            expires,
            targets: BTreeMap::new(),
            delegations: None,
            other: Other::new(),
        }
    }

    /// The next version, with the same content.
    pub fn next(&self, expires: Timestamp) -> Self {
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        next.expires = expires;
        next
    }

    /// The keys and threshold of a role that this one delegates to.
    pub fn authority(&self, delegated: &str) -> Option<Authority<'_>> {
        let delegations = self.delegations.as_ref()?;
        let role = delegations.roles.iter().find(|role| role.name == delegated)?;
        Some(Authority::new(
            &role.name,
            &delegations.keys,
            &role.keyids,
            role.threshold,
        ))
    }

    /// The roles that this one delegates to, in the order of the search.
    pub fn delegated_roles(&self) -> impl Iterator<Item = &DelegatedRole> {
        self.delegations.iter().flat_map(|delegations| &delegations.roles)
    }

    /// Delegates a model's three roles, or changes their keys: `builds.<model>` to the release engineers' offline keys,
    /// `deltas.<model>` and `rollouts.<model>` to the server's. Each has its own folder of paths and ends the search there.
    pub fn delegate_model(
        &mut self,
        model: &Model,
        builds: &[PublicKey],
        threshold: u64,
        deltas: &PublicKey,
        rollouts: &PublicKey,
    ) -> Result<(), FormError> {
        self.delegate(
            &targets::builds_role(model),
            &format!("{model}/builds/*"),
            builds,
            threshold,
        )?;
        let online = |key: &PublicKey| vec![key.clone()];
        self.delegate(
            &targets::deltas_role(model),
            &format!("{model}/deltas/*"),
            &online(deltas),
            1,
        )?;
        self.delegate(
            &targets::rollouts_role(model),
            &format!("{model}/rollouts/*"),
            &online(rollouts),
            1,
        )
    }

    fn delegate(
        &mut self,
        name: &str,
        path: &str,
        keys: &[PublicKey],
        threshold: u64,
    ) -> Result<(), FormError> {
        role_name::check_delegated(name)?;
        let role = role_keys(name, keys, threshold)?;
        let delegations = self.delegations.get_or_insert_default();
        let role = DelegatedRole {
            name: name.to_owned(),
            keyids: role.keyids,
            threshold,
            paths: Some(vec![path.to_owned()]),
            path_hash_prefixes: None,
            terminating: true,
            other: Other::new(),
        };
        match delegations.roles.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = role,
            None => delegations.roles.push(role),
        }
        delegations
            .keys
            .extend(keys.iter().map(|key| (key.id(), key.clone())));
        let used: BTreeSet<&KeyId> = delegations.roles.iter().flat_map(|role| &role.keyids).collect();
        delegations.keys.retain(|keyid, _| used.contains(keyid));
        Ok(())
    }
}

impl DelegatedRole {
    /// Whether the role is trusted with a path.
    pub fn covers(&self, path: &str) -> bool {
        let by_pattern = self
            .paths
            .iter()
            .flatten()
            .any(|pattern| path_matches(pattern, path));
        let mut prefixes = self.path_hash_prefixes.iter().flatten().peekable();
        by_pattern
            || prefixes.peek().is_some() && {
                let digest = hex::encode(Sha256::digest(path));
                prefixes.any(|prefix| digest.starts_with(prefix.as_str()))
            }
    }
}

impl Role for Targets {
    const TYPE: &'static str = "targets";

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> Timestamp {
        self.expires
    }

    fn check(&self) -> Result<(), FormError> {
        for (path, file) in &self.targets {
            check_hashes(path, &file.hashes)?;
        }
        let mut names = BTreeSet::new();
        for role in self.delegated_roles() {
            role_name::check_delegated(&role.name)?;
            check_keyids(&role.name, &role.keyids, role.threshold)?;
            // 4.5 `ROLENAME`: multiple roles with the same name are not allowed.
            if !names.insert(&role.name) {
                return Err(FormError::Twice(role.name.clone()));
            }
            // 4.5 `PATHPATTERN`: exactly one of the two attributes.
            if role.paths.is_some() == role.path_hash_prefixes.is_some() {
                return Err(FormError::Paths(role.name.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::ed25519(&[seed; 32])
    }

    #[test]
    fn a_model_has_three_roles_and_its_keys_can_change() {
        let model: Model = "rubik".parse().unwrap();
        let mut targets = Targets::new(Timestamp::UNIX_EPOCH);
        targets
            .delegate_model(&model, &[key(1), key(2)], 2, &key(3), &key(4))
            .unwrap();
        targets.check().unwrap();
        let names: Vec<&str> = targets.delegated_roles().map(|role| role.name.as_str()).collect();
        assert_eq!(names, ["builds.rubik", "deltas.rubik", "rollouts.rubik"]);
        let builds = targets.delegated_roles().next().unwrap();
        assert!(builds.covers("rubik/builds/V6.json"));
        assert!(!builds.covers("rubik/deltas/V6.json") && !builds.covers("other/builds/V6.json"));
        targets
            .delegate_model(&model, &[key(5)], 1, &key(3), &key(4))
            .unwrap();
        assert_eq!(targets.delegated_roles().count(), 3);
        assert_eq!(targets.delegations.as_ref().unwrap().keys.len(), 3);
    }

    #[test]
    fn keys_that_verify_nothing_get_no_role() {
        let model: Model = "rubik".parse().unwrap();
        let useless: PublicKey = serde_json::from_str(
            r#"{"keytype": "sphincs", "scheme": "shake-128s", "keyval": {"public": "x"}}"#,
        )
        .unwrap();
        let keys = |wrong: usize| {
            let mut keys = [key(1), key(2), key(3)];
            keys[wrong] = useless.clone();
            keys
        };
        for [builds, deltas, rollouts] in [0, 1, 2].map(keys) {
            let mut targets = Targets::new(Timestamp::UNIX_EPOCH);
            let refused = targets.delegate_model(&model, &[builds], 1, &deltas, &rollouts);
            assert!(matches!(refused, Err(FormError::Threshold { .. })));
        }
        let mut targets = Targets::new(Timestamp::UNIX_EPOCH);
        let posing = targets.delegate("snapshot", "*", &[key(1)], 1);
        assert!(matches!(posing, Err(FormError::RoleName(_))));
    }

    #[test]
    fn hash_prefixes_cover_paths() {
        let role = DelegatedRole {
            name: "bin".into(),
            keyids: Vec::new(),
            threshold: 1,
            paths: None,
            path_hash_prefixes: Some(vec![hex::encode(&Sha256::digest("a/b")[..1])]),
            terminating: false,
            other: Other::new(),
        };
        assert!(role.covers("a/b"));
        let outside = ["x", "y", "z"].iter().filter(|path| !role.covers(path)).count();
        assert!(outside >= 2);
    }

    #[test]
    fn a_target_matches_by_length_and_hash() {
        let file = TargetFile::of(b"content");
        assert!(file.matches(b"content"));
        assert!(!file.matches(b"contents") && !file.matches(b"kontent"));
        assert_eq!(
            file.sha256(),
            Some(Sha256Digest(Sha256::digest(b"content").into()))
        );
        let mut other = file.clone();
        other.hashes.clear();
        assert_eq!(other.sha256(), None);
        let mut longer = file;
        longer.length = 8;
        assert!(!longer.matches(b"content"));
    }

    #[test]
    fn forms_that_would_deceive_are_refused() {
        let mut targets = Targets::new(Timestamp::UNIX_EPOCH);
        targets.delegate("a", "x/*", &[key(1)], 1).unwrap();
        let mut twice = targets.clone();
        let delegations = twice.delegations.as_mut().unwrap();
        delegations.roles.push(delegations.roles[0].clone());
        assert!(matches!(twice.check(), Err(FormError::Twice(_))));
        let mut top = targets.clone();
        top.delegations.as_mut().unwrap().roles[0].name = "snapshot".into();
        assert!(matches!(top.check(), Err(FormError::RoleName(_))));
        let mut both = targets.clone();
        both.delegations.as_mut().unwrap().roles[0].path_hash_prefixes = Some(Vec::new());
        assert!(matches!(both.check(), Err(FormError::Paths(_))));
        targets.targets.insert(
            "x/y".into(),
            TargetFile {
                hashes: BTreeMap::new(),
                ..TargetFile::of(b"")
            },
        );
        assert!(matches!(targets.check(), Err(FormError::NoHash(_))));
    }
}
