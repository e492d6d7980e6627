//! Any TUF repository: its metadata is refreshed and its targets are fetched, whatever they are.

use std::path::Path;

use jiff::Timestamp;
use millet_signing::metadata::TargetFile;
use millet_signing::{Limits, Refresh, Step, TrustError, TrustedSet};

use crate::error::Error;
use crate::net::{Client, Fetched};
use crate::state::MetadataFolder;

/// Where a repository is, and where what verified of it is kept.
#[derive(Clone)]
pub struct Updater {
    /// The address of its metadata, without a `/` at the end.
    pub metadata: String,
    /// The address of its targets, without a `/` at the end.
    pub targets: String,
    /// The network.
    pub client: Client,
    /// The cache.
    pub cache: MetadataFolder,
}

impl Updater {
    /// Begins at the cached root, or at `first_root` where the cache has none that is whole. `now` is the update's fixed
    /// start time (TUF 1.0.33, 5.1) and `roles` are delegated roles to load, see [`Refresh::start`]. Asks nobody.
    pub fn start(
        &self,
        first_root: Option<&Path>,
        roles: &[String],
        now: Timestamp,
    ) -> Result<Refresh, Error> {
        let cached = self.cache.load()?;
        let start = |root: &[u8]| {
            let refresh = Refresh::start(root, cached.clone(), roles, Limits::default(), now);
            refresh.map_err(self.trust())
        };
        let Some(first_root) = first_root else {
            let path = self.cache.path().join("root.json");
            return match cached.get("root.json") {
                Some(root) => start(root),
                None => Err(Error::file("read", &path)(std::io::ErrorKind::NotFound.into())),
            };
        };
        // A cached root that does not parse any more is as good as lost; the first one still leads to it.
        if let Some(refresh) = cached.get("root.json").and_then(|root| start(root).ok()) {
            return Ok(refresh);
        }
        let root = std::fs::read(first_root).map_err(Error::file("read", first_root))?;
        start(&root)
    }

    /// Fetches what `refresh` needs, file by file. With the entity tag of the cached timestamp that file is asked for
    /// conditionally; `etag` becomes the tag of the one that came. Nothing is kept: see [`Updater::keep`].
    ///
    /// Only 404 says that there is no newer root. A 403 may be a store's way to say so, but also anything else, and
    /// whoever can make one would hold devices at an old root.
    pub async fn drive(&self, refresh: &mut Refresh, etag: &mut Option<String>) -> Result<(), Error> {
        while let Step::Fetch {
            name,
            max_length,
            may_be_unchanged,
            ..
        } = refresh.next()
        {
            let url = format!("{}/{name}", self.metadata);
            let condition = if may_be_unchanged { etag.clone() } else { None };
            match self.client.get(&url, max_length, condition.as_deref()).await? {
                Fetched::File { bytes, etag: tag } => {
                    refresh.supply(Some(bytes)).map_err(self.trust())?;
                    if name == "timestamp.json" {
                        *etag = tag;
                    }
                }
                Fetched::NotModified => refresh.supply_unchanged().map_err(self.trust())?,
                Fetched::NotFound => refresh.supply(None).map_err(self.trust())?,
            }
        }
        Ok(())
    }

    /// Keeps what is verified so far, also when the refresh has failed: a new root is kept although the timestamp behind
    /// it is bad (5.3.8), and nothing that was refused.
    pub fn keep(&self, refresh: &Refresh) -> Result<(), Error> {
        self.cache.save(&refresh.files())
    }

    /// All bytes of a target, hashed (5.7). They lie in memory: the caller bounds the length that it wants.
    pub async fn fetch(&self, set: &TrustedSet, path: &str, file: &TargetFile) -> Result<Vec<u8>, Error> {
        let url = self.target_url(set, path, file).ok_or_else(|| Error::Missing {
            what: format!("{path} by a hash that is known here"),
        })?;
        match self.client.get(&url, file.length, None).await? {
            Fetched::File { bytes, .. } if file.matches(&bytes) => Ok(bytes),
            Fetched::File { .. } => Err(Error::Document {
                path: path.to_owned(),
                what: "target",
                source: "its bytes are not those that signed metadata names".into(),
            }),
            Fetched::NotModified | Fetched::NotFound => Err(Error::Missing {
                what: format!("{url}, which its metadata lists"),
            }),
        }
    }

    /// A target's address. In a consistent snapshot its file name begins with a hash (section 6.2); `None` when metadata
    /// lists none that is known here.
    pub fn target_url(&self, set: &TrustedSet, path: &str, file: &TargetFile) -> Option<String> {
        let known = ["sha256", "sha512"];
        let hash = known.iter().find_map(|name| file.hashes.get(*name))?;
        if !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let path = quoted(path);
        let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
        Some(if set.root().consistent_snapshot {
            format!("{}/{folder}{hash}.{name}", self.targets)
        } else {
            format!("{}/{path}", self.targets)
        })
    }

    /// Names the repository of a check that failed.
    pub fn trust(&self) -> impl Fn(TrustError) -> Error + use<> {
        let repository = self.metadata.clone();
        move |source| Error::Trust {
            repository: repository.clone(),
            source,
        }
    }
}

/// What may stand in a URL's path stands for itself, and all else percent-encoded (RFC 3986, section 3.3).
fn quoted(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_and_their_folders_stay() {
        assert_eq!(quoted("a/b_c-1.0~2:d@e+f"), "a/b_c-1.0~2:d@e+f");
        assert_eq!(quoted("what? 100%#é\n\"<"), "what%3F%20100%25%23%C3%A9%0A%22%3C");
    }
}
