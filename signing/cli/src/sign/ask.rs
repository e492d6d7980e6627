use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use millet_protocol::{Build, Model, targets};
use millet_signing::metadata::{Root, Targets, lifetime};
use millet_signing::{Authority, PublicKey, sign, verify};

use super::request::{Parts, Request, check_new};
use super::{next_for, print_progress, words};
use crate::client::Client;
use crate::config::Config;
use crate::document::builds_keys;
use crate::edge::Edge;
use crate::keys::KeyRing;
use crate::output;
use crate::repo_init::{ServerKeys, agreed_online_keys, first_root};
use crate::repository::{Repository, expires};

/// `millet sign request`
#[derive(clap::Args)]
pub struct Args {
    /// Roles to sign anew even if their keys stay: root, targets, builds.MODEL. What millet.toml changes, and what must be
    /// signed with it, comes along by itself.
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    /// A build that its list names no more, so that devices take it from nobody; may be given several times.
    #[arg(long, value_name = "MODEL/BUILD", value_parser = parse_build)]
    leave_out: Vec<(Model, Build)>,
    /// The new file, for `millet sign` on the machines that hold the keys.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Trusts the server's keys without asking, if they are new.
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    check_new(&args.out)?;
    let client = Client::new(config)?;
    let online = agreed_online_keys(config, &client, edge, args.yes)?;
    let parts = if Repository::exists(config, &client)? {
        let models: Vec<Model> = config.models.keys().cloned().collect();
        let repository = Repository::refresh(config, &client, edge, &models)?;
        following(args, config, edge, &repository, &online)?
    } else {
        beginning(config, edge, &online)?
    };
    if parts.asked.is_empty() {
        output::say("millet.toml changes nothing: name a role to sign it anew, such as root");
        return Ok(());
    }
    let request = Request::of(parts)?;
    request.write_new(&args.out, &edge.unfinished)?;
    output::say(&words::changes(&request).join("\n"));
    print_progress(&request)?;
    next_for(&request, &args.out);
    Ok(())
}

/// The first root and an empty list of models.
fn beginning(config: &Config, edge: &Edge, online: &ServerKeys) -> anyhow::Result<Parts> {
    let root = first_root(config, edge, online)?;
    let targets = Targets::new(expires(edge.now, lifetime::TARGETS)?);
    Ok(Parts {
        asked: BTreeMap::from([
            ("root".to_owned(), sign(&root, &[])?),
            ("targets".to_owned(), sign(&targets, &[])?),
        ]),
        ..Parts::default()
    })
}

/// What follows from millet.toml, and what no longer verifies once that is so.
fn following(
    args: &Args,
    config: &Config,
    edge: &Edge,
    repository: &Repository<'_>,
    online: &ServerKeys,
) -> anyhow::Result<Parts> {
    let named = |role: &str| args.roles.iter().any(|named| named == role);
    let mut parts = Parts {
        roots: repository.roots()?,
        current: BTreeMap::from([("targets".to_owned(), repository.file("targets")?)]),
        ..Parts::default()
    };
    let mut root = repository.set().root().clone();
    let next = next_root(config, edge, &root, online)?;
    if named("root") || differs(&root, &next) {
        parts.asked.insert("root".to_owned(), sign(&next, &[])?);
        root = next;
    }

    let current = repository
        .set()
        .targets()
        .context("the targets role is not loaded")?;
    let mut targets = current.clone();
    let next = next_targets(config, edge, current, online)?;
    let authority = root
        .authority("targets")
        .context("the root names no keys for targets")?;
    let trusted = verify::<Targets>(&repository.file("targets")?, &authority).is_ok();
    if named("targets") || next.delegations != current.delegations || !trusted {
        parts.asked.insert("targets".to_owned(), sign(&next, &[])?);
        targets = next;
    }

    for (model, _) in &args.leave_out {
        config.model(model)?;
    }
    let mut known = vec!["root".to_owned(), "targets".to_owned()];
    for model in config.models.keys() {
        let role = targets::builds_role(model);
        known.push(role.clone());
        let now = repository.set().delegated(&role);
        let trusted = now.is_some()
            && targets.authority(&role).is_some_and(|authority| {
                repository
                    .file(&role)
                    .is_ok_and(|file| verify::<Targets>(&file, &authority).is_ok())
            });
        let left_out: Vec<&Build> = (args.leave_out.iter())
            .filter_map(|(of, build)| (of == model).then_some(build))
            .collect();
        if trusted && !named(&role) && left_out.is_empty() {
            continue;
        }
        if now.is_some() {
            parts.current.insert(role.clone(), repository.file(&role)?);
        }
        let expires = expires(edge.now, lifetime::BUILDS)?;
        let mut builds = now.map_or_else(|| Targets::new(expires), |now| now.next(expires));
        for build in left_out {
            if builds.targets.remove(&targets::manifest(model, build)).is_none() {
                bail!("{model} has no build {build}");
            }
            builds.targets.remove(&targets::full_payload(model, build));
        }
        // New signers must see what they vouch for.
        for path in builds.targets.keys().filter(|path| path.ends_with(".json")) {
            let text = String::from_utf8(repository.document(path)?)
                .with_context(|| format!("{path} is not a build manifest"))?;
            parts.manifests.insert(path.clone(), text);
        }
        parts.asked.insert(role, sign(&builds, &[])?);
    }
    if let Some(stranger) = args.roles.iter().find(|role| !known.contains(role)) {
        bail!(
            "no offline role is called {stranger:?}: there are {}",
            known.join(", ")
        );
    }
    Ok(parts)
}

