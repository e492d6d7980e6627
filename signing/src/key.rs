#[cfg(feature = "rsa")]
mod rsa_pss;

use std::collections::BTreeMap;
use std::fmt;

use p256::ecdsa::signature::Verifier;
use p256::pkcs8::DecodePublicKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::canonical;

/// Names a key within metadata. What Millet makes is the lower-case hexadecimal SHA-256 of the canonical key object.
///
/// Deviation from section 4.2.1, following TAP 12: an identifier that is read is taken as it stands and not computed
/// again. Nothing rests on it, since a threshold counts keys and not identifiers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters, for people.
    pub fn short(&self) -> &str {
        let end = self.0.char_indices().nth(8).map_or(self.0.len(), |(at, _)| at);
        self.0.get(..end).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// A TUF key object (specification, section 4.2.1): ed25519, ECDSA on P-256 with SHA-256, and with the feature `rsa`
/// RSA-PSS with SHA-256 and a modulus of 2048 to 8192 bits.
///
/// Any other type is read and kept, and verifies nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicKey {
    keytype: String,
    scheme: String,
    keyval: KeyValue,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeyValue {
    public: String,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// The key itself, whatever its spelling: two objects with equal material are one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Material {
    Ed25519([u8; 32]),
    /// An uncompressed SEC1 point.
    EcdsaP256(Vec<u8>),
    /// A SubjectPublicKeyInfo in DER.
    #[cfg(feature = "rsa")]
    RsaPss(Vec<u8>),
}

impl PublicKey {
    /// An ed25519 key of its 32 bytes (RFC 8032, section 5.1.5).
    pub fn ed25519(bytes: &[u8; 32]) -> Self {
        Self::of("ed25519", "ed25519", hex::encode(bytes))
    }

    /// A P-256 key of its SubjectPublicKeyInfo in PEM; `None` when it is not one.
    pub fn ecdsa_p256(pem: &str) -> Option<Self> {
        let key = Self::of("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", pem.to_owned());
        key.material().is_some().then_some(key)
    }

    /// The identifier that Millet gives it: SHA-256 of its canonical form.
    pub fn id(&self) -> KeyId {
        // A number that has no canonical form can only stand in a field that we do not know.
        let bytes = serde_json::to_value(self)
            .ok()
            .and_then(|value| canonical::to_vec(&value).ok())
            .unwrap_or_else(|| self.keyval.public.clone().into_bytes());
        KeyId(hex::encode(Sha256::digest(bytes)))
    }

    /// The signature scheme (section 4.2.1), such as `ed25519` or `ecdsa-sha2-nistp256`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether this version can check its signatures.
    pub fn is_supported(&self) -> bool {
        self.material().is_some()
    }

    /// Whether `signature` is this key's over `message`. Ed25519 signatures are 64 bytes and checked strictly (no
    /// keys of small order, no malleable forms); ECDSA signatures are DER (RFC 3279, section 2.2.3); RSA-PSS signatures
    /// may have a salt of any length.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.material()
            .is_some_and(|material| material.verify(message, signature))
    }

    pub(crate) fn material(&self) -> Option<Material> {
        match (self.keytype.as_str(), self.scheme.as_str()) {
            ("ed25519", "ed25519") => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(&self.keyval.public, &mut bytes).ok()?;
                Some(Material::Ed25519(bytes))
            }
            // 4.2.1 has the type `ecdsa`; older writers name the scheme in both places.
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                let key = p256::ecdsa::VerifyingKey::from_public_key_pem(&self.keyval.public).ok()?;
                Some(Material::EcdsaP256(key.to_sec1_point(false).as_bytes().to_vec()))
            }
            #[cfg(feature = "rsa")]
            ("rsa", "rsassa-pss-sha256") => rsa_pss::der(&self.keyval.public).map(Material::RsaPss),
            _ => None,
        }
    }

    fn of(keytype: &str, scheme: &str, public: String) -> Self {
        Self {
            keytype: keytype.to_owned(),
            scheme: scheme.to_owned(),
            keyval: KeyValue {
                public,
                other: BTreeMap::new(),
            },
            other: BTreeMap::new(),
        }
    }
}

