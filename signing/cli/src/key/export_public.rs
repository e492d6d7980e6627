use std::path::PathBuf;

use millet_signing::{PublicKey, Signer};

use super::{named, object, write_public};
use crate::config::{Config, KeysConfig};
use crate::edge::Edge;
use crate::keys::{About, KeyFile, KeyUri, private_key};
use crate::output;

/// `millet key export-public`
#[derive(clap::Args)]
pub struct Args {
    /// A key's URI as in millet.toml, or the path of a .key file. An encrypted one is opened.
    #[arg(value_name = "URI|FILE")]
    key: String,
    /// File to write, such as NAME.pub; without it the key goes to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, config: Option<&Config>, edge: &Edge) -> anyhow::Result<()> {
    let (uri, keys) = named(&args.key, config)?;
    let public = public_half(&uri, &keys, edge)?;
    let Some(out) = &args.out else {
        return output::print(&object(&public)?);
    };
    write_public(&edge.unfinished, out, &public)?;
    output::print(&format!("file:{}  {}", out.display(), public.id()))
}

/// Computed anew where there is a key file: the .pub beside it may be what is missing.
fn public_half(uri: &KeyUri, keys: &KeysConfig, edge: &Edge) -> anyhow::Result<PublicKey> {
    match uri {
        KeyUri::File(path) if path.extension().is_none_or(|extension| extension != "pub") => {
            let name = path.display().to_string();
            let about = About {
                name: &name,
                id: None,
            };
            let pem = KeyFile::read(path)?.open(edge.keychain.passphrases(), None, &about)?;
            Ok(private_key(&pem, &name)?.public_key().clone())
        }
        _ => Ok(edge.keychain.key(keys, uri)?.public().clone()),
    }
}
