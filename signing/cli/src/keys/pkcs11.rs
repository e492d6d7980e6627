//! Keys on tokens: `pkcs11:…` (RFC 7512).

#[cfg(feature = "pkcs11")]
mod curve;
#[cfg(feature = "pkcs11")]
mod token;
mod uri;

#[cfg(feature = "pkcs11")]
pub use token::{Modules, Token};
pub use uri::{Pkcs11Uri, Pkcs11UriError};
