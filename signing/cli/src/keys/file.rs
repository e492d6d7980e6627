//! Key files: PKCS#8 in PEM, plain or encrypted.

use std::cell::OnceCell;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, anyhow, bail};
use millet_signing::{PrivateKey, PublicKey, Signer};
use zeroize::Zeroizing;

use super::passphrase::{About, PassphraseAgent, Passphrases};
use super::{Holder, Request, sealed};

/// Longest key file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What a key file holds.
pub enum KeyFile {
    /// A key that whoever has the file can use.
    Plain(Box<PrivateKey>),
    /// One that a passphrase opens.
    Sealed(Zeroizing<Vec<u8>>),
}

impl KeyFile {
    /// Reads a private key; others must not be able to.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = read_secret_bytes(path)?;
        if sealed::is_sealed(&bytes) {
            return Ok(Self::Sealed(bytes));
        }
        let pem = std::str::from_utf8(&bytes).with_context(|| format!("{} is not text", path.display()))?;
        private_key(pem, &path.display().to_string()).map(|key| Self::Plain(Box::new(key)))
    }

    /// The key, for whose passphrase someone is asked if it has one.
    pub fn open(
        &self,
        passphrases: &Passphrases,
        agent: Option<PassphraseAgent>,
        about: &About<'_>,
    ) -> anyhow::Result<Zeroizing<String>> {
        match self {
            Self::Plain(key) => Ok(key.to_pkcs8_pem()?),
            Self::Sealed(bytes) => passphrases.open(agent, about, |passphrase| {
                sealed::unseal(bytes, passphrase).with_context(|| format!("cannot open {}", about.name))
            }),
        }
    }
}

/// A key whose file was readable as it stood.
pub struct PlainFile(pub Box<PrivateKey>);

impl Holder for PlainFile {
    fn unlock(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn sign(&self, request: &Request<'_>) -> anyhow::Result<Vec<u8>> {
        Ok(self.0.sign(request.message)?)
    }
}

/// A key in an encrypted file, opened once for a run.
pub struct SealedFile {
    name: String,
    public: PublicKey,
    file: KeyFile,
    agent: Option<PassphraseAgent>,
    passphrases: Rc<Passphrases>,
    opened: OnceCell<PrivateKey>,
}

impl SealedFile {
    /// With the public half, which lies beside the file: it must turn out to be the key's.
    pub fn new(
        name: String,
        public: PublicKey,
        file: KeyFile,
        agent: Option<PassphraseAgent>,
        passphrases: Rc<Passphrases>,
    ) -> Self {
        Self {
            name,
            public,
            file,
            agent,
            passphrases,
            opened: OnceCell::new(),
        }
    }

    fn opened(&self) -> anyhow::Result<&PrivateKey> {
        if let Some(key) = self.opened.get() {
            return Ok(key);
        }
        let about = About {
            name: &self.name,
            id: Some(&self.public.id()),
        };
        let pem = self.file.open(&self.passphrases, self.agent, &about)?;
        let key = private_key(&pem, &self.name)?;
        if *key.public_key() != self.public {
            bail!("{} is another key than the .pub beside it", self.name);
        }
        Ok(self.opened.get_or_init(|| key))
    }
}

impl Holder for SealedFile {
    fn unlock(&self) -> anyhow::Result<()> {
        self.opened().map(drop)
    }

    fn sign(&self, request: &Request<'_>) -> anyhow::Result<Vec<u8>> {
        Ok(self.opened()?.sign(request.message)?)
    }
}

/// Reads the private key in a PEM text, which came out of `name`.
pub fn private_key(pem: &str, name: &str) -> anyhow::Result<PrivateKey> {
    PrivateKey::from_pkcs8_pem(pem).with_context(|| format!("{name} holds no private key"))
}

/// Reads the public half of a key: a TUF key object of a kind that Millet checks.
pub fn read_public(path: &Path) -> anyhow::Result<PublicKey> {
    let shown = path.display();
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {shown}"))?;
    let key: PublicKey =
        serde_json::from_slice(&bytes).with_context(|| format!("{shown} is not a TUF key object"))?;
    if !key.is_supported() {
        bail!("{shown} is neither an ed25519 nor a P-256 key");
    }
    Ok(key)
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
        // At once, with the 32 bytes that the end is looked for with: what a growing vector leaves behind is not wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            usize::try_from(LONGEST).unwrap_or_default() + 32,
        ));
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
