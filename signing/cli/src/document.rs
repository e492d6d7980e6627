//! Build manifests as signed and uploaded.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use millet_protocol::api::Publication;
use millet_protocol::{BuildManifest, Model, Sha256Digest, targets};
use millet_signing::metadata::{TargetFile, Targets, lifetime};
use millet_signing::sign;
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::config::Config;
use crate::edge::Edge;
use crate::keys::KeyRing;
use crate::output;
use crate::progress::Meter;
use crate::repository::{Repository, expires};
use crate::sign::{Parts, Request};

/// The exact bytes of a manifest.
pub struct Document {
    name: String,
    bytes: Vec<u8>,
}

impl Document {
    /// Checks a manifest and writes it down.
    pub fn of(manifest: &BuildManifest) -> anyhow::Result<Self> {
        let name = targets::manifest(&manifest.model, &manifest.build);
        manifest
            .validate()
            .with_context(|| format!("{name} would contradict itself"))?;
        let bytes = serde_json::to_vec_pretty(manifest).with_context(|| format!("cannot write {name}"))?;
        Ok(Self { name, bytes })
    }

    /// What metadata says of it.
    pub fn target(&self) -> TargetFile {
        TargetFile::of(&self.bytes)
    }

    /// Uploads it, unless the server has it.
    pub fn upload(&self, client: &Client, edge: &Edge) -> anyhow::Result<()> {
        let mut file = edge.unfinished.create(&edge.scratch.join("manifest"))?;
        let what = || format!("cannot upload {}", self.name);
        std::io::Write::write_all(file.file(), &self.bytes).with_context(what)?;
        let sha256 = Sha256Digest(Sha256::digest(&self.bytes).into());
        client
            .upload(&sha256, file.path(), &Meter::hidden())
            .with_context(what)?;
        Ok(())
    }
}

/// The next version of `builds.<model>` with some files new or changed.
pub fn next_builds(
    edge: &Edge,
    repository: &Repository<'_>,
    model: &Model,
    files: impl IntoIterator<Item = (String, TargetFile)>,
) -> anyhow::Result<Targets> {
    let mut builds = repository
        .builds_role(model)?
        .next(expires(edge.now, lifetime::BUILDS)?);
    builds.targets.extend(files);
    Ok(builds)
}

/// Lists of builds, each signed by its model's keys that are here.
pub fn sign_builds(
    config: &Config,
    edge: &Edge,
    repository: &Repository<'_>,
    lists: &BTreeMap<Model, Targets>,
) -> anyhow::Result<Publication> {
    let mut metadata = BTreeMap::new();
    for (model, builds) in lists {
        let keys = trusted_builds_keys(config, edge, repository, model)?;
        let signed =
            sign(builds, &keys.signers()?).with_context(|| format!("cannot sign {}", keys.role()))?;
        let text = String::from_utf8(signed).context("signed metadata is text")?;
        metadata.insert(keys.role().to_owned(), text);
    }
    Ok(Publication { metadata })
}

/// Writes a request that others sign: lists of builds, with the manifests that are new in them.
pub fn ask_for_signatures(
    path: &Path,
    edge: &Edge,
    repository: &Repository<'_>,
    lists: &BTreeMap<Model, Targets>,
    documents: &[&Document],
) -> anyhow::Result<()> {
    let mut parts = Parts {
        roots: repository.roots()?,
        current: BTreeMap::from([("targets".to_owned(), repository.file("targets")?)]),
        ..Parts::default()
    };
    for (model, builds) in lists {
        let role = targets::builds_role(model);
        parts.current.insert(role.clone(), repository.file(&role)?);
        parts.asked.insert(role, sign(builds, &[])?);
    }
    for document in documents {
        let text = String::from_utf8(document.bytes.clone())?;
        parts.manifests.insert(document.name.clone(), text);
    }
    Request::of(parts)?.write_new(path, &edge.unfinished)?;
    output::next(&format!("millet sign {}", path.display()));
    Ok(())
}

/// The keys that sign a model's builds: they are here, and the repository trusts them.
pub fn trusted_builds_keys(
    config: &Config,
    edge: &Edge,
    repository: &Repository<'_>,
    model: &Model,
) -> anyhow::Result<KeyRing> {
    let keys = builds_keys(config, edge, model)?;
    let role = repository
        .set()
        .targets()
        .and_then(|targets| targets.authority(keys.role()));
    let trusted = keys
        .signers()?
        .iter()
        .filter(|key| role.is_some_and(|role| role.has(key.public_key())))
        .count();
    if !role.is_some_and(|role| u64::try_from(trusted).is_ok_and(|trusted| trusted >= role.threshold())) {
        bail!(
            "the keys of [models.{model}] are not the keys that the repository trusts: `millet sign request --out FILE` asks \
             for that change"
        );
    }
    if role.is_some_and(|role| role.threshold() != keys.threshold()) {
        output::say(&format!(
            "warning: millet.toml has another threshold for {model} than the repository: millet sign request brings it \
             there"
        ));
    }
    Ok(keys)
}

/// The keys that millet.toml names for a model's builds.
pub fn builds_keys(config: &Config, edge: &Edge, model: &Model) -> anyhow::Result<KeyRing> {
    let model_config = config.model(model)?;
    KeyRing::load(
        config,
        edge,
        &targets::builds_role(model),
        &model_config.keys,
        model_config.threshold,
    )
}
