//! The private keys of release engineers.
//!
//! millet.toml names keys by [`KeyUri`]. A [`Keychain`] finds what a URI names, once for a run; a [`KeyRing`] is the keys
//! of one role. Public halves are known at once. A private half is opened when it first signs, or by
//! [`KeyRing::unlock`] before long work, so that nobody is asked for a passphrase that is not needed.

mod agent;
mod exec;
mod file;
mod keychain;
mod passphrase;
mod patience;
mod percent;
mod pkcs11;
mod sealed;
mod secret;
mod terminal;
mod uri;

use std::rc::Rc;

use anyhow::bail;
use millet_signing::{PublicKey, SignError, Signer};

use crate::config::{Config, KeysConfig};
use crate::edge::Edge;

pub use agent::Surroundings;
pub use file::{KeyFile, private_key, read_secret, read_secret_bytes};
pub use keychain::{Key, Keychain, Place};
pub use passphrase::{About, PassphraseAgent, Passphrases};
pub use sealed::{seal, unseal};
pub use secret::Secret;
pub use terminal::Terminal;
pub use uri::KeyUri;

/// What is to be signed.
pub struct Request<'a> {
    /// The role that it is for, such as `root` or `builds.rubik`.
    pub role: &'a str,
    /// The exact bytes.
    pub message: &'a [u8],
}

/// What holds a private key: a file, a program, a token.
pub trait Holder {
    /// Asks now for what opening the key takes, such as its passphrase. Once it is open this does nothing.
    fn unlock(&self) -> anyhow::Result<()>;

    /// A signature as [`PublicKey::verify`] takes it. Whoever calls this verifies it.
    fn sign(&self, request: &Request<'_>) -> anyhow::Result<Vec<u8>>;
}

/// The keys of one role, of which some may have their private half elsewhere.
pub struct KeyRing {
    threshold: u64,
    role: String,
    public: Vec<PublicKey>,
    members: Vec<Member>,
    elsewhere: Vec<String>,
}

impl KeyRing {
    /// The keys that millet.toml names for the root role.
    pub fn root(config: &Config, edge: &Edge) -> anyhow::Result<Self> {
        Self::load(config, edge, "root", &config.root.keys, config.root.threshold)
    }

    /// The keys that millet.toml names for the targets role.
    pub fn targets(config: &Config, edge: &Edge) -> anyhow::Result<Self> {
        Self::load(
            config,
            edge,
            "targets",
            &config.targets.keys,
            config.targets.threshold,
        )
    }

    /// Finds the keys of a role and reads their public halves; nobody is asked for anything.
    ///
    /// A key whose private half is on a colleague's machine is no error, so that one millet.toml serves all.
    pub fn load(
        config: &Config,
        edge: &Edge,
        role: &str,
        uris: &[KeyUri],
        threshold: u64,
    ) -> anyhow::Result<Self> {
        Self::find(&config.keys, edge, role, uris, threshold)
    }

    /// The same without a millet.toml.
    pub fn find(
        config: &KeysConfig,
        edge: &Edge,
        role: &str,
        uris: &[KeyUri],
        threshold: u64,
    ) -> anyhow::Result<Self> {
        let mut ring = Self {
            threshold,
            role: role.to_owned(),
            public: Vec::new(),
            members: Vec::new(),
            elsewhere: Vec::new(),
        };
        for uri in uris {
            let key = edge.keychain.key(config, uri)?;
            ring.public.push(key.public().clone());
            if key.is_here() {
                ring.members.push(Member {
                    role: role.to_owned(),
                    key,
                });
            } else {
                ring.elsewhere.push(uri.to_string());
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

    /// Those whose private half is here, however many must sign.
    pub fn here(&self) -> impl Iterator<Item = &dyn Signer> {
        self.members.iter().map(|member| member as &dyn Signer)
    }

    /// The URIs of the others.
    pub fn elsewhere(&self) -> &[String] {
        &self.elsewhere
    }

    /// How many of them must sign.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Those that can sign here; an error when they do not reach the threshold. Each opens when it first signs, and
    /// verifies what it signed.
    pub fn signers(&self) -> anyhow::Result<Vec<&dyn Signer>> {
        let here = u64::try_from(self.members.len())?;
        if here < self.threshold {
            bail!(
                "{} needs {} signatures, and only {here} of its private keys are here; not here: {}. \
                 millet sign collects the signatures of several people",
                self.role,
                self.threshold,
                self.elsewhere.join(", ")
            );
        }
        Ok(self.members.iter().map(|member| member as &dyn Signer).collect())
    }

    /// Opens what [`KeyRing::signers`] returns, so that a wrong passphrase is found before long work and no question
    /// comes after it.
    pub fn unlock(&self) -> anyhow::Result<()> {
        self.signers()?;
        self.members.iter().try_for_each(|member| member.key.unlock())
    }
}

/// A private key that signs for one role.
struct Member {
    role: String,
    key: Rc<Key>,
}

impl Signer for Member {
    fn public_key(&self) -> &PublicKey {
        self.key.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let request = Request {
            role: &self.role,
            message,
        };
        self.key.sign(&request).map_err(|error| SignError::Signer {
            key: self.key.public().id(),
            source: error.into(),
        })
    }
}
