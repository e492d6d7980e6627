use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use millet_protocol::api::{OnlineKeys, Publication};
use millet_signing::metadata::{Root, Targets, lifetime};
use millet_signing::{PublicKey, sign, verify_first_root};

use crate::client::Client;
use crate::config::Config;
use crate::edge::Edge;
use crate::keys::KeyRing;
use crate::output;
use crate::repository::{FIRST_ROOT, expires, make_folder};
use crate::unfinished::write_whole;

/// `millet repo init`
#[derive(clap::Args)]
pub struct Args {
    /// Trusts the server's keys without asking.
    #[arg(long)]
    yes: bool,
}

/// The roles that the server signs by itself.
const ONLINE: [&str; 4] = ["snapshot", "timestamp", "deltas", "rollouts"];

/// Name of the file that remembers which online keys were agreed to.
const AGREED: &str = "online-keys.json";

pub fn run(args: &Args, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    let client = Client::new(config)?;
    let path = config.trusted_folder().join(FIRST_ROOT);
    let ours = fs::read(&path).ok();
    match (client.metadata(FIRST_ROOT, 1 << 20)?, &ours) {
        (Some(theirs), Some(ours)) if theirs == *ours => {
            output::say(&format!("{} already has this repository", client.server()));
            output::next("millet model add MODEL");
            return Ok(());
        }
        (Some(_), Some(_)) => bail!(
            "{} has another repository than {} began: check the server's address",
            client.server(),
            path.display()
        ),
        (Some(_), None) => bail!(
            "{} already has a repository: copy {} from whoever made it",
            client.server(),
            path.display()
        ),
        (None, _) => {}
    }
    let keys = agreed_online_keys(config, &client, edge, args.yes)?;
    let root = match ours {
        Some(root) => interrupted(&path, root, &keys)?,
        None => {
            let own = KeyRing::load(config, edge, "root", &config.root.keys, config.root.threshold)?;
            sign(&first_root(config, edge, &keys)?, &own.signers()?).context("cannot sign the root role")?
        }
    };
    let signers = KeyRing::load(
        config,
        edge,
        "targets",
        &config.targets.keys,
        config.targets.threshold,
    )?;
    let targets = Targets::new(expires(edge.now, lifetime::TARGETS)?);
    let targets = sign(&targets, &signers.signers()?).context("cannot sign the targets role")?;
    // Before the upload: if that breaks off, running the command again finds the same root.
    make_folder(&config.trusted_folder())?;
    write_whole(&edge.unfinished, &path, &root)?;
    let metadata = BTreeMap::from([
        ("root".to_owned(), String::from_utf8(root)?),
        ("targets".to_owned(), String::from_utf8(targets)?),
    ]);
    client.publish(&Publication { metadata })?;
    output::print(&path.display().to_string())?;
    output::say("The repository is there. Ship this root in every image: devices trust it and nothing else.");
    output::next("millet model add MODEL");
    Ok(())
}

/// The server's keys as a person has agreed to them, now or before.
pub fn agreed_online_keys(
    config: &Config,
    client: &Client,
    edge: &Edge,
    yes: bool,
) -> anyhow::Result<BTreeMap<String, PublicKey>> {
    let path = config.trusted_folder().join(AGREED);
    let OnlineKeys { keys } = client.online_keys()?;
    let parsed = ONLINE.iter().map(|role| {
        let value = keys
            .get(*role)
            .with_context(|| format!("the server names no key for {role}"))?;
        let key: PublicKey = serde_json::from_value(value.clone())
            .with_context(|| format!("the server's key for {role} is not a TUF key object"))?;
        if !key.is_supported() {
            bail!("the server's key for {role} is of a type that Millet does not know");
        }
        Ok(((*role).to_owned(), key))
    });
    let offered: BTreeMap<String, PublicKey> = parsed.collect::<anyhow::Result<_>>()?;
    let agreed: Option<BTreeMap<String, PublicKey>> = fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if agreed.as_ref() == Some(&offered) {
        return Ok(offered);
    }
    if agreed.is_some() {
        output::say("warning: the server's keys are others than those that you agreed to before");
    }
    output::say(&format!(
        "{} signs by itself with these keys:\n\n{}\n",
        client.server(),
        table(&offered)
    ));
    output::say(
        "The server printed the same identifiers when it first started. Compare them there, not over the network.",
    );
    output::confirm("Are they equal?", yes)?;
    make_folder(&config.trusted_folder())?;
    write_whole(&edge.unfinished, &path, &serde_json::to_vec_pretty(&offered)?)?;
    Ok(offered)
}

fn table(keys: &BTreeMap<String, PublicKey>) -> String {
    let mut table = output::columns();
    table.set_header(["role", "key"]);
    for (role, key) in keys {
        table.add_row([role.clone(), key.id().to_string()]);
    }
    output::table(&table)
}

/// The root that begins a repository, unsigned.
pub fn first_root(
    config: &Config,
    edge: &Edge,
    online: &BTreeMap<String, PublicKey>,
) -> anyhow::Result<Root> {
    let own = KeyRing::load(config, edge, "root", &config.root.keys, config.root.threshold)?;
    let targets = KeyRing::load(
        config,
        edge,
        "targets",
        &config.targets.keys,
        config.targets.threshold,
    )?;
    let mut root = Root::new(expires(edge.now, lifetime::ROOT)?);
    root.set_role("root", own.public(), own.threshold())
        .context("the keys of [root] cannot work")?;
    root.set_role("targets", targets.public(), targets.threshold())
        .context("the keys of [targets] cannot work")?;
    for role in ["snapshot", "timestamp"] {
        let key = online
            .get(role)
            .with_context(|| format!("the server names no key for {role}"))?;
        root.set_role(role, std::slice::from_ref(key), 1)
            .context("the server's keys cannot work")?;
    }
    Ok(root)
}

/// A root that an earlier run made and could not upload. It must still fit the server.
fn interrupted(path: &Path, bytes: Vec<u8>, online: &BTreeMap<String, PublicKey>) -> anyhow::Result<Vec<u8>> {
    let root = verify_first_root(&bytes).with_context(|| format!("{} is not a root", path.display()))?;
    for role in ["snapshot", "timestamp"] {
        let fits = root
            .authority(role)
            .zip(online.get(role))
            .is_some_and(|(authority, key)| authority.has(key));
        if !fits {
            bail!(
                "{} names another {role} key than the server has: it belongs to another server; move it away if this \
                 one is to begin anew",
                path.display()
            );
        }
    }
    output::say(&format!(
        "uploading {}, which an earlier run made",
        path.display()
    ));
    Ok(bytes)
}
