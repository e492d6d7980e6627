//! Keys, TUF roles and the trusted set: bytes and an instant go in, a verdict comes out.
//!
//! The format and the client's workflow are The Update Framework's, specification 1.0.33. A comment such as
//! `5.4.3.1` beside a check names the clause that it carries out; a deviation is labelled where it stands.
//!
//! Nothing here does I/O or asks for the time. A client drives a [`Refresh`], which says what to fetch next; a
//! repository uses [`verify`] on what it is sent and [`sign`] on what it makes.

pub mod canonical;
mod collect;
mod envelope;
mod error;
mod instant;
mod key;
mod limits;
pub mod metadata;
mod pattern;
mod private_key;
mod refresh;
mod role_name;
mod signer;
mod trusted;
mod verify;

// The crate's own tests and those in `tests/` make their repositories with one maker.
#[cfg(test)]
extern crate self as millet_signing;
#[cfg(test)]
#[path = "../tests/maker/mod.rs"]
mod maker;

pub use collect::{Collected, Different};
pub use error::{FormError, TrustError};
pub use instant::effective_now;
pub use key::{KeyId, PublicKey};
pub use limits::Limits;
pub use pattern::path_matches;
pub use private_key::{Ed25519Key, P256Key, PrivateKey};
pub use refresh::{Files, Refresh, Step, Verified};
pub use role_name::{file_name, file_stem};
pub use signer::{SignError, Signer, sign};
pub use trusted::{Changed, Search, TrustedSet};
pub use verify::{Authority, verify, verify_first_root, verify_next_root};
