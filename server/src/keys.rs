//! The keys that the server signs with: they can delay and waste, never name other bytes.

use std::path::Path;

use millet_protocol::api;
use millet_signing::{Ed25519Key, PublicKey, Signer};

use crate::edge::Random;
use crate::secret_file::{SecretError, read_or_make};

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

impl OnlineKeys {
    /// Reads `<role>.key` of each role (PKCS#8, PEM, mode 0600), making those that are not there.
    pub fn open(folder: &Path, random: &Random) -> Result<Self, SecretError> {
        Ok(Self {
            snapshot: key(folder, "snapshot", random)?,
            timestamp: key(folder, "timestamp", random)?,
            deltas: key(folder, "deltas", random)?,
            rollouts: key(folder, "rollouts", random)?,
        })
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

fn key(folder: &Path, role: &str, random: &Random) -> Result<Ed25519Key, SecretError> {
    let path = folder.join(format!("{role}.key"));
    let make = || {
        let seed = random.bytes().map_err(|source| SecretError::Io {
            operation: "make a key for",
            path: path.clone(),
            source,
        })?;
        let pem = Ed25519Key::from_seed(&seed).to_pkcs8_pem();
        pem.map(|pem| pem.to_string())
            .map_err(|error| SecretError::Content {
                path: path.clone(),
                reason: error.to_string(),
            })
    };
    let (pem, _) = read_or_make(&path, make)?;
    Ed25519Key::from_pkcs8_pem(&pem).map_err(|error| SecretError::Content {
        path: path.clone(),
        reason: error.to_string(),
    })
}
