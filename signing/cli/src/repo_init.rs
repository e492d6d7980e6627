use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use millet_protocol::api::{OnlineKeys, Publication};
use millet_signing::metadata::{Root, Targets, lifetime};
use millet_signing::{PublicKey, sign, verify_first_root};
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::config::Config;
use crate::edge::Edge;
use crate::keys::KeyRing;
use crate::output;
use crate::repository::{FIRST_ROOT, begin_with, expires, make_folder};
use crate::unfinished::write_whole;

/// `millet repo init`
#[derive(clap::Args)]
pub struct Args {
    /// Trusts the server's keys without asking.
    #[arg(long)]
    yes: bool,
}

/// The keys of the roles that the server signs by itself.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerKeys {
    /// Of every model's deltas.
    pub deltas: PublicKey,
    /// Of every model's rollouts.
    pub rollouts: PublicKey,
    /// Of the snapshot.
    pub snapshot: PublicKey,
    /// Of the timestamp.
    pub timestamp: PublicKey,
}

impl ServerKeys {
    /// Those that the root names, with their roles.
    pub fn of_root(&self) -> [(&'static str, &PublicKey); 2] {
        [("snapshot", &self.snapshot), ("timestamp", &self.timestamp)]
    }
}

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
    let signers = KeyRing::targets(config, edge)?;
    let root = match ours {
        Some(root) => {
            let own = KeyRing::root(config, edge)?;
            interrupted(&path, root, &[("root", &own), ("targets", &signers)], &keys)?
        }
        None => {
            let own = KeyRing::root(config, edge)?;
            sign(&first_root(config, edge, &keys)?, &own.signers()?).context("cannot sign the root role")?
        }
    };
    let targets = Targets::new(expires(edge.now, lifetime::TARGETS)?);
    let targets = sign(&targets, &signers.signers()?).context("cannot sign the targets role")?;
    // Before the upload: if that breaks off, running the command again finds the same root.
    begin_with(&root, config, edge)?;
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
) -> anyhow::Result<ServerKeys> {
    let path = config.trusted_folder().join(AGREED);
    let OnlineKeys { keys } = client.online_keys()?;
    let key = |role: &str| {
        let value = keys
            .get(role)
            .with_context(|| format!("the server names no key for {role}"))?;
        let key: PublicKey = serde_json::from_value(value.clone())
            .with_context(|| format!("the server's key for {role} is not a TUF key object"))?;
        if !key.is_supported() {
            bail!("the server's key for {role} is of a type that Millet does not know");
        }
        Ok(key)
    };
    let offered = ServerKeys {
        snapshot: key("snapshot")?,
        timestamp: key("timestamp")?,
        deltas: key("deltas")?,
        rollouts: key("rollouts")?,
    };
    let agreed: Option<ServerKeys> = fs::read(&path)
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

fn table(keys: &ServerKeys) -> String {
    let mut table = output::columns();
    table.set_header(["role", "key"]);
    let models = [("deltas", &keys.deltas), ("rollouts", &keys.rollouts)];
    for (role, key) in models.into_iter().chain(keys.of_root()) {
        table.add_row([role.to_owned(), key.id().to_string()]);
    }
    output::table(&table)
}

/// The root that begins a repository, unsigned.
pub fn first_root(config: &Config, edge: &Edge, online: &ServerKeys) -> anyhow::Result<Root> {
    let own = KeyRing::root(config, edge)?;
    let targets = KeyRing::targets(config, edge)?;
    let mut root = Root::new(expires(edge.now, lifetime::ROOT)?);
    root.set_role("root", own.public(), own.threshold())
        .context("the keys of [root] cannot work")?;
    root.set_role("targets", targets.public(), targets.threshold())
        .context("the keys of [targets] cannot work")?;
    for (role, key) in online.of_root() {
        root.set_role(role, std::slice::from_ref(key), 1)
            .context("the server's keys cannot work")?;
    }
    Ok(root)
}

/// A root that an earlier run made and could not upload. It must still fit millet.toml and the server.
fn interrupted(
    path: &Path,
    bytes: Vec<u8>,
    offline: &[(&str, &KeyRing)],
    online: &ServerKeys,
) -> anyhow::Result<Vec<u8>> {
    let root = verify_first_root(&bytes).with_context(|| format!("{} is not a root", path.display()))?;
    for (role, keys) in offline {
        let authority = root.authority(role);
        if !authority.is_some_and(|authority| authority.is(keys.public(), keys.threshold())) {
            bail!(
                "{}, which an earlier run made, has other {role} keys or another threshold than millet.toml: move it \
                 away to begin with those of millet.toml",
                path.display()
            );
        }
    }
    for (role, key) in online.of_root() {
        let fits = root.authority(role).is_some_and(|authority| authority.has(key));
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
