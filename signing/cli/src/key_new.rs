use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use millet_signing::{Ed25519Key, Signer};

use crate::{Usage, edge, output};

/// `millet key new`
#[derive(clap::Args)]
pub struct Args {
    /// The key's name, which names its files.
    name: String,
    /// Folder for the two files; it is made if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
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
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let key = Ed25519Key::from_seed(&*edge::random_seed()?);
    let object = serde_json::to_string_pretty(key.public_key()).context("cannot write the public key")?;
    write_new(&private, key.to_pkcs8_pem()?.as_bytes(), 0o600)?;
    write_new(&public, format!("{object}\n").as_bytes(), 0o644)?;
    output::print(&format!("file:{}  {}", private.display(), key.public_key().id()))?;
    output::say("Keep the .key offline and copied twice: who has it can sign, and nobody can make it again.");
    output::next("name it in millet.toml; when all keys are there: millet repo init");
    Ok(())
}

/// Creates the file, never an existing one, and makes it durable.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
