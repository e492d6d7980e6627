//! The key that signs a payload for a phone's own update_engine. It is none of the repository's keys.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use millet_payload::{PayloadKey, SignError};
use millet_protocol::Sha256Digest;
use p256::ecdsa;
use p256::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use rsa::pkcs1v15;
use rsa::sha2::Sha256;
use rsa::signature::SignatureEncoding;
use rsa::signature::hazmat::PrehashSigner;
use rsa::traits::PublicKeyParts;

use crate::keys::read_secret_bytes;

/// A private key out of a file.
pub struct KeyFile {
    path: PathBuf,
    key: Key,
}

enum Key {
    Rsa(Box<pkcs1v15::SigningKey<Sha256>>, usize),
    P256(Box<ecdsa::SigningKey>),
}

/// RFC 8017, appendix C; RFC 5480, 2.1.1 and 2.1.1.1; RFC 8410, 3.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The longest signature of P-256 in DER: two integers of 33 bytes with two of header each, in a sequence.
const LONGEST_P256: usize = 72;

impl KeyFile {
    /// Reads `PATH` or `file:PATH`: PKCS#8, in PEM or, as AOSP's `.pk8` files, in DER. Others must not be able to read
    /// it.
    pub fn read(name: &str) -> anyhow::Result<Self> {
        let path = PathBuf::from(name.strip_prefix("file:").unwrap_or(name));
        let bytes = read_secret_bytes(&path)?;
        let document = match bytes.starts_with(b"-----BEGIN ") {
            true => pem(&path, &bytes)?,
            false => SecretDocument::try_from(bytes.as_slice()).map_err(|error| no_key(&path, error))?,
        };
        let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|error| no_key(&path, error))?;
        let key = match info.algorithm.oid {
            RSA => rsa_key(&path, info)?,
            EC if info.algorithm.parameters_oid() == Ok(P256) => {
                let key = ecdsa::SigningKey::try_from(info).map_err(|error| no_key(&path, error))?;
                Key::P256(Box::new(key))
            }
            EC => return Err(other_kind(&path, "an EC key over another curve than P-256")),
            ED25519 => return Err(other_kind(&path, "an ed25519 key, such as sign repositories")),
            oid => return Err(other_kind(&path, &format!("a key of the algorithm {oid}"))),
        };
        Ok(Self { path, key })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `RSA-2048`, `RSA-4096` or `P-256`.
    pub fn kind(&self) -> String {
        match &self.key {
            Key::Rsa(_, size) => format!("RSA-{}", size.saturating_mul(8)),
            Key::P256(_) => "P-256".to_owned(),
        }
    }
}

impl PayloadKey for KeyFile {
    fn longest_signature(&self) -> usize {
        match &self.key {
            Key::Rsa(_, size) => *size,
            Key::P256(_) => LONGEST_P256,
        }
    }

    // Both are deterministic (RFC 8017, 8.2; RFC 6979), so that a package can be made again.
    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError> {
        match &self.key {
            Key::Rsa(key, _) => {
                let signature: pkcs1v15::Signature = key.sign_prehash(&sha256.0)?;
                Ok(signature.to_vec())
            }
            Key::P256(key) => {
                let signature: ecdsa::DerSignature = key.sign_prehash(&sha256.0)?;
                Ok(signature.to_vec())
            }
        }
    }
}

/// The private key inside PEM; other things that come in PEM are named, with the way to what is needed.
fn pem(path: &Path, bytes: &[u8]) -> anyhow::Result<SecretDocument> {
    let shown = path.display();
    let text = std::str::from_utf8(bytes).with_context(|| format!("{shown} is not PEM"))?;
    let label = text
        .strip_prefix("-----BEGIN ")
        .and_then(|rest| rest.split_once("-----"));
    match label.map(|(label, _)| label) {
        Some("PRIVATE KEY") => {
            let (_, document) = SecretDocument::from_pem(text).map_err(|error| no_key(path, error))?;
            Ok(document)
        }
        Some("ENCRYPTED PRIVATE KEY") => bail!(
            "{shown} is encrypted with a passphrase, which cannot be asked for here: \
             openssl pkey -in {shown} -out plain.pem writes a key to use and to remove afterwards"
        ),
        Some("RSA PRIVATE KEY" | "EC PRIVATE KEY" | "EC PARAMETERS") => bail!(
            "{shown} is in an older form than PKCS#8: openssl pkey -in {shown} -out key.pem writes the same key anew"
        ),
        Some(public @ ("PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE")) => bail!(
            "{shown} holds a {}, which cannot sign: name the private key that belongs to it",
            public.to_lowercase()
        ),
        _ => bail!("{shown} holds no private key: it should be PKCS#8, which begins with BEGIN PRIVATE KEY"),
    }
}

fn rsa_key(path: &Path, info: PrivateKeyInfoRef<'_>) -> anyhow::Result<Key> {
    let key = rsa::RsaPrivateKey::try_from(info).map_err(|error| no_key(path, error))?;
    match key.size() {
        size @ (256 | 512) => Ok(Key::Rsa(Box::new(pkcs1v15::SigningKey::new(key)), size)),
        // payload_verifier.cc, PadRSASHA256Hash.
        size => Err(other_kind(
            path,
            &format!("an RSA key of {} bits", size.saturating_mul(8)),
        )),
    }
}

fn no_key(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("{} holds no private key in PKCS#8", path.display()))
}

fn other_kind(path: &Path, kind: &str) -> anyhow::Error {
    anyhow!(
        "{} is {kind}, and update_engine checks RSA-2048, RSA-4096 and P-256 only: \
         openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem makes one",
        path.display()
    )
}
