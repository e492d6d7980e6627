use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millet_protocol::Sha256Digest;

use super::list::is_package_name;
use super::lock::{Locked, is_version};
use super::sources::{self, Source};
use super::tools::{Tools, run};
use super::{DebianError, at};

/// Where the machine's own configuration says which mirrors it uses.
const MACHINE_SOURCES: &str = "/etc/apt";

/// An apt that serves arm64 out of one folder of its own: no root, and the machine's lists, caches, hooks and
/// configuration stay as they are. Proxies and keyrings are the machine's.
#[derive(Debug)]
pub struct Apt<'a> {
    tools: &'a Tools,
    config: PathBuf,
    packages: PathBuf,
}

/// One version of a package that the mirrors have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its version.
    pub version: String,
    /// The suites that have it.
    pub suites: Vec<String>,
    /// SHA-256 of the package file, from the signed index.
    pub sha256: Sha256Digest,
    /// Its `Depends` field.
    pub depends: String,
}

/// Versions by package, newest first.
pub type Available = BTreeMap<String, Vec<Candidate>>;

impl<'a> Apt<'a> {
    /// Prepares the folder; reads the machine's sources.
    pub fn prepare(tools: &'a Tools, cache: &Path) -> Result<Self, DebianError> {
        let packages = cache.join("packages");
        fs::create_dir_all(&packages).map_err(at("create", &packages))?;
        let cache = fs::canonicalize(cache).map_err(at("find", cache))?;
        let folder = cache.join("apt");
        for part in ["lists/partial", "archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(at("create", &part))?;
        }
        let sources = machine_sources()?;
        let missing = sources::missing_suites(&sources);
        if !missing.is_empty() {
            return Err(DebianError::MissingSuites(missing.join(", ")));
        }
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(at("write", &path)).map(|()| path)
        };
        write("status", String::new())?;
        write("debian.sources", sources::to_deb822(&sources))?;
        let config = write("apt.conf", configuration(&folder)?)?;
        Ok(Self {
            tools,
            config,
            packages: cache.join("packages"),
        })
    }

    /// Fetches the package indexes.
    pub fn update(&self) -> Result<(), DebianError> {
        let mut command = self.tools.apt_get.command();
        command
            .arg("-c")
            .arg(&self.config)
            .args(["-q", "--error-on=any", "update"]);
        run(command).map(drop)
    }

    /// What the mirrors have of these packages. One that they do not have is left out.
    pub fn available(&self, names: &[&str]) -> Result<Available, DebianError> {
        let cache = |verb: &str, names: &[&str]| {
            let mut command = self.tools.apt_cache.command();
            command.arg("-c").arg(&self.config).arg(verb).args(names);
            run(command)
        };
        let versions = parse_madison(&cache("madison", names)?);
        let mut known: Vec<&str> = versions.iter().map(|(name, _, _)| name.as_str()).collect();
        known.dedup();
        if known.is_empty() {
            return Ok(Available::new());
        }
        let records = cache("show", &known)?;
        Ok(join(versions, &records))
    }

    /// Fetches package files, at least one. Their hashes are the caller's to check.
    pub fn download(&self, wanted: &[&Locked]) -> Result<(), DebianError> {
        let mut command = self.tools.apt_get.command();
        command
            .current_dir(&self.packages)
            .arg("-c")
            .arg(&self.config)
            .args(["-q", "download"]);
        command.args(
            wanted
                .iter()
                .map(|locked| format!("{}={}", locked.package, locked.version)),
        );
        run(command).map(drop)
    }
}

/// Where `apt-get download` puts a package file, if it is there.
pub fn package_file(cache: &Path, locked: &Locked) -> Option<PathBuf> {
    let version = locked.version.replace(':', "%3a");
    ["arm64", "all"]
        .into_iter()
        .map(|architecture| format!("{}_{version}_{architecture}.deb", locked.package))
        .map(|name| cache.join("packages").join(name))
        .find(|path| path.is_file())
}

