//! The server's repository, as far as its signatures vouch for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use millet_protocol::{Build, BuildManifest, Channel, Model, targets};
use millet_signing::metadata::Targets;
use millet_signing::{Files, Limits, Refresh, Step, TrustedSet, Verified, file_name};

use crate::client::Client;
use crate::config::Config;
use crate::edge::Edge;
use crate::unfinished::write_whole;

/// Name of the root that a repository began with; images ship it, and nothing replaces it.
pub const FIRST_ROOT: &str = "1.root.json";

/// Metadata that has been verified just now.
pub struct Repository<'a> {
    client: &'a Client,
    edge: &'a Edge,
    folder: PathBuf,
    set: TrustedSet,
    files: Files,
}

impl<'a> Repository<'a> {
    /// Fetches and verifies the metadata with the builds of `models`, as a device would.
    pub fn refresh<'m>(
        config: &Config,
        client: &'a Client,
        edge: &'a Edge,
        models: impl IntoIterator<Item = &'m Model>,
    ) -> anyhow::Result<Self> {
        let folder = config.trusted_folder();
        let roles: Vec<String> = models.into_iter().map(targets::builds_role).collect();
        let cached = read_cache(&folder.join("metadata"))?;
        let root = match cached.get("root.json") {
            Some(root) => root.clone(),
            None => read_first_root(&folder)?,
        };
        let mut refresh = Refresh::start(&root, cached, &roles, Limits::default(), edge.now)
            .with_context(|| format!("the trusted root in {} is of no use", folder.display()))?;
        let fetched = fetch_all(&mut refresh, client);
        // Also after a failure: a new root that was verified stays.
        write_cache(&folder.join("metadata"), &refresh.files(), edge)?;
        fetched.with_context(|| format!("the repository of {} is not trusted", client.server()))?;
        let Verified { set, files } = refresh.finish()?;
        Ok(Self {
            client,
            edge,
            folder,
            set,
            files,
        })
    }

    /// Whether the server has a repository. One that this workshop knows and the server has lost is an error.
    pub fn exists(config: &Config, client: &Client) -> anyhow::Result<bool> {
        let theirs = client.metadata(FIRST_ROOT, Limits::default().root)?;
        let ours = config.trusted_folder().join(FIRST_ROOT);
        if theirs.is_none() && ours.exists() {
            bail!(
                "{} has no repository, and {} says that it had one: `millet repo init` uploads an interrupted one; move \
                 the file away to begin anew",
                client.server(),
                ours.display()
            );
        }
        Ok(theirs.is_some())
    }

    /// The exact bytes of a role's verified file.
    pub fn file(&self, role: &str) -> anyhow::Result<Vec<u8>> {
        let file = self.files.get(&file_name(role));
        file.cloned()
            .with_context(|| format!("the repository has no {role}"))
    }

    /// Every root, from the first to the one that is trusted now.
    pub fn roots(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut roots = vec![read_first_root(&self.folder)?];
        for version in 2..=self.set.root().version {
            let name = format!("{version}.{}", file_name("root"));
            let root = self.client.metadata(&name, Limits::default().root)?;
            roots.push(root.with_context(|| format!("the server does not have {name}"))?);
        }
        Ok(roots)
    }

    /// The verified metadata.
    pub fn set(&self) -> &TrustedSet {
        &self.set
    }

    /// The role that names a model's builds.
    pub fn builds_role(&self, model: &Model) -> anyhow::Result<&Targets> {
        match self.set.delegated(&targets::builds_role(model)) {
            Some(role) => Ok(role),
            None => bail!("the repository has no model {model}: add it with millet model add {model}"),
        }
    }

    /// The manifests of all builds of a model, lowest sequence first.
    pub fn builds(&self, model: &Model) -> anyhow::Result<Vec<BuildManifest>> {
        let mut builds = Vec::new();
        for path in self
            .builds_role(model)?
            .targets
            .keys()
            .filter(|path| path.ends_with(".json"))
        {
            builds.push(self.manifest(path)?);
        }
        builds.sort_by_key(|build| build.sequence);
        Ok(builds)
    }

    /// The manifest of one build of a model.
    pub fn build(&self, model: &Model, build: &Build) -> anyhow::Result<BuildManifest> {
        let path = targets::manifest(model, build);
        if !self.builds_role(model)?.targets.contains_key(&path) {
            bail!("{model} has no build {build}");
        }
        self.manifest(&path)
    }

    /// The newest build of a model that its signers allow on a channel.
    pub fn newest(&self, model: &Model, channel: &Channel) -> anyhow::Result<BuildManifest> {
        let mut builds = self.builds(model)?;
        builds.retain(|build| build.channels.contains(channel));
        builds
            .pop()
            .with_context(|| format!("no build of {model} is allowed on {channel}"))
    }

    /// A manifest by its target path.
    fn manifest(&self, path: &str) -> anyhow::Result<BuildManifest> {
        let manifest: BuildManifest = serde_json::from_slice(&self.document(path)?)
            .with_context(|| format!("{path} is not a build manifest"))?;
        manifest
            .validate()
            .with_context(|| format!("{path} contradicts itself"))?;
        Ok(manifest)
    }

    /// The signed bytes of a target path, from the folder of those already seen or from the server.
    pub fn document(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let file = self
            .set
            .target(path)
            .with_context(|| format!("signed metadata does not name {path}"))?;
        let sha256 = file
            .sha256()
            .with_context(|| format!("signed metadata names no SHA-256 for {path}"))?;
        let known = self.folder.join("documents").join(format!("{sha256}.json"));
        match fs::read(&known) {
            Ok(bytes) if file.matches(&bytes) => Ok(bytes),
            _ => {
                let bytes = self.client.target(path, file)?;
                make_folder(&self.folder.join("documents"))?;
                write_whole(&self.edge.unfinished, &known, &bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// Keeps the root that a repository begins with, and forgets what was trusted of another one.
pub fn begin_with(root: &[u8], config: &Config, edge: &Edge) -> anyhow::Result<()> {
    let folder = config.trusted_folder();
    make_folder(&folder)?;
    let path = folder.join(FIRST_ROOT);
    if fs::read(&path).ok().as_deref() != Some(root) {
        let metadata = folder.join("metadata");
        match fs::remove_dir_all(&metadata) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", metadata.display()));
            }
            _ => {}
        }
    }
    write_whole(&edge.unfinished, &path, root)
}

/// Makes a folder that may be there already.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

/// When something that is signed now and lives for `lifetime` expires.
pub fn expires(now: Timestamp, lifetime: jiff::SignedDuration) -> anyhow::Result<Timestamp> {
    now.checked_add(lifetime)
        .context("the clock is too far in the future")
}

fn fetch_all(refresh: &mut Refresh, client: &Client) -> anyhow::Result<()> {
    while let Step::Fetch { name, max_length, .. } = refresh.next() {
        let bytes = client.metadata(&name, max_length)?;
        refresh.supply(bytes)?;
    }
    Ok(())
}

fn read_first_root(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(FIRST_ROOT);
    fs::read(&path).with_context(|| {
        format!(
            "there is no trusted root at {}: make a new repository with millet repo init, or copy the file from \
             whoever did",
            path.display()
        )
    })
}

fn read_cache(folder: &Path) -> anyhow::Result<Files> {
    let what = || format!("cannot read {}", folder.display());
    let mut files = Files::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error).with_context(what),
    };
    for entry in entries {
        let path = entry.with_context(what)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| name.ends_with(".json") && !name.starts_with('.')) {
            files.insert(name.to_owned(), fs::read(&path).with_context(what)?);
        }
    }
    Ok(files)
}

/// Leaves exactly `files`, the root last: a crash on the way must not pair a new root with a timestamp that its
/// rotation deleted.
fn write_cache(folder: &Path, files: &Files, edge: &Edge) -> anyhow::Result<()> {
    make_folder(folder)?;
    for name in read_cache(folder)?
        .keys()
        .filter(|name| !files.contains_key(*name))
    {
        let path = folder.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let (root, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == "root.json");
    for (name, bytes) in others.into_iter().chain(root) {
        write_whole(&edge.unfinished, &folder.join(name), bytes)?;
    }
    Ok(())
}
