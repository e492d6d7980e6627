//! The repository as a device sees it: metadata that verifies, and what it offers.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use millet_machine::Payload;
use millet_machine::policy::{Offer, OfferedBuild};
use millet_protocol::{
    Build, BuildManifest, Channel, DeltaCustom, Model, PayloadKind, RolloutDocument, Sha256Digest, targets,
};
use millet_signing::metadata::{TargetFile, Targets};
use millet_signing::{Refresh, Step, TrustError, TrustedSet, effective_now};
use serde::de::DeserializeOwned;

use crate::edge::Edge;
use crate::error::Error;
use crate::net::Client;
use crate::state::{LastLook, StateDirectory};
use crate::updater::Updater;

/// Bytes of a manifest or rollout. Larger ones are refused before they are fetched.
const LARGEST_DOCUMENT: u64 = 1 << 20;

/// Manifests that are read in search of what a slot holds.
const MOST_MANIFESTS: usize = 512;

/// Where to ask, and as whom.
#[derive(Clone)]
pub struct Repository {
    /// Its address.
    pub address: String,
    /// The device type.
    pub model: Model,
    /// The channel.
    pub channel: Channel,
    /// The first trusted root.
    pub first_root: PathBuf,
    /// The network.
    pub client: Client,
    /// The cache.
    pub state: StateDirectory,
    /// The clock.
    pub edge: Arc<dyn Edge>,
}

/// What a look brought.
#[derive(Debug)]
pub struct Look {
    /// The verified metadata.
    pub set: TrustedSet,
    /// The rollout of the device's channel, if there is one.
    pub rollout: Option<RolloutDocument>,
    /// The manifests of the build on offer and its stones.
    pub builds: Vec<OfferedBuild>,
    /// When the repository answered, by the device's clock.
    pub at: Timestamp,
    /// The newest instant that is certainly past: the signing moment of the newest timestamp seen.
    pub time_floor: Timestamp,
}

impl Look {
    /// What policy wants to know, and the instant to judge it by. A clock before the floor counts as standing at it; the
    /// look's age is still what that clock measured.
    pub fn offer(&self, clock: Timestamp) -> Option<(Offer<'_>, Timestamp)> {
        let (now, _) = effective_now(clock, self.time_floor);
        let age = clock.duration_since(self.at);
        let offer = Offer {
            rollout: self.rollout.as_ref()?,
            builds: &self.builds,
            looked_at: now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        Some((offer, now))
    }

    /// Whether a clock stands after everything that is certainly past.
    pub fn trusts(&self, clock: Timestamp) -> bool {
        clock >= self.time_floor
    }
}

/// Whether a look may change the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The caller holds the lock.
    Yes,
    /// The caller only looks.
    No,
}

impl Repository {
    /// Asks the network: usually two conditional requests, for the next root and the timestamp.
    pub async fn look(&self, keep: Keep) -> Result<Look, Error> {
        let last = self.state.last_look()?;
        let (mut refresh, floor) = self.start()?;
        let mut etag = last.etag.clone();
        let updater = self.updater();
        let outcome = updater.drive(&mut refresh, &mut etag).await;
        if keep == Keep::Yes {
            updater.keep(&refresh)?;
        }
        outcome?;
        let verified = refresh.finish().map_err(self.trust())?;
        let at = self.edge.now();
        if keep == Keep::Yes {
            let signed_at = self.certainly_past(&verified.set);
            let kept = self.state.kept()?;
            if kept.raised_to(signed_at) != kept {
                self.state.save_kept(&kept.raised_to(signed_at))?;
            }
            self.state.save_last_look(&LastLook { at: Some(at), etag })?;
        }
        self.read(verified.set, at, floor, keep).await
    }

    /// The last look, from the cache alone.
    pub async fn recall(&self) -> Result<Look, Error> {
        let last = self.state.last_look()?;
        let (mut refresh, floor) = self.start()?;
        while let Step::Fetch { may_be_unchanged, .. } = refresh.next() {
            let supplied = if may_be_unchanged {
                refresh.supply_unchanged()
            } else {
                refresh.supply(None)
            };
            supplied.map_err(self.trust())?;
        }
        let verified = refresh.finish().map_err(self.trust())?;
        let at = last.at.unwrap_or(Timestamp::UNIX_EPOCH);
        self.read(verified.set, at, floor, Keep::No).await
    }

