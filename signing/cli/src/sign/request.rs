//! The file that travels between the machine that talks to the server and those that hold keys.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use millet_protocol::BuildManifest;
use millet_signing::metadata::{Role, Root, TargetFile, Targets};
use millet_signing::{Authority, Collected, KeyId, Signer, verify, verify_first_root, verify_next_root};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::words;
use crate::unfinished::{Existing, Unfinished, write_whole_as};

/// Longest request that is read, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Metadata that waits for signatures, with all that is needed to say what it changes.
///
/// Whoever reads one has checked: the roots follow each other, what is said to be trusted now is signed, and what is to be
/// signed is its next version.
pub struct Request {
    roots: Vec<Vec<u8>>,
    root: Option<Root>,
    next_root: Option<Root>,
    targets: Option<Targets>,
    next_targets: Option<Targets>,
    current: BTreeMap<String, Vec<u8>>,
    asked: BTreeMap<String, Collected>,
    manifests: BTreeMap<String, String>,
}

/// What a request is made of.
#[derive(Default)]
pub struct Parts {
    /// Every root from the first to the one that is trusted now; none for a repository that begins.
    pub roots: Vec<Vec<u8>>,
    /// Signed files that are trusted now, by role: `targets`, and those of the roles to sign.
    pub current: BTreeMap<String, Vec<u8>>,
    /// The files to sign, by role.
    pub asked: BTreeMap<String, Vec<u8>>,
    /// Manifests of builds that are new or changed, by target path.
    pub manifests: BTreeMap<String, String>,
}

/// How far a role is.
pub struct Progress {
    /// The role, and for a new root whose keys are meant.
    pub whose: String,
    /// Keys that have signed, by identifier.
    pub signed: Vec<KeyId>,
    /// Keys that could still sign.
    pub missing: Vec<KeyId>,
    /// How many must sign.
    pub threshold: u64,
}

impl Progress {
    /// Whether enough have signed.
    pub fn is_complete(&self) -> bool {
        u64::try_from(self.signed.len()).is_ok_and(|signed| signed >= self.threshold)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestFile {
    format: u32,
    /// What changes, in words, for who opens the file in an editor. Nothing is decided by it.
    summary: Vec<String>,
    /// Of each role: the canonical bytes that a signature is made over, in hexadecimal.
    messages: BTreeMap<String, String>,
    /// Of each role: the file with the signatures so far.
    asked: BTreeMap<String, String>,
    current: BTreeMap<String, String>,
    roots: Vec<String>,
    manifests: BTreeMap<String, String>,
}

impl Request {
    /// Checks the parts against each other.
    pub fn of(parts: Parts) -> anyhow::Result<Self> {
        let root = chain(&parts.roots)?;
        let targets = match (parts.current.get("targets"), &root) {
            (Some(bytes), Some(root)) => {
                let authority = root
                    .authority("targets")
                    .context("the root names no keys for targets")?;
                Some(verify::<Targets>(bytes, &authority).context("the targets role of now is not trusted")?)
            }
            (Some(_), None) => bail!("it has a targets role and no root"),
            (None, _) => None,
        };
        let mut asked = BTreeMap::new();
        for (role, file) in &parts.asked {
            let collected = Collected::parse(file)
                .with_context(|| format!("{role}, which is to be signed, is no metadata"))?;
            asked.insert(role.clone(), collected);
        }
        ensure!(!asked.is_empty(), "there is nothing to sign in it");
        let next_root = asked.get("root").map(Collected::role::<Root>).transpose()?;
        let next_targets = asked.get("targets").map(Collected::role::<Targets>).transpose()?;
        let request = Self {
            roots: parts.roots,
            root,
            next_root,
            targets,
            next_targets,
            current: parts.current,
            asked,
            manifests: parts.manifests,
        };
        request.check_versions()?;
        Ok(request)
    }

    /// Reads a file that may come from anyone.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let what = || format!("{} is not a signing request", path.display());
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file: RequestFile = serde_json::from_str(&text).with_context(what)?;
        if file.format != 1 {
            bail!(
                "{} has format {}, and this millet reads 1: use the millet that wrote it",
                path.display(),
                file.format
            );
        }
        let bytes = |texts: BTreeMap<String, String>| -> BTreeMap<String, Vec<u8>> {
            (texts.into_iter())
                .map(|(role, text)| (role, text.into_bytes()))
                .collect()
        };
        let request = Self::of(Parts {
            roots: file.roots.into_iter().map(String::into_bytes).collect(),
            current: bytes(file.current),
            asked: bytes(file.asked),
            manifests: file.manifests,
        })
        .with_context(what)?;
        // Whoever signs with another program signs these bytes: they must be those that are shown in words.
        if request.messages() != file.messages {
            bail!(
                "{}: the bytes to sign are not those of the files in it",
                path.display()
            );
        }
        if words::changes(&request) != file.summary {
            bail!(
                "{}: its summary does not say what it changes. Do not sign it, and ask where it came from",
                path.display()
            );
        }
        Ok(request)
    }

    /// Writes a new file. One that is there stays: it may hold signatures of people who are far away.
    pub fn write_new(&self, path: &Path, unfinished: &Unfinished) -> anyhow::Result<()> {
        check_new(path)?;
        self.write_as(path, unfinished, Existing::Kept)
    }

    /// Writes the file that it was read from, whole or not at all.
    pub fn write(&self, path: &Path, unfinished: &Unfinished) -> anyhow::Result<()> {
        self.write_as(path, unfinished, Existing::Replaced)
    }

    fn write_as(&self, path: &Path, unfinished: &Unfinished, existing: Existing) -> anyhow::Result<()> {
        let texts = |files: &BTreeMap<String, Vec<u8>>| -> anyhow::Result<BTreeMap<String, String>> {
            (files.iter())
                .map(|(role, bytes)| Ok((role.clone(), String::from_utf8(bytes.clone())?)))
                .collect()
        };
        let file = RequestFile {
            format: 1,
            summary: words::changes(self),
            messages: self.messages(),
            asked: texts(&self.files()?)?,
            current: texts(&self.current)?,
            roots: (self.roots.iter())
                .map(|root| String::from_utf8(root.clone()))
                .collect::<Result<_, _>>()?,
            manifests: self.manifests.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&file).context("cannot write the request as JSON")?;
        text.push(b'\n');
        write_whole_as(unfinished, path, &text, 0o644, existing)
    }

    /// The first root of the repository that it is for; `None` when it begins one.
    pub fn first_root(&self) -> Option<&[u8]> {
        self.roots.first().map(Vec::as_slice)
    }

    /// Whether it begins the repository of this first root.
    pub fn begins_with(&self, root: &[u8]) -> bool {
        let own = Collected::parse(root).ok();
        let asked = self.asked.get("root");
        own.zip(asked)
            .is_some_and(|(own, asked)| own.message() == asked.message())
    }

    /// The root that is trusted now.
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The root to sign.
    pub fn next_root(&self) -> Option<&Root> {
        self.next_root.as_ref()
    }

    /// The targets role that is trusted now.
    pub fn targets(&self) -> Option<&Targets> {
        self.targets.as_ref()
    }

    /// The targets role to sign.
    pub fn next_targets(&self) -> Option<&Targets> {
        self.next_targets.as_ref()
    }

    /// The roles to sign: `root`, then `targets`, then those of models.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let top = ["root", "targets"];
        let models = self
            .asked
            .keys()
            .map(String::as_str)
            .filter(move |role| !top.contains(role));
        top.into_iter()
            .filter(|role| self.asked.contains_key(*role))
            .chain(models)
    }

