use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, bail};
use millet_signing::PublicKey;

use super::exec::Program;
use super::file::{KeyFile, PlainFile, SealedFile, read_public};
use super::passphrase::Passphrases;
use super::pkcs11::Pkcs11Uri;
#[cfg(feature = "pkcs11")]
use super::pkcs11::{Modules, Token};
use super::{Holder, KeyUri, Request};
use crate::config::KeysConfig;

/// The keys of one run. Each is found once and opened once, however many roles it signs for.
pub struct Keychain {
    passphrases: Rc<Passphrases>,
    #[cfg(feature = "pkcs11")]
    modules: Modules,
    found: RefCell<BTreeMap<KeyUri, Rc<Key>>>,
}

/// A key that a URI names.
pub struct Key {
    uri: KeyUri,
    public: PublicKey,
    place: Place,
    holder: Option<Box<dyn Holder>>,
}

/// Where a private half is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On another machine.
    Elsewhere,
    /// In a file that whoever has it can use.
    PlainFile,
    /// In a file that a passphrase opens.
    EncryptedFile,
    /// With another program.
    Program,
    /// On a token.
    #[cfg(feature = "pkcs11")]
    Token,
}

impl Place {
    /// The same for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Elsewhere => "not here",
            Self::PlainFile => "in a file without a passphrase",
            Self::EncryptedFile => "in an encrypted file",
            Self::Program => "in another program",
            #[cfg(feature = "pkcs11")]
            Self::Token => "on a token",
        }
    }
}

impl Keychain {
    /// One without keys yet.
    pub fn new(passphrases: Passphrases) -> Self {
        Self {
            passphrases: Rc::new(passphrases),
            #[cfg(feature = "pkcs11")]
            modules: Modules::default(),
            found: RefCell::default(),
        }
    }

    /// Where passphrases come from.
    pub fn passphrases(&self) -> &Passphrases {
        &self.passphrases
    }

    /// The key that a URI names. Its public half is known afterwards; nobody was asked for anything.
    ///
    /// # Errors
    /// When there is no such key, others can read its private half, or the public half of an encrypted one is not
    /// beside it.
    pub fn key(&self, config: &KeysConfig, uri: &KeyUri) -> anyhow::Result<Rc<Key>> {
        let whole = uri.resolved(&config.folder);
        if let Some(key) = self.found.borrow().get(&whole) {
            return Ok(Rc::clone(key));
        }
        let key = match &whole {
            KeyUri::File(path) => self.file(config, uri, path),
            KeyUri::Exec(name) => exec(config, uri, name),
            KeyUri::Pkcs11(place) => self.token(uri, place),
        };
        let key = Rc::new(key.with_context(|| format!("cannot use the key {uri}"))?);
        self.found.borrow_mut().insert(whole, Rc::clone(&key));
        Ok(key)
    }

    fn file(&self, config: &KeysConfig, uri: &KeyUri, path: &Path) -> anyhow::Result<Key> {
        let key = |public, place, holder| Key {
            uri: uri.clone(),
            public,
            place,
            holder,
        };
        if path.extension().is_some_and(|extension| extension == "pub") {
            return Ok(key(read_public(path)?, Place::Elsewhere, None));
        }
        let beside = path.with_extension("pub");
        let file = match KeyFile::read(path) {
            Err(error) if is_missing(&error) && beside.exists() => {
                return Ok(key(read_public(&beside)?, Place::Elsewhere, None));
            }
            read => read?,
        };
        match file {
            KeyFile::Plain(private) => {
                let public = millet_signing::Signer::public_key(&*private).clone();
                Ok(key(public, Place::PlainFile, Some(Box::new(PlainFile(private)))))
            }
            sealed @ KeyFile::Sealed(_) => {
                if !beside.exists() {
                    bail!(
                        "{0} is encrypted, and its public half is not beside it: \
                         millet key export-public file:{0} --out {1} writes it",
                        path.display(),
                        beside.display()
                    );
                }
                let public = read_public(&beside)?;
                let holder = SealedFile::new(
                    path.display().to_string(),
                    public.clone(),
                    sealed,
                    config.passphrase_agent,
                    Rc::clone(&self.passphrases),
                );
                Ok(key(public, Place::EncryptedFile, Some(Box::new(holder))))
            }
        }
    }
}

#[cfg(feature = "pkcs11")]
impl Keychain {
    fn token(&self, uri: &KeyUri, place: &Pkcs11Uri) -> anyhow::Result<Key> {
        // A machine without the library has no such token either.
        let token = match place.module.exists() {
            true => Token::find(place, &self.modules, Rc::clone(&self.passphrases))?,
            false => None,
        };
        let public = match (&place.public, &token) {
            (Some(path), _) => read_public(path)?,
            (None, Some(token)) => token.public()?,
            (None, None) => bail!(
                "no such token is here; public=FILE at the end of the URI names its public half, for machines without it"
            ),
        };
        Ok(Key {
            uri: uri.clone(),
            public,
            place: token.as_ref().map_or(Place::Elsewhere, |_| Place::Token),
            holder: token.map(|token| Box::new(token) as Box<dyn Holder>),
        })
    }
}

#[cfg(not(feature = "pkcs11"))]
impl Keychain {
    fn token(&self, uri: &KeyUri, place: &Pkcs11Uri) -> anyhow::Result<Key> {
        let Some(path) = &place.public else {
            bail!("this millet was built without its feature pkcs11");
        };
        Ok(Key {
            uri: uri.clone(),
            public: read_public(path)?,
            place: Place::Elsewhere,
            holder: None,
        })
    }
}

impl Key {
    /// The half that checks what it signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Where its private half is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether it can sign here.
    pub fn is_here(&self) -> bool {
        self.holder.is_some()
    }

    /// Asks now for what signing takes.
    pub fn unlock(&self) -> anyhow::Result<()> {
        self.holder.as_ref().map_or(Ok(()), |holder| holder.unlock())
    }

    /// Signs, and verifies the signature before anyone can use it.
    ///
    /// # Errors
    /// When the private half is elsewhere, its holder refuses, or what it returns is not this key's signature.
    pub fn sign(&self, request: &Request<'_>) -> anyhow::Result<Vec<u8>> {
        let Some(holder) = &self.holder else {
            bail!("the private half of {} is not here", self.uri);
        };
        let signature = holder
            .sign(request)
            .with_context(|| format!("{} cannot sign {}", self.uri, request.role))?;
        if !self.public.verify(request.message, &signature) {
            bail!(
                "what {} returned is not a signature of the key {}",
                self.uri,
                self.public.id().short()
            );
        }
        Ok(signature)
    }
}

fn exec(config: &KeysConfig, uri: &KeyUri, name: &str) -> anyhow::Result<Key> {
    let table = config
        .programs
        .get(name)
        .with_context(|| format!("there is no [keys.{name}]"))?;
    let public = read_public(&config.folder.join(&table.public))?;
    let program = Program::find(name, table, &config.folder, public.clone());
    Ok(Key {
        uri: uri.clone(),
        public,
        place: program.as_ref().map_or(Place::Elsewhere, |_| Place::Program),
        holder: program.map(|program| Box::new(program) as Box<dyn Holder>),
    })
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
}