/// apt.conf(5). `#clear` empties the lists that the machine's configuration filled, its hooks above all.
fn configuration(folder: &Path) -> Result<String, DebianError> {
    let folder = folder
        .to_str()
        .filter(|path| !path.contains(['"', '\\']))
        .ok_or_else(|| DebianError::CachePath(folder.to_owned()))?;
    Ok(format!(
        "#clear APT::Architectures;\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n\
         APT::Architecture \"arm64\";\n\
         APT::Architectures {{ \"arm64\"; }};\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Dir::State::lists \"{folder}/lists\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}\";\n\
         Dir::Cache::archives \"{folder}/archives\";\n\
         Dir::Etc::sourcelist \"{folder}/debian.sources\";\n\
         Dir::Etc::sourceparts \"-\";\n"
    ))
}

fn machine_sources() -> Result<Vec<Source>, DebianError> {
    let folder = Path::new(MACHINE_SOURCES).join("sources.list.d");
    let mut files = vec![Path::new(MACHINE_SOURCES).join("sources.list")];
    if let Ok(entries) = fs::read_dir(&folder) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut found = Vec::new();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => sources::parse_deb822,
            Some("list") => sources::parse_one_line,
            _ => continue,
        };
        let text = fs::read_to_string(&file).map_err(at("read", &file))?;
        found.extend(parse(&text));
    }
    found.dedup();
    Ok(found)
}

/// `apt-cache madison`: name, version and suite, newest version first within a package.
fn parse_madison(text: &str) -> Vec<(String, String, String)> {
    let mut versions = Vec::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [name, version, origin] = columns[..] else {
            continue;
        };
        let suite = origin
            .split_whitespace()
            .nth(1)
            .and_then(|place| place.split('/').next());
        let well_formed = is_package_name(name) && is_version(version) && origin.ends_with(" Packages");
        if let (Some(suite), true) = (suite, well_formed) {
            versions.push((name.to_owned(), version.to_owned(), suite.to_owned()));
        }
    }
    versions
}

/// Adds to each version what `apt-cache show` says of it.
fn join(versions: Vec<(String, String, String)>, show: &str) -> Available {
    let mut records = BTreeMap::new();
    for stanza in show.split("\n\n") {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name).map(str::trim))
        };
        let hash = field("SHA256:").and_then(|hash| hash.parse::<Sha256Digest>().ok());
        if let (Some(name), Some(version), Some(hash)) = (field("Package:"), field("Version:"), hash) {
            let depends = field("Depends:").unwrap_or_default().to_owned();
            records.insert((name.to_owned(), version.to_owned()), (hash, depends));
        }
    }
    let mut available = Available::new();
    for (name, version, suite) in versions {
        let candidates = available.entry(name.clone()).or_default();
        if let Some(known) = candidates.iter_mut().find(|known| known.version == version) {
            known.suites.push(suite);
        } else if let Some((sha256, depends)) = records.get(&(name, version.clone())) {
            candidates.push(Candidate {
                version,
                suites: vec![suite],
                sha256: *sha256,
                depends: depends.clone(),
            });
        }
    }
    available
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_records_are_joined() {
        let madison = "   libssl3 | 3.0.22-1 | http://m.example/s bookworm-security/main arm64 Packages\n   \
                       libssl3 | 3.0.20-1 | http://m.example/d bookworm/main arm64 Packages\n   \
                       libssl3 | 3.0.20-1 | http://m.example/d bookworm-updates/main arm64 Packages\n   \
                       other | 1 | http://m.example/d bookworm/main Sources\n";
        let hash = |digit: &str| digit.repeat(64);
        let show = format!(
            "Package: libssl3\nVersion: 3.0.22-1\nDepends: libc6 (>= 2.34)\nSHA256: {}\n\n\
             Package: libssl3\nVersion: 3.0.20-1\nSHA256: {}\n\n",
            hash("a"),
            hash("b")
        );
        let available = join(parse_madison(madison), &show);
        let candidates = &available["libssl3"];
        assert_eq!(candidates[0].version, "3.0.22-1");
        assert_eq!(candidates[0].depends, "libc6 (>= 2.34)");
        assert_eq!(candidates[1].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(candidates[1].sha256.to_string(), hash("b"));
        assert!(!available.contains_key("other"));
    }
}
