use std::path::PathBuf;

use anyhow::{Context, bail};
use millet_signing::{Ed25519Key, P256Key, PrivateKey, Signer};

use super::write_public;
use crate::edge::{self, Edge};
use crate::keys::seal;
use crate::repository::make_folder;
use crate::unfinished::{Existing, write_whole_as};
use crate::{Usage, output};

/// `millet key new`
#[derive(clap::Args)]
pub struct Args {
    /// The key's name, which names its files.
    name: String,
    /// Folder for the two files; it is made if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Ed25519 is small and fast; P-256 is for those who must use it.
    #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
    kind: Kind,
    /// Leaves the file unencrypted, so that whoever can read it can sign: for tests and demos.
    #[arg(long)]
    no_passphrase: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Ed25519,
    P256,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if args.name.is_empty() || args.name.starts_with('.') || !args.name.bytes().all(safe) {
        return Err(Usage(format!(
            "{:?} cannot name a key: use A-Z a-z 0-9 . _ -",
            args.name
        ))
        .into());
    }
    let private = args.out.join(format!("{}.key", args.name));
    let public = args.out.join(format!("{}.pub", args.name));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} is there already, and a key is never overwritten: choose another name",
                path.display()
            );
        }
    }
    let shown = private.display().to_string();
    let passphrase = match args.no_passphrase {
        true => None,
        false => Some(edge.keychain.passphrases().choose(&shown)?),
    };
    let key = random_key(args.kind)?;
    let pem = key.to_pkcs8_pem()?;
    make_folder(&args.out)?;
    let sealed = passphrase
        .as_ref()
        .map(|passphrase| seal(&pem, passphrase))
        .transpose()?;
    let file = sealed.as_deref().unwrap_or(&pem);
    write_whole_as(&edge.unfinished, &private, file.as_bytes(), 0o600, Existing::Kept)?;
    write_public(&edge.unfinished, &public, key.public_key())?;
    output::print(&format!("file:{shown}  {}", key.public_key().id()))?;
    match passphrase {
        Some(_) => output::say(
            "Keep the .key offline and copied twice, and remember its passphrase: nobody can make either again.",
        ),
        None => output::say(&format!(
            "{shown} has no passphrase: whoever can read it can sign. millet key passphrase {shown} gives it one."
        )),
    }
    output::next("name it in millet.toml; when all keys are there: millet repo init");
    Ok(())
}

fn random_key(kind: Kind) -> anyhow::Result<PrivateKey> {
    let seed = edge::random_seed()?;
    Ok(match kind {
        Kind::Ed25519 => PrivateKey::Ed25519(Ed25519Key::from_seed(&seed)),
        Kind::P256 => PrivateKey::P256(
            P256Key::from_scalar(&seed).context("one seed of four billion is no P-256 key: try again")?,
        ),
    })
}