    /// Whether the repository has builds of this model at all. An update under way does not ask: it is given up where its
    /// model was taken away.
    pub fn has_model(&self, look: &Look) -> Result<(), Error> {
        let roles = look.set.targets().into_iter().flat_map(Targets::delegated_roles);
        let roles: Vec<&str> = roles.map(|role| role.name.as_str()).collect();
        if roles.contains(&targets::builds_role(&self.model).as_str()) {
            return Ok(());
        }
        let models: Vec<String> = roles
            .iter()
            .filter_map(|role| targets::model_of("builds.", role))
            .map(|model| model.to_string())
            .collect();
        Err(Error::NoModel {
            repository: self.address.clone(),
            model: self.model.clone(),
            known: if models.is_empty() {
                "it has none yet".to_owned()
            } else {
                format!("it has: {}", models.join(", "))
            },
        })
    }

    /// Finds the deltas that lead from the running build to what a look offers.
    pub fn fit(&self, look: &mut Look, running: Option<&Build>) {
        for offered in &mut look.builds {
            offered.delta =
                running.and_then(|running| self.delta(&look.set, running, &offered.manifest.build));
        }
    }

    /// The part that is the same for every TUF repository.
    pub fn updater(&self) -> Updater {
        Updater {
            metadata: format!("{}/metadata", self.address),
            targets: format!("{}/targets", self.address),
            client: self.client.clone(),
            cache: self.state.metadata(),
        }
    }