fn parse_build(text: &str) -> Result<(Model, Build), String> {
    let (model, build) = text
        .split_once('/')
        .ok_or("model and build are divided by a slash, such as rubik/V6.11.20")?;
    let model = model.parse().map_err(|error| format!("{error}"))?;
    let build = build.parse().map_err(|error| format!("{error}"))?;
    Ok((model, build))
}

fn next_root(config: &Config, edge: &Edge, now: &Root, online: &ServerKeys) -> anyhow::Result<Root> {
    let mut next = now.next(expires(edge.now, lifetime::ROOT)?);
    for (role, keys) in [
        ("root", KeyRing::root(config, edge)?),
        ("targets", KeyRing::targets(config, edge)?),
    ] {
        if !is(now.authority(role), keys.public(), keys.threshold()) {
            next.set_role(role, keys.public(), keys.threshold())
                .with_context(|| format!("the keys of [{role}] cannot work"))?;
        }
    }
    for (role, key) in online.of_root() {
        if !is(now.authority(role), std::slice::from_ref(key), 1) {
            next.set_role(role, std::slice::from_ref(key), 1)
                .context("the server's keys cannot work")?;
        }
    }
    Ok(next)
}

fn next_targets(config: &Config, edge: &Edge, now: &Targets, online: &ServerKeys) -> anyhow::Result<Targets> {
    let mut next = now.next(expires(edge.now, lifetime::TARGETS)?);
    let (deltas, rollouts) = (&online.deltas, &online.rollouts);
    for model in config.models.keys() {
        let builders = builds_keys(config, edge, model)?;
        let same = is(
            now.authority(&targets::builds_role(model)),
            builders.public(),
            builders.threshold(),
        ) && is(
            now.authority(&targets::deltas_role(model)),
            std::slice::from_ref(deltas),
            1,
        ) && is(
            now.authority(&targets::rollouts_role(model)),
            std::slice::from_ref(rollouts),
            1,
        );
        if !same {
            next.delegate_model(model, builders.public(), builders.threshold(), deltas, rollouts)
                .with_context(|| format!("the keys of [models.{model}] cannot work"))?;
        }
    }
    Ok(next)
}

fn is(authority: Option<Authority<'_>>, keys: &[PublicKey], threshold: u64) -> bool {
    authority.is_some_and(|authority| authority.is(keys, threshold))
}

fn differs(now: &Root, next: &Root) -> bool {
    ["root", "targets", "snapshot", "timestamp"].iter().any(|role| {
        match (now.authority(role), next.authority(role)) {
            (Some(now), Some(next)) => !now.same_keys(&next),
            _ => true,
        }
    })
}