    /// A model's list of builds, as trusted now and as it is to be signed.
    pub fn builds(&self, role: &str) -> anyhow::Result<(Option<Targets>, Targets)> {
        let next = self.asked.get(role).context("it is not to be signed")?.role()?;
        let authority = self.targets.as_ref().and_then(|targets| targets.authority(role));
        let now = match (self.current.get(role), authority) {
            (Some(bytes), Some(authority)) => Some(verify(bytes, &authority)?),
            (Some(_), None) => bail!("{role} has a list of builds, and nobody is trusted with one"),
            (None, _) => None,
        };
        Ok((now, next))
    }

    /// The manifest of a target path, if it is in the file and has the hash that is to be signed.
    pub fn manifest(&self, path: &str, file: &TargetFile) -> Option<BuildManifest> {
        let text = self.manifests.get(path)?;
        if !file.matches(text.as_bytes()) {
            return None;
        }
        let manifest: BuildManifest = serde_json::from_str(text).ok()?;
        manifest.validate().ok()?;
        Some(manifest)
    }

    /// Fields of a manifest that this millet does not know, and that a newer agent may act on.
    pub fn unknown_fields(&self, path: &str, manifest: &BuildManifest) -> Vec<String> {
        let text = self.manifests.get(path).map_or("", String::as_str);
        let written: BTreeMap<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let known = serde_json::to_value(manifest).unwrap_or_default();
        let unknown =
            |(name, value): (String, Value)| (known.get(&name).is_none() && !value.is_null()).then_some(name);
        written.into_iter().filter_map(unknown).collect()
    }

    /// Whether other keys, or more or fewer of them, sign for a role from now on than until now.
    pub fn has_other_signers(&self, role: &str) -> bool {
        let now = match role {
            "root" | "targets" => self.root.as_ref().and_then(|root| root.authority(role)),
            _ => self.targets.as_ref().and_then(|targets| targets.authority(role)),
        };
        match (now, self.authorities(role).last()) {
            (Some(now), Some(next)) => !now.same_keys(next),
            _ => true,
        }
    }

