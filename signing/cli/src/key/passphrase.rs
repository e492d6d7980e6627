use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::edge::Edge;
use crate::keys::{About, KeyFile, private_key, seal, unseal};
use crate::output;
use crate::unfinished::{Existing, write_whole_as};

/// `millet key passphrase`
#[derive(clap::Args)]
pub struct Args {
    /// The key file, plain or encrypted.
    #[arg(value_name = "NAME.key")]
    file: PathBuf,
    /// Takes the encryption away, so that whoever can read the file can sign: for tests and demos.
    #[arg(long)]
    no_passphrase: bool,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    let shown = args.file.display().to_string();
    // The file itself, not a link to it, is replaced.
    let path = fs::canonicalize(&args.file).with_context(|| format!("cannot read {shown}"))?;
    let file = KeyFile::read(&path)?;
    let passphrases = edge.keychain.passphrases();
    let about = About {
        name: &shown,
        id: None,
    };
    let pem = file.open(passphrases, None, &about)?;
    private_key(&pem, &shown)?;
    if args.no_passphrase {
        replace(edge, &path, &pem)?;
        output::say(&format!(
            "{shown} has no passphrase: whoever can read it can sign."
        ));
        return Ok(());
    }
    let chosen = passphrases.choose(&shown)?;
    let sealed = seal(&pem, &chosen)?;
    // The old file goes away: what takes its place must be known to open.
    if unseal(sealed.as_bytes(), &chosen)?.is_none_or(|opened| opened != pem) {
        bail!("the new file would not open; {shown} is as it was");
    }
    replace(edge, &path, &sealed)?;
    output::say(&format!(
        "{shown} opens with the new passphrase only. Copies that lie elsewhere still open with the old one."
    ));
    Ok(())
}

fn replace(edge: &Edge, path: &Path, text: &str) -> anyhow::Result<()> {
    write_whole_as(&edge.unfinished, path, text.as_bytes(), 0o600, Existing::Replaced)
}
