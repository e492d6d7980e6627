//! Keys by their URIs.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use millet_signing::{Ed25519Key, PublicKey, Signer};
use zeroize::Zeroizing;

use crate::config::Config;

/// Longest key file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The keys of one role, of which some may have their private half elsewhere.
pub struct KeyRing {
    role: String,
    threshold: u64,
    public: Vec<PublicKey>,
    private: Vec<Ed25519Key>,
    elsewhere: Vec<String>,
}

impl KeyRing {
    /// Loads the keys of a role.
    ///
    /// `file:PATH` is a private key, or a public key that is only listed. Where PATH is missing and its `.pub` is
    /// there, the private half is taken to be on a colleague's machine, so that one millet.toml serves all.
    pub fn load(config: &Config, role: &str, uris: &[String], threshold: u64) -> anyhow::Result<Self> {
        let mut ring = Self {
            role: role.to_owned(),
            threshold,
            public: Vec::new(),
            private: Vec::new(),
            elsewhere: Vec::new(),
        };
        for uri in uris {
            match load(config, uri).with_context(|| format!("cannot load key {uri:?} of {role}"))? {
                Key::Private(key) => {
                    ring.public.push(key.public_key().clone());
                    ring.private.push(*key);
                }
                Key::Public(key) => {
                    ring.public.push(key);
                    ring.elsewhere.push(uri.clone());
                }
            }
        }
        Ok(ring)
    }

    /// The role they are for.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// All its keys.
    pub fn public(&self) -> &[PublicKey] {
        &self.public
    }

    /// How many of them must sign.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Those that can sign here; an error when they do not reach the threshold.
    pub fn signers(&self) -> anyhow::Result<Vec<&dyn Signer>> {
        let here = u64::try_from(self.private.len())?;
        if here < self.threshold {
            bail!(
                "{} needs {} signatures, and only {here} of its private keys are here; not here: {}",
                self.role,
                self.threshold,
                self.elsewhere.join(", ")
            );
        }
        Ok(self.private.iter().map(|key| key as &dyn Signer).collect())
    }
}

/// Reads a file that holds a secret as text; others must not be able to.
pub fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = read_secret_bytes(path)?;
    String::from_utf8(std::mem::take(&mut *bytes))
        .map(Zeroizing::new)
        .map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            anyhow!("{} is not text", path.display())
        })
}

/// Reads a file that holds a secret; others must not be able to.
pub fn read_secret_bytes(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let read = || {
        let file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(LONGEST).read_to_end(&mut bytes)?;
        std::io::Result::Ok((mode, bytes))
    };
    let (mode, bytes) = read().with_context(|| format!("cannot read {}", path.display()))?;
    if mode & 0o077 != 0 {
        bail!(
            "others can read {0} (mode {mode:03o}): chmod 600 {0}",
            path.display()
        );
    }
    Ok(bytes)
}

enum Key {
    Private(Box<Ed25519Key>),
    Public(PublicKey),
}

fn load(config: &Config, uri: &str) -> anyhow::Result<Key> {
    let Some(path) = uri.strip_prefix("file:") else {
        bail!("only file:PATH is known");
    };
    let path = config.resolve(Path::new(path));
    if path.extension().is_some_and(|extension| extension == "pub") {
        return public(&path);
    }
    match read_secret(&path) {
        Ok(pem) => Ok(Key::Private(Box::new(Ed25519Key::from_pkcs8_pem(&pem)?))),
        Err(error) => {
            let missing = error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == ErrorKind::NotFound);
            let beside: PathBuf = path.with_extension("pub");
            if missing && beside.exists() {
                public(&beside)
            } else {
                Err(error)
            }
        }
    }
}

fn public(path: &Path) -> anyhow::Result<Key> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let key: PublicKey = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a TUF key object", path.display()))?;
    if !key.is_supported() {
        bail!("{} is neither an ed25519 nor a P-256 key", path.display());
    }
    Ok(Key::Public(key))
}