    /// Whose signatures a role needs. A root needs its predecessor's keys and its own (5.3.4).
    pub fn authorities(&self, role: &str) -> Vec<Authority<'_>> {
        let root = self.next_root.as_ref().or(self.root.as_ref());
        let targets = self.next_targets.as_ref().or(self.targets.as_ref());
        match role {
            "root" => (self.root.iter().chain(&self.next_root))
                .filter_map(|root| root.authority(role))
                .collect(),
            "targets" => root.and_then(|root| root.authority(role)).into_iter().collect(),
            _ => targets
                .and_then(|targets| targets.authority(role))
                .into_iter()
                .collect(),
        }
    }

    /// How far every role is.
    pub fn progress(&self) -> Vec<Progress> {
        let mut all = Vec::new();
        for role in self.roles() {
            let authorities = self.authorities(role);
            let two = matches!(authorities.as_slice(), [now, next] if !now.same_keys(next));
            for (index, authority) in authorities.iter().enumerate() {
                if index > 0 && !two {
                    continue;
                }
                let signed = self
                    .asked
                    .get(role)
                    .map(|file| file.valid(authority))
                    .unwrap_or_default();
                let missing = authority.keyids().iter().filter(|keyid| !signed.contains(keyid));
                all.push(Progress {
                    whose: match (two, index) {
                        (false, _) => role.to_owned(),
                        (true, 0) => format!("{role}, keys of now"),
                        (true, _) => format!("{role}, keys to come"),
                    },
                    missing: missing.cloned().collect(),
                    signed,
                    threshold: authority.threshold(),
                });
            }
        }
        all
    }

    /// Adds a key's signature to a role that the key may sign and has not signed; says whether there was one to add.
    pub fn sign(&mut self, role: &str, signer: &dyn Signer) -> anyhow::Result<bool> {
        let Some(mut file) = self.asked.remove(role) else {
            return Ok(false);
        };
        let result = file.sign(signer, &self.authorities(role));
        self.asked.insert(role.to_owned(), file);
        result.with_context(|| format!("cannot sign {role}"))
    }

    /// Takes over the signatures of another copy.
    pub fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        if !self.asked.keys().eq(other.asked.keys()) {
            bail!("it asks for other roles");
        }
        let roles: Vec<String> = self.asked.keys().cloned().collect();
        for role in roles {
            let Some(mut file) = self.asked.remove(&role) else {
                continue;
            };
            let theirs = other.asked.get(&role).context("it asks for other roles")?;
            let merged = file.merge(theirs, &self.authorities(&role));
            self.asked.insert(role.clone(), file);
            merged.with_context(|| format!("it asks for another {role}"))?;
        }
        Ok(())
    }

    /// The files with their signatures, by role.
    pub fn files(&self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        (self.asked.iter())
            .map(|(role, file)| Ok((role.clone(), file.to_vec()?)))
            .collect()
    }

    fn messages(&self) -> BTreeMap<String, String> {
        (self.asked.iter())
            .map(|(role, file)| (role.clone(), hex::encode(file.message())))
            .collect()
    }

    fn check_versions(&self) -> anyhow::Result<()> {
        let follows = |role: &str, now: Option<u64>, next: u64| {
            let expected = now.map_or(1, |now| now.saturating_add(1));
            ensure!(
                next == expected,
                "{role} {next} is to be signed, and what follows is {expected}: ask for the request anew"
            );
            Ok(())
        };
        for role in self.roles() {
            match (role, &self.next_root, &self.next_targets) {
                ("root", Some(next), _) => {
                    follows(role, self.root.as_ref().map(Role::version), next.version)?;
                }
                ("targets", _, Some(next)) => {
                    follows(role, self.targets.as_ref().map(Role::version), next.version)?;
                }
                _ => {
                    let (now, next) = self.builds(role)?;
                    follows(role, now.as_ref().map(Role::version), next.version)?;
                }
            }
            ensure!(
                !self.authorities(role).is_empty(),
                "nobody is trusted to sign {role}"
            );
        }
        Ok(())
    }
}

/// Refuses the name of a file that is there, before any work is done for it.
pub fn check_new(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        bail!(
            "{0} is there already, perhaps with signatures: millet sign show {0} tells; move it away or name another file",
            path.display()
        );
    }
    Ok(())
}

/// The last of the roots, each of which its predecessor's keys have signed.
fn chain(roots: &[Vec<u8>]) -> anyhow::Result<Option<Root>> {
    let mut last: Option<Root> = None;
    for bytes in roots {
        let next = match &last {
            None => verify_first_root(bytes),
            Some(root) => verify_next_root(bytes, root),
        };
        last = Some(next.context("its roots do not follow each other")?);
    }
    Ok(last)
}
