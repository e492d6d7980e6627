use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use super::pkcs11::{Pkcs11Uri, Pkcs11UriError};

/// Names a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum KeyUri {
    /// `file:PATH`: a private key in PKCS#8, plain or encrypted by age; or a `.pub`, which only lists a key. In
    /// millet.toml the path counts from the file's folder.
    File(PathBuf),
    /// `exec:NAME`: a key that another program holds, as `[keys.NAME]` in millet.toml says.
    Exec(String),
    /// `pkcs11:…`: a key on a token (RFC 7512).
    Pkcs11(Box<Pkcs11Uri>),
}

impl KeyUri {
    /// The same key, whose path no longer counts from `folder`.
    pub fn resolved(&self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Exec(name) => Self::Exec(name.clone()),
            Self::Pkcs11(uri) => Self::Pkcs11(Box::new(uri.resolved(folder))),
        }
    }
}

/// Why a text names no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyUriError {
    /// No scheme that is known.
    #[error("{0:?} names no key: write file:PATH, exec:NAME or pkcs11:…")]
    Scheme(String),
    /// A scheme and nothing behind it.
    #[error("{0:?} has nothing after the colon")]
    Empty(String),
    /// A token's URI that is not one, or says too little or too much.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11UriError),
}

impl FromStr for KeyUri {
    type Err = KeyUriError;

    fn from_str(text: &str) -> Result<Self, KeyUriError> {
        match text.split_once(':') {
            Some((_, "")) => Err(KeyUriError::Empty(text.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("exec", name)) => Ok(Self::Exec(name.to_owned())),
            Some(("pkcs11", rest)) => Ok(Self::Pkcs11(Box::new(rest.parse()?))),
            _ => Err(KeyUriError::Scheme(text.to_owned())),
        }
    }
}

impl TryFrom<String> for KeyUri {
    type Error = KeyUriError;

    fn try_from(text: String) -> Result<Self, KeyUriError> {
        text.parse()
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "file:{}", path.display()),
            Self::Exec(name) => write!(out, "exec:{name}"),
            Self::Pkcs11(uri) => uri.fmt(out),
        }
    }
}
