use std::collections::BTreeMap;

use anyhow::{Context, bail};
use millet_protocol::api::Publication;
use millet_protocol::{Model, targets};
use millet_signing::metadata::{Targets, lifetime};
use millet_signing::{PublicKey, sign};

use crate::client::Client;
use crate::config::Config;
use crate::document::builds_keys;
use crate::edge::Edge;
use crate::keys::KeyRing;
use crate::output;
use crate::repo_init::agreed_online_keys;
use crate::repository::{Repository, expires};

/// `millet model add`
#[derive(clap::Args)]
pub struct Args {
    /// The device type, which has a section in millet.toml.
    model: Model,
    /// Trusts the server's keys without asking, if they are new.
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    let model = &args.model;
    let role = targets::builds_role(model);
    let builders = builds_keys(config, edge, model)?;
    let client = Client::new(config)?;
    let repository = Repository::refresh(config, &client, edge, [model])?;
    let online = agreed_online_keys(config, &client, edge, args.yes)?;
    let (deltas, rollouts) = (&online.deltas, &online.rollouts);

    let current = repository
        .set()
        .targets()
        .context("the targets role is not loaded")?;
    let roles = [
        (role.clone(), builders.public().to_vec(), builders.threshold()),
        (targets::deltas_role(model), vec![deltas.clone()], 1),
        (targets::rollouts_role(model), vec![rollouts.clone()], 1),
    ];
    let unchanged = |(role, keys, threshold): &(String, Vec<PublicKey>, u64)| {
        current
            .authority(role)
            .is_some_and(|authority| authority.is(keys, *threshold))
    };
    if roles.iter().all(unchanged) {
        output::say(&format!("{model} is there already, with these keys"));
        next(model);
        return Ok(());
    }

    let builds = repository.set().delegated(&role);
    if !unchanged(&roles[0]) && builds.is_some_and(|builds| !builds.targets.is_empty()) {
        // Perhaps a thief published one of them.
        bail!(
            "{model} has builds, and whoever signs them with other keys vouches for each: `millet sign request --out FILE` \
             shows them, and asks for the signatures"
        );
    }

    let mut changed = current.next(expires(edge.now, lifetime::TARGETS)?);
    changed
        .delegate_model(model, builders.public(), builders.threshold(), deltas, rollouts)
        .with_context(|| format!("the keys of [models.{model}] cannot work"))?;
    let offline = KeyRing::targets(config, edge)?;
    let targets_file = sign(&changed, &offline.signers()?).context("cannot sign the targets role")?;
    let builds_expire = expires(edge.now, lifetime::BUILDS)?;
    let builds = match builds {
        Some(builds) => builds.next(builds_expire),
        None => Targets::new(builds_expire),
    };
    let builds_file = sign(&builds, &builders.signers()?).with_context(|| format!("cannot sign {role}"))?;
    let metadata = BTreeMap::from([
        ("targets".to_owned(), String::from_utf8(targets_file)?),
        (role, String::from_utf8(builds_file)?),
    ]);
    client.publish(&Publication { metadata })?;
    output::say(&format!(
        "{model} is there: {} of {} keys sign its builds",
        builders.threshold(),
        builders.public().len()
    ));
    next(model);
    Ok(())
}

fn next(model: &Model) {
    output::next(&format!(
        "millet publish --model {model} --build BUILD --images DIR --channel beta"
    ));
}
