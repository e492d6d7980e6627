//! The keys that the server signs with: they can delay and waste, never name other bytes.

use std::path::{Path, PathBuf};

use millet_protocol::api;
use millet_signing::{Authority, Ed25519Key, PublicKey, Signer};

use crate::edge::Random;
use crate::held::Held;
use crate::secret_file::{SecretError, draft, keep, read};

/// One key for each online role.
#[derive(Debug)]
pub struct OnlineKeys {
    /// Signs what is current.
    pub snapshot: Ed25519Key,
    /// Signs that it still is.
    pub timestamp: Ed25519Key,
    /// Signs the lists of deltas of every model.
    pub deltas: Ed25519Key,
    /// Signs the rollout documents of every model.
    pub rollouts: Ed25519Key,
}

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Another in its place would be trusted by nobody.
    #[error(
        "the key {path} is missing. Put it back from your backup; if it is lost, move all of {folder} away and follow \
         \"The server was broken into\" in docs/ceremony.md"
    )]
    Missing {
        /// The key.
        path: PathBuf,
        /// The folder of all keys.
        folder: PathBuf,
    },
    /// A key's file.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Keys that the repository does not name: nobody would believe what they sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the repository names other keys than this server's for {}", roles.join(", "))]
pub struct UntrustedKeys {
    /// The roles that they would sign.
    pub roles: Vec<String>,
}

/// What the server's operator does about [`UntrustedKeys`].
pub const TRUST_ADVICE: &str = "Put the data folder's keys/ back as it was and start the server again. If it is lost, have \
    the root and targets keys sign for the new ones: \"The server was broken into\" in docs/ceremony.md.";

const ROLES: [&str; 4] = ["snapshot", "timestamp", "deltas", "rollouts"];

impl OnlineKeys {
    /// Reads `<role>.key` of each role (PKCS#8, PEM, mode 0600).
    pub fn read(folder: &Path) -> Result<Self, KeysError> {
        let key = |role| {
            let path = path_of(folder, role);
            let pem = read(&path)?.ok_or_else(|| missing(folder, role))?;
            let key = Ed25519Key::from_pkcs8_pem(&pem).map_err(|error| SecretError::Content {
                path,
                reason: error.to_string(),
            })?;
            Ok::<_, KeysError>(key)
        };
        Ok(Self {
            snapshot: key("snapshot")?,
            timestamp: key("timestamp")?,
            deltas: key("deltas")?,
            rollouts: key("rollouts")?,
        })
    }

    /// Reads the keys, making all of them when there is none. True when they were made.
    ///
    /// All drafts are there before the first is put in place. So a key that is missing beside others is either a draft,
    /// because a power cut came between, or lost.
    pub fn open(folder: &Path, random: &Random) -> Result<(Self, bool), KeysError> {
        let mut absent = Vec::new();
        for role in ROLES {
            let path = path_of(folder, role);
            let look_for = |source| SecretError::Io {
                operation: "look for",
                path: path.clone(),
                source,
            };
            if !path.try_exists().map_err(look_for)? {
                absent.push(role);
            }
        }
        if absent.len() == ROLES.len() {
            for role in ROLES {
                let path = path_of(folder, role);
                draft(&path, &new_key(&path, random)?)?;
            }
        }
        for role in &absent {
            if !keep(&path_of(folder, role))? {
                return Err(missing(folder, role));
            }
        }
        Ok((Self::read(folder)?, !absent.is_empty()))
    }

    /// The key that signs an online role, if the repository believes it alone.
    pub fn signer(&self, role: &str, authority: Option<Authority<'_>>) -> Result<&Ed25519Key, UntrustedKeys> {
        let key = match role {
            "snapshot" => &self.snapshot,
            "timestamp" => &self.timestamp,
            _ if role.starts_with("deltas.") => &self.deltas,
            _ => &self.rollouts,
        };
        match authority {
            Some(authority) if authority.threshold() == 1 && authority.has(key.public_key()) => Ok(key),
            _ => Err(UntrustedKeys {
                roles: vec![role.to_owned()],
            }),
        }
    }

    /// Whether the repository, once it has begun, names these keys for every online role.
    pub fn check(&self, held: &Held) -> Result<(), UntrustedKeys> {
        let Some(repository) = held.repository() else {
            return Ok(());
        };
        let mut roles = repository.online_roles();
        roles.retain(|role| self.signer(role, repository.authority(role)).is_err());
        if roles.is_empty() {
            return Ok(());
        }
        Err(UntrustedKeys { roles })
    }

    /// The public keys by role.
    pub fn public(&self) -> [(&'static str, &PublicKey); 4] {
        [
            ("snapshot", self.snapshot.public_key()),
            ("timestamp", self.timestamp.public_key()),
            ("deltas", self.deltas.public_key()),
            ("rollouts", self.rollouts.public_key()),
        ]
    }

    /// The public keys as release engineers ask for them.
    pub fn to_message(&self) -> Result<api::OnlineKeys, serde_json::Error> {
        let object = |(role, key): (&str, &PublicKey)| Ok((role.to_owned(), serde_json::to_value(key)?));
        Ok(api::OnlineKeys {
            keys: self.public().into_iter().map(object).collect::<Result<_, _>>()?,
        })
    }
}

fn path_of(folder: &Path, role: &str) -> PathBuf {
    folder.join(format!("{role}.key"))
}

fn missing(folder: &Path, role: &str) -> KeysError {
    KeysError::Missing {
        path: path_of(folder, role),
        folder: folder.to_owned(),
    }
}

fn new_key(path: &Path, random: &Random) -> Result<String, SecretError> {
    let seed = random.bytes().map_err(|source| SecretError::Io {
        operation: "make a key for",
        path: path.to_owned(),
        source,
    })?;
    let pem = Ed25519Key::from_seed(&seed).to_pkcs8_pem();
    pem.map(|pem| pem.to_string())
        .map_err(|error| SecretError::Content {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}
