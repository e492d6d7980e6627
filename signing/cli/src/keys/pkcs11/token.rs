//! Keys on tokens, through the library that a token's maker supplies (PKCS #11, version 3.1).

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, anyhow, bail};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use millet_signing::PublicKey;
use sha2::{Digest, Sha256};

use super::curve::{Curve, signature};
use super::uri::Pkcs11Uri;
use crate::keys::file::read_secret;
use crate::keys::passphrase::Passphrases;
use crate::keys::{Holder, Request, patience};

/// The libraries of one run: each may be initialised once in a process.
#[derive(Default)]
pub struct Modules {
    loaded: RefCell<BTreeMap<PathBuf, Pkcs11>>,
}

impl Modules {
    fn load(&self, path: &Path) -> anyhow::Result<Pkcs11> {
        if let Some(module) = self.loaded.borrow().get(path) {
            return Ok(module.clone());
        }
        let load = || {
            let module = Pkcs11::new(path)?;
            module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
            Ok::<_, Error>(module)
        };
        let module = load().with_context(|| format!("cannot use the library {}", path.display()))?;
        self.loaded.borrow_mut().insert(path.to_owned(), module.clone());
        Ok(module)
    }
}

/// A private key on a token.
pub struct Token {
    uri: Pkcs11Uri,
    module: Pkcs11,
    slot: Slot,
    passphrases: Rc<Passphrases>,
    /// Stays open for the run: a login ends with the token's last session.
    opened: OnceCell<Opened>,
}

struct Opened {
    session: Session,
    key: ObjectHandle,
    curve: Curve,
}

impl Token {
    /// Finds the token; `None` when it is not plugged in.
    ///
    /// # Errors
    /// When the library cannot be loaded, or several tokens fit the URI.
    pub fn find(
        uri: &Pkcs11Uri,
        modules: &Modules,
        passphrases: Rc<Passphrases>,
    ) -> anyhow::Result<Option<Self>> {
        let module = modules.load(&uri.module)?;
        let mut fitting = Vec::new();
        for slot in module.get_slots_with_initialized_token()? {
            if fits(uri, &module.get_token_info(slot)?) {
                fitting.push(slot);
            }
        }
        match fitting.as_slice() {
            [] => Ok(None),
            [slot] => Ok(Some(Self {
                uri: uri.clone(),
                slot: *slot,
                module,
                passphrases,
                opened: OnceCell::new(),
            })),
            several => bail!("{} tokens fit: add the one's serial to the URI", several.len()),
        }
    }

    /// The public half as the token shows it, for which no PIN is needed.
    pub fn public(&self) -> anyhow::Result<PublicKey> {
        let session = self.module.open_ro_session(self.slot)?;
        let object = only(&session, self.template(ObjectClass::PUBLIC_KEY), "public key").context(
            "the token shows no public half: name it in a file, by public=FILE at the end of the URI",
        )?;
        let mut attributes = session
            .get_attributes(object, &[AttributeType::EcParams, AttributeType::EcPoint])
            .context("cannot read the public key: it is neither ed25519 nor P-256")?
            .into_iter();
        match (attributes.next(), attributes.next()) {
            (Some(Attribute::EcParams(curve)), Some(Attribute::EcPoint(point))) => {
                Curve::of(&curve)?.public_key(&point)
            }
            _ => bail!("the public key is neither ed25519 nor P-256"),
        }
    }

    fn opened(&self) -> anyhow::Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let session = self.module.open_ro_session(self.slot)?;
        self.log_in(&session)?;
        let key = only(&session, self.template(ObjectClass::PRIVATE_KEY), "private key")?;
        let curve = match session
            .get_attributes(key, &[AttributeType::EcParams])?
            .as_slice()
        {
            [Attribute::EcParams(curve)] => Curve::of(curve)?,
            _ => bail!("the private key is neither ed25519 nor P-256"),
        };
        Ok(self.opened.get_or_init(|| Opened { session, key, curve }))
    }

    /// A wrong PIN is never tried again by itself: a token locks after a few.
    fn log_in(&self, session: &Session) -> anyhow::Result<()> {
        let info = self.module.get_token_info(self.slot)?;
        let state = session.get_session_info()?.session_state();
        if !info.login_required() || matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        let name = info.label();
        if info.user_pin_locked() {
            bail!("the token {name} is locked after too many wrong PINs: its maker's tool unlocks it");
        }
        if info.protected_authentication_path() {
            return Ok(patience::hint_after(&format!("the PIN pad of {name}"), || {
                session.login(UserType::User, None)
            })?);
        }
        let pin = match &self.uri.pin_source {
            Some(path) => AuthPin::from(read_secret(path)?.trim_end_matches(['\r', '\n']).to_owned()),
            None => AuthPin::from(self.passphrases.pin(name)?.expose().to_owned()),
        };
        session
            .login(UserType::User, Some(&pin))
            .map_err(|error| match error {
                Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _) => {
                    anyhow!(
                        "the token {name} does not take this PIN; it counts wrong ones, and locks after a few"
                    )
                }
                Error::Pkcs11(RvError::PinLocked, _) => {
                    anyhow!(
                        "the token {name} is locked after too many wrong PINs: its maker's tool unlocks it"
                    )
                }
                error => anyhow::Error::new(error).context(format!("cannot log in to the token {name}")),
            })
    }

    fn template(&self, class: ObjectClass) -> Vec<Attribute> {
        let label = self
            .uri
            .object
            .iter()
            .map(|label| Attribute::Label(label.clone().into_bytes()));
        let id = self.uri.id.iter().map(|id| Attribute::Id(id.clone()));
        std::iter::once(Attribute::Class(class))
            .chain(label)
            .chain(id)
            .collect()
    }
}

impl Holder for Token {
    fn unlock(&self) -> anyhow::Result<()> {
        self.opened().map(drop)
    }

    fn sign(&self, request: &Request<'_>) -> anyhow::Result<Vec<u8>> {
        let Opened { session, key, curve } = self.opened()?;
        let sign = |mechanism: &Mechanism<'_>, data: &[u8]| {
            patience::hint_after(&self.uri.to_string(), || session.sign(mechanism, *key, data))
        };
        let raw = match curve {
            Curve::Ed25519 => sign(
                &Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
                request.message,
            ),
            // CKM_ECDSA signs a digest, which every token can; not every one hashes by itself.
            Curve::P256 => sign(&Mechanism::Ecdsa, &Sha256::digest(request.message)),
        };
        signature(*curve, &raw.context("the token did not sign")?)
    }
}

fn fits(uri: &Pkcs11Uri, info: &TokenInfo) -> bool {
    let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    fits(&uri.token, info.label())
        && fits(&uri.serial, info.serial_number())
        && fits(&uri.manufacturer, info.manufacturer_id())
        && fits(&uri.model, info.model())
}

/// The one object that fits.
fn only(session: &Session, template: Vec<Attribute>, what: &str) -> anyhow::Result<ObjectHandle> {
    match session.find_objects(&template)?.as_slice() {
        [object] => Ok(*object),
        [] => bail!("the token has no such {what}"),
        several => bail!(
            "the token has {} such {what}s: name the one by its id too",
            several.len()
        ),
    }
}
