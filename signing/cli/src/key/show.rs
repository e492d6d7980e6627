use millet_protocol::targets;
use serde::Serialize;

use super::named;
use crate::config::Config;
use crate::edge::Edge;
use crate::keys::{Key, KeyUri, Place};
use crate::output;

/// `millet key show`
#[derive(clap::Args)]
pub struct Args {
    /// A key's URI as in millet.toml, or the path of a .key or .pub file.
    #[arg(value_name = "URI|FILE")]
    key: String,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// What a script reads.
#[derive(Serialize)]
struct Line<'a> {
    uri: String,
    r#type: &'a str,
    keyid: &'a str,
    private: Place,
    roles: Vec<String>,
}

pub fn run(args: &Args, config: Option<&Config>, edge: &Edge) -> anyhow::Result<()> {
    let (uri, keys) = named(&args.key, config)?;
    let key = edge.keychain.key(&keys, &uri)?;
    let id = key.public().id();
    let line = Line {
        uri: uri.to_string(),
        r#type: key.public().scheme(),
        keyid: id.as_str(),
        private: key.place(),
        roles: config.map_or_else(Vec::new, |config| roles(config, edge, &key)),
    };
    if args.json {
        return output::print_json(&line);
    }
    let used = match (config, line.roles.as_slice()) {
        (None, _) => "there is no millet.toml here".to_owned(),
        (Some(_), []) => "no role of millet.toml".to_owned(),
        (Some(_), roles) => roles.join(", "),
    };
    let mut table = output::columns();
    table.add_row(["key", &line.uri]);
    table.add_row(["type", line.r#type]);
    table.add_row(["key id", line.keyid]);
    table.add_row(["private half", line.private.words()]);
    table.add_row(["signs for", &used]);
    output::print(&output::table(&table))
}

/// The roles of millet.toml that list this key, whatever they call it.
fn roles(config: &Config, edge: &Edge, key: &Key) -> Vec<String> {
    let models = config
        .models
        .iter()
        .map(|(model, role)| (targets::builds_role(model), role.keys.as_slice()));
    let all = [
        ("root".to_owned(), config.root.keys.as_slice()),
        ("targets".to_owned(), config.targets.keys.as_slice()),
    ];
    let lists = |uris: &[KeyUri]| {
        uris.iter().any(|uri| match edge.keychain.key(&config.keys, uri) {
            Ok(other) => other.public() == key.public(),
            Err(error) => {
                output::say(&format!("warning: {error:#}"));
                false
            }
        })
    };
    all.into_iter()
        .chain(models)
        .filter(|(_, uris)| lists(uris))
        .map(|(role, _)| role)
        .collect()
}