impl Material {
    /// Whether `signature` is this key's over `message`, see [`PublicKey::verify`].
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(bytes) => verify_ed25519(bytes, message, signature),
            Self::EcdsaP256(point) => verify_p256(point, message, signature),
            #[cfg(feature = "rsa")]
            Self::RsaPss(der) => rsa_pss::verify(der, message, signature),
        }
    }
}

fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(key)
        .and_then(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_slice(signature)?))
        .is_ok()
}

fn verify_p256(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
        .and_then(|key| key.verify(message, &p256::ecdsa::Signature::from_der(signature)?))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer as _;
    use p256::pkcs8::{EncodePublicKey, LineEnding};
    use serde_json::json;

    use super::*;
    use crate::{Ed25519Key, Signer};

    #[test]
    fn the_id_is_the_hash_of_the_canonical_object() {
        let key = PublicKey::ed25519(&[7; 32]);
        let canonical = format!(
            r#"{{"keytype":"ed25519","keyval":{{"public":"{}"}},"scheme":"ed25519"}}"#,
            "07".repeat(32)
        );
        assert_eq!(key.id().as_str(), hex::encode(Sha256::digest(canonical)));
    }

    #[test]
    fn ed25519() {
        let key = Ed25519Key::from_seed(&[1; 32]);
        let signature = key.sign(b"message").unwrap();
        assert!(key.public_key().verify(b"message", &signature));
        assert!(!key.public_key().verify(b"massage", &signature));
        assert!(!key.public_key().verify(b"message", &signature[..63]));
        // The neutral point signs everything for a verifier that lets keys of small order pass.
        let mut small = [0; 32];
        small[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        assert!(!PublicKey::ed25519(&small).verify(b"anything", &forged));
    }

    #[test]
    fn ecdsa_p256() {
        let secret = p256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap();
        let pem = secret.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        let key = PublicKey::ecdsa_p256(&pem).unwrap();
        let signature: p256::ecdsa::Signature = secret.sign(b"message");
        assert!(key.verify(b"message", signature.to_der().as_bytes()));
        assert!(!key.verify(b"massage", signature.to_der().as_bytes()));
        assert!(!key.verify(b"message", &signature.to_bytes()));
        assert!(PublicKey::ecdsa_p256("not PEM").is_none());
        // Others write the scheme's name where the specification has `ecdsa`; it is one key.
        let named = |keytype: &str| -> PublicKey {
            let object =
                json!({"keytype": keytype, "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}});
            serde_json::from_value(object).unwrap()
        };
        assert_eq!(named("ecdsa").material(), key.material());
        assert!(named("ecdsa").verify(b"message", signature.to_der().as_bytes()));
        assert!(!named("rsa").is_supported());
    }

    #[test]
    fn unknown_types_are_kept_and_verify_nothing() {
        let object =
            json!({"keytype": "sphincs", "scheme": "shake-128s", "keyval": {"public": "x", "y": 1}, "z": 2});
        let key: PublicKey = serde_json::from_value(object.clone()).unwrap();
        assert!(!key.is_supported());
        assert!(!key.verify(b"", b""));
        assert_eq!(serde_json::to_value(&key).unwrap(), object);
    }

    #[test]
    fn a_key_without_a_canonical_form_still_has_an_identifier() {
        let object = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "07".repeat(32)}, "x": 0.5});
        let key: PublicKey = serde_json::from_value(object).unwrap();
        assert_eq!(key.id().as_str(), hex::encode(Sha256::digest("07".repeat(32))));
    }

    #[test]
    fn one_key_in_two_spellings_is_one_key() {
        let lower = PublicKey::ed25519(&[0xab; 32]);
        let upper: PublicKey = serde_json::from_value(
            json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "AB".repeat(32)}}),
        )
        .unwrap();
        assert_ne!(lower.id(), upper.id());
        assert_eq!(lower.material(), upper.material());
    }
}
