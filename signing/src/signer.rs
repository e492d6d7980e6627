use std::collections::BTreeSet;

use serde_json::{Value, json};

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
    /// The text is not a private key of the kind that was expected.
    #[error("not {expected} in PKCS#8 PEM: {reason}")]
    Pem {
        /// What it should have been.
        expected: &'static str,
        /// What the parser says; as text, since its type would make its version part of our interface.
        reason: String,
    },
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
