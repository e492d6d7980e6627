use std::fmt;

use ed25519_dalek::Signer as _;
use p256::pkcs8::{
    DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding, ObjectIdentifier, PrivateKeyInfoRef,
    SecretDocument,
};
use zeroize::Zeroizing;

use crate::{PublicKey, SignError, Signer};

/// A private key in memory, of either kind that Millet makes; wiped when dropped.
#[derive(Debug)]
pub enum PrivateKey {
    /// Ed25519.
    Ed25519(Ed25519Key),
    /// ECDSA on P-256.
    P256(P256Key),
}

/// An ed25519 private key in memory, wiped when dropped.
pub struct Ed25519Key {
    private: ed25519_dalek::SigningKey,
    public: PublicKey,
}

/// An ECDSA private key on P-256 in memory, wiped when dropped.
pub struct P256Key {
    private: p256::ecdsa::SigningKey,
    public: PublicKey,
}

/// RFC 8410, section 3; RFC 5480, section 2.1.1.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

impl PrivateKey {
    /// Reads PKCS#8 in PEM, of whichever kind it is.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, SignError> {
        let expected = "an ed25519 or P-256 private key";
        let (_, document) = SecretDocument::from_pem(pem).map_err(|error| not_a_key(expected, error))?;
        let info =
            PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| not_a_key(expected, error))?;
        match info.algorithm.oid {
            ED25519 => Ed25519Key::from_pkcs8_pem(pem).map(Self::Ed25519),
            EC => P256Key::from_pkcs8_pem(pem).map(Self::P256),
            oid => Err(not_a_key(expected, format!("its algorithm is {oid}"))),
        }
    }

    /// Writes PKCS#8 in PEM.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SignError> {
        match self {
            Self::Ed25519(key) => key.to_pkcs8_pem(),
            Self::P256(key) => key.to_pkcs8_pem(),
        }
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        match self {
            Self::Ed25519(key) => key.public_key(),
            Self::P256(key) => key.public_key(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Ed25519(key) => key.sign(message),
            Self::P256(key) => key.sign(message),
        }
    }
}

impl Ed25519Key {
    const NAME: &str = "an ed25519 private key";

    /// The key of a 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::of(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads PKCS#8 in PEM (RFC 8410, section 7).
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, SignError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
            .map(Self::of)
            .map_err(|error| not_a_key(Self::NAME, error))
    }

    /// Writes PKCS#8 in PEM (RFC 8410, section 7).
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SignError> {
        // Without the public half: with it the file is PKCS#8 version 2, which OpenSSL does not read.
        let bytes = ed25519_dalek::pkcs8::KeypairBytes {
            secret_key: self.private.to_bytes(),
            public_key: None,
        };
        bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| not_a_key(Self::NAME, error))
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

impl P256Key {
    const NAME: &str = "a P-256 private key";

    /// The key of a secret scalar, big-endian (SEC 1, section 3.2.1). `None` for zero and for what is not below the
    /// group's order: of 2^32 random ones about one.
    pub fn from_scalar(scalar: &[u8; 32]) -> Option<Self> {
        Self::of(p256::ecdsa::SigningKey::from_slice(scalar).ok()?)
    }

    /// Reads PKCS#8 in PEM (RFC 5958 with RFC 5915).
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, SignError> {
        let private =
            p256::ecdsa::SigningKey::from_pkcs8_pem(pem).map_err(|error| not_a_key(Self::NAME, error))?;
        Self::of(private).ok_or_else(|| not_a_key(Self::NAME, "its public half cannot be written"))
    }

    /// Writes PKCS#8 in PEM (RFC 5958 with RFC 5915).
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, SignError> {
        self.private
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| not_a_key(Self::NAME, error))
    }

    fn of(private: p256::ecdsa::SigningKey) -> Option<Self> {
        let pem = private.verifying_key().to_public_key_pem(LineEnding::LF).ok()?;
        let public = PublicKey::ecdsa_p256(&pem)?;
        Some(Self { private, public })
    }
}

impl Signer for P256Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Deterministic (RFC 6979), so no randomness is needed and a repeated one leaks nothing.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature: p256::ecdsa::DerSignature =
            self.private
                .try_sign(message)
                .map_err(|error| SignError::Signer {
                    key: self.public.id(),
                    source: Box::new(error),
                })?;
        Ok(signature.as_bytes().to_vec())
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("P256Key").field(&self.public.id()).finish()
    }
}

fn not_a_key(expected: &'static str, reason: impl fmt::Display) -> SignError {
    SignError::Pem {
        expected,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_round_trip_of_both_kinds() {
        let ed25519 = Ed25519Key::from_seed(&[9; 32]);
        let p256 = P256Key::from_scalar(&[9; 32]).unwrap();
        for (pem, public) in [
            (ed25519.to_pkcs8_pem().unwrap(), ed25519.public_key()),
            (p256.to_pkcs8_pem().unwrap(), p256.public_key()),
        ] {
            assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{}", *pem);
            let again = PrivateKey::from_pkcs8_pem(&pem).unwrap();
            assert_eq!(again.public_key(), public);
            assert_eq!(again.to_pkcs8_pem().unwrap(), pem);
            assert!(public.verify(b"message", &again.sign(b"message").unwrap()));
        }
        assert!(Ed25519Key::from_pkcs8_pem(&p256.to_pkcs8_pem().unwrap()).is_err());
        assert!(P256Key::from_pkcs8_pem(&ed25519.to_pkcs8_pem().unwrap()).is_err());
        assert!(matches!(
            PrivateKey::from_pkcs8_pem("nonsense"),
            Err(SignError::Pem { .. })
        ));
    }

    #[test]
    fn p256_signs_as_rfc_6979_says() {
        // RFC 6979, appendix A.2.5: P-256, SHA-256, the message "sample".
        let scalar = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
        let r = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
        let s = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
        let mut bytes = [0; 32];
        hex::decode_to_slice(scalar, &mut bytes).unwrap();
        let key = P256Key::from_scalar(&bytes).unwrap();
        let signature = key.sign(b"sample").unwrap();
        // Both integers have their highest bit set, so DER puts a zero before them.
        assert_eq!(hex::encode(&signature), format!("3046022100{r}022100{s}"));
        assert!(key.public_key().verify(b"sample", &signature));
        assert!(!key.public_key().verify(b"simple", &signature));
        assert!(P256Key::from_scalar(&[0; 32]).is_none());
        assert!(P256Key::from_scalar(&[0xff; 32]).is_none());
    }

    #[test]
    fn a_key_never_shows_its_secret() {
        let ed25519 = PrivateKey::Ed25519(Ed25519Key::from_seed(&[0xaa; 32]));
        let p256 = PrivateKey::P256(P256Key::from_scalar(&[0xaa; 32]).unwrap());
        for shown in [format!("{ed25519:?}"), format!("{p256:?}")] {
            assert!(
                !shown.contains("aaaaaaaa") && !shown.contains("170, 170"),
                "{shown}"
            );
        }
    }
}