    /// A target's address and length.
    pub fn payload<'a>(&self, set: &'a TrustedSet, path: &str) -> Option<(String, &'a TargetFile)> {
        let file = set.target(path)?;
        Some((self.updater().target_url(set, path, file)?, file))
    }

    /// Every signed manifest of the model, newest first.
    pub async fn manifests(
        &self,
        set: &TrustedSet,
        keep: Keep,
    ) -> Result<Vec<(BuildManifest, Sha256Digest)>, Error> {
        let folder = format!("{}/builds/", self.model);
        let role = targets::builds_role(&self.model);
        let paths = set
            .delegated(&role)
            .into_iter()
            .flat_map(|role| role.targets.keys());
        let paths = paths.filter(|path| path.starts_with(&folder) && path.ends_with(".json"));
        let mut manifests = Vec::new();
        for path in paths.take(MOST_MANIFESTS) {
            if let Some(found) = self.manifest_at(set, path, keep).await? {
                manifests.push(found);
            }
        }
        manifests.sort_by_key(|(manifest, _)| std::cmp::Reverse(manifest.sequence));
        Ok(manifests)
    }

    /// A build's manifest, from the cache or the network.
    pub async fn manifest(
        &self,
        set: &TrustedSet,
        build: &Build,
        keep: Keep,
    ) -> Result<Option<BuildManifest>, Error> {
        let path = targets::manifest(&self.model, build);
        Ok(self
            .manifest_at(set, &path, keep)
            .await?
            .map(|(manifest, _)| manifest))
    }

    /// When the timestamp was signed, but no later than what offline keys have signed ends: its key alone, or a server's
    /// clock that ran ahead, shuts a device out until then at worst, and not for ever.
    fn certainly_past(&self, set: &TrustedSet) -> Option<Timestamp> {
        let signed_at = set.timestamp()?.signed_at?;
        let ends = [
            Some(set.root().expires),
            set.targets().map(|targets| targets.expires),
            (set.delegated(&targets::builds_role(&self.model))).map(|builds| builds.expires),
        ];
        Some(ends.into_iter().flatten().fold(signed_at, Timestamp::min))
    }

    /// A refresh, and the time floor that it starts from.
    fn start(&self) -> Result<(Refresh, Timestamp), Error> {
        let kept = self.state.kept()?;
        let floor = kept.time.unwrap_or(Timestamp::UNIX_EPOCH);
        let (now, _) = effective_now(self.edge.now(), floor);
        let roles = [
            targets::builds_role(&self.model),
            targets::deltas_role(&self.model),
            targets::rollouts_role(&self.model),
        ];
        let refresh = self.updater().start(Some(&self.first_root), &roles, now)?;
        Ok((refresh, floor))
    }

    async fn read(
        &self,
        set: TrustedSet,
        at: Timestamp,
        floor: Timestamp,
        keep: Keep,
    ) -> Result<Look, Error> {
        let signed_at = self.certainly_past(&set);
        let time_floor = signed_at.map_or(floor, |signed_at| signed_at.max(floor));
        let path = targets::rollout(&self.model, &self.channel);
        let found = self.document(&set, &path, "rollout", keep).await?;
        let rollout: Option<RolloutDocument> = found.map(|(rollout, _)| rollout);
        if let Some(rollout) = &rollout {
            rollout.validate().map_err(|source| Error::Document {
                path: path.clone(),
                what: "rollout",
                source: source.into(),
            })?;
        }
        let mut builds = Vec::new();
        for build in rollout
            .iter()
            .flat_map(|rollout| std::iter::once(&rollout.build).chain(&rollout.stones))
        {
            let path = targets::manifest(&self.model, build);
            if let Some((manifest, sha256)) = self.manifest_at(&set, &path, keep).await? {
                builds.push(OfferedBuild {
                    manifest,
                    sha256,
                    delta: None,
                });
            }
        }
        Ok(Look {
            set,
            rollout,
            builds,
            at,
            time_floor,
        })
    }

    async fn manifest_at(
        &self,
        set: &TrustedSet,
        path: &str,
        keep: Keep,
    ) -> Result<Option<(BuildManifest, Sha256Digest)>, Error> {
        let found = self
            .document::<BuildManifest>(set, path, "manifest", keep)
            .await?;
        if let Some((manifest, _)) = &found {
            let refuse = |source: Box<dyn std::error::Error + Send + Sync>| Error::Document {
                path: path.to_owned(),
                what: "manifest",
                source,
            };
            manifest.validate().map_err(|source| refuse(source.into()))?;
            if path != targets::manifest(&manifest.model, &manifest.build) || manifest.model != self.model {
                return Err(refuse(
                    format!("it is of {} {}", manifest.model, manifest.build).into(),
                ));
            }
        }
        Ok(found)
    }

    /// A small target, hashed whole before it is parsed.
    async fn document<T: DeserializeOwned>(
        &self,
        set: &TrustedSet,
        path: &str,
        what: &'static str,
        keep: Keep,
    ) -> Result<Option<(T, Sha256Digest)>, Error> {
        let Some(file) = set.target(path) else {
            return Ok(None);
        };
        let missing = || Error::Missing {
            what: format!("{path} by its SHA-256, at most {LARGEST_DOCUMENT} bytes long"),
        };
        let sha256 = file
            .sha256()
            .filter(|_| file.length <= LARGEST_DOCUMENT)
            .ok_or_else(missing)?;
        let name = sha256.to_string();
        let cached = self.state.document(&name).filter(|bytes| file.matches(bytes));
        let bytes = match cached {
            Some(bytes) => bytes,
            None => {
                let bytes = self.updater().fetch(set, path, file).await?;
                if keep == Keep::Yes {
                    self.state.save_document(&name, &bytes)?;
                }
                bytes
            }
        };
        let value = serde_json::from_slice(&bytes).map_err(|source| Error::Document {
            path: path.to_owned(),
            what,
            source: source.into(),
        })?;
        Ok(Some((value, sha256)))
    }

    fn delta(&self, set: &TrustedSet, from: &Build, to: &Build) -> Option<Payload> {
        let path = targets::delta_payload(&self.model, from, to);
        let custom: DeltaCustom = serde_json::from_value(set.target(&path)?.custom.clone()?).ok()?;
        (custom.from == *from && custom.to == *to).then_some(Payload {
            kind: PayloadKind::Delta,
            path,
            metadata_size: custom.metadata_size,
            metadata_sha256: custom.metadata_sha256,
        })
    }

    fn trust(&self) -> impl Fn(TrustError) -> Error {
        self.updater().trust()
    }
}
