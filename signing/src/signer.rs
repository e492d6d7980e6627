use std::collections::BTreeSet;
use std::fmt;

use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::canonical::{self, CanonicalError};
use crate::envelope;
use crate::metadata::Role;
use crate::{KeyId, PublicKey};

/// Something that holds a private key: a file, a token, a service.
pub trait Signer {
    /// The key that checks what it signs.
    fn public_key(&self) -> &PublicKey;

    /// A signature in the form that [`PublicKey::verify`] takes.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why something could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key's holder refused or could not be reached.
    #[error("key {key} did not sign")]
    Signer {
        /// The key.
        key: KeyId,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The text is not an ed25519 private key.
    #[error("not an ed25519 private key in PKCS#8 PEM: {0}")]
    Pem(String),
    /// The document has no canonical form.
    #[error("the {role} metadata cannot be signed")]
    Canonical {
        /// The role's type.
        role: &'static str,
        /// The reason.
        source: CanonicalError,
    },
    /// The document is not JSON.
    #[error("the {role} metadata cannot be written as JSON")]
    Json {
        /// The role's type.
        role: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
}

/// Signs a role's metadata: the complete file, with one signature of each different key over the canonical form.
pub fn sign<R: Role>(signed: &R, signers: &[&dyn Signer]) -> Result<Vec<u8>, SignError> {
    let json = |source| SignError::Json {
        role: R::TYPE,
        source,
    };
    let signed = envelope::to_value(signed).map_err(json)?;
    let message = canonical::to_vec(&signed).map_err(|source| SignError::Canonical {
        role: R::TYPE,
        source,
    })?;
    let mut seen = BTreeSet::new();
    let mut signatures = Vec::new();
    for signer in signers {
        let keyid = signer.public_key().id();
        if seen.insert(keyid.clone()) {
            let signature = hex::encode(signer.sign(&message)?);
            signatures.push(json!({"keyid": keyid.as_str(), "sig": signature}));
        }
    }
    let file: Value = json!({"signatures": signatures, "signed": signed});
    serde_json::to_vec(&file).map_err(json)
}

/// An ed25519 private key in memory, wiped when dropped.
pub struct Ed25519Key {
    private: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl Ed25519Key {
    /// The key of a 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::of(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 in PEM (RFC 8410, section 7).
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, SignError> {
        // The library's reason is given as text: its type would make its version part of our interface.
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
            .map(Self::of)
            .map_err(|error| SignError::Pem(error.to_string()))
    }

    /// Writes PKCS#8 in PEM (RFC 8410, section 7).
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SignError> {
        // Without the public half: with it the file is PKCS#8 version 2, which OpenSSL does not read.
        let bytes = KeypairBytes {
            secret_key: self.private.to_bytes(),
            public_key: None,
        };
        bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| SignError::Pem(error.to_string()))
    }

    fn of(private: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::ed25519(private.verifying_key().as_bytes());
        Self { private, public }
    }
}

impl Signer for Ed25519Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.private.sign(message).to_bytes().to_vec())
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Ed25519Key").field(&self.public.id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trip() {
        let key = Ed25519Key::from_seed(&[9; 32]);
        let pem = key.to_pkcs8_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{}", *pem);
        let again = Ed25519Key::from_pkcs8_pem(&pem).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert!(matches!(
            Ed25519Key::from_pkcs8_pem("nonsense"),
            Err(SignError::Pem(_))
        ));
    }

    #[test]
    fn a_key_never_shows_its_secret() {
        let shown = format!("{:?}", Ed25519Key::from_seed(&[0xaa; 32]));
        assert!(
            !shown.contains("aaaaaaaa") && !shown.contains("170, 170"),
            "{shown}"
        );
    }
}
