//! What went wrong in other people's verifiers, tried here. Each test names the line that, taken out, lets it fail.
//!
//! The lessons come from public advisories of TUF clients (tough, python-tuf, go-tuf, rust-tuf) and of libraries that they
//! stand on. Those that concern a device's disk and network have their tests there.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod maker;

#[path = "advisories/current.rs"]
mod current;
#[path = "advisories/delegations.rs"]
mod delegations;
#[path = "advisories/forms.rs"]
mod forms;
#[path = "advisories/signatures.rs"]
mod signatures;

use millet_signing::{Files, Limits, Refresh, Step, TrustError};

use crate::maker::{Repository, now};

const BUILDS: &str = "builds.rubik";

fn refusal(repository: &Repository, cached: &Files) -> TrustError {
    repository.refresh(cached.clone(), &[BUILDS]).unwrap_err().0
}

fn trusted(repository: &Repository) -> Files {
    repository.refresh(Files::new(), &[BUILDS]).unwrap().files
}

/// A first refresh, whatever lengths the files have.
fn whole_refresh(repository: &Repository) -> Result<(), TrustError> {
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[BUILDS.into()], Limits::default(), now())?;
    while let Step::Fetch { name, .. } = refresh.next() {
        refresh.supply(repository.published.get(&name).cloned())?;
    }
    Ok(())
}
