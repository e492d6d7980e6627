use std::sync::Arc;

use millet_machine::policy::{self, Device as Facts};
use millet_machine::{Boot, Identity, Journal, Machine};
use millet_protocol::{Build, Slot};

use crate::boot_control::{BootControl, Misc};
use crate::config::Config;
use crate::edge::Edge;
use crate::error::Error;
use crate::net::Client;
use crate::repository::{Keep, Look, Repository};
use crate::slots::{Folder, Storage};
use crate::state::{Kept, StateDirectory};
use crate::verify::Fingerprints;

/// A device's parts, put together. It changes nothing and needs no lock: for that there is [`crate::Agent`].
#[derive(Clone)]
pub struct Device {
    /// What it was told.
    pub config: Config,
    /// Clock, randomness, zone.
    pub edge: Arc<dyn Edge>,
    /// The agent's own folder.
    pub state: StateDirectory,
    /// The partitions.
    pub storage: Arc<dyn Storage>,
    /// The network.
    pub client: Client,
    /// What is offered.
    pub repository: Repository,
}

/// What a device knows of itself without asking anybody.
#[derive(Debug, Clone)]
pub struct Knowledge {
    /// The journal, as it stands in this boot.
    pub journal: Journal,
    /// What boot control says.
    pub boot: Boot,
    /// What it never goes below.
    pub kept: Kept,
    /// Its seed.
    pub seed: [u8; 32],
}

impl Device {
    /// Puts the parts together.
    pub fn open(config: Config, edge: Arc<dyn Edge>) -> Result<Self, Error> {
        let state = StateDirectory::open(&config.state)?;
        let client = Client::new(Arc::clone(&edge));
        let repository = Repository {
            address: config.repository(),
            model: config.model.clone(),
            channel: config.channel.clone(),
            first_root: config.root.clone(),
            client: client.clone(),
            state: state.clone(),
            edge: Arc::clone(&edge),
        };
        let storage: Arc<dyn Storage> = Arc::new(Folder::new(config.slots.directory.clone()));
        Ok(Self {
            config,
            edge,
            state,
            storage,
            client,
            repository,
        })
    }

    /// Boot control, if this is a device that we may write.
    pub fn boot_control(&self) -> Result<Box<dyn BootControl>, Error> {
        Ok(Box::new(Misc::open(&self.config.boot)?))
    }

    /// What boot control says now.
    pub fn boot(&self, control: &dyn BootControl) -> Result<Boot, Error> {
        let running = control.current()?;
        Ok(Boot {
            running,
            good: control.is_good(running)?,
            other_bootable: control.is_bootable(running.other())?,
            at: self.edge.now(),
        })
    }

    /// What the device knows of itself.
    pub fn knowledge(&self) -> Result<Knowledge, Error> {
        let boot = self.boot(&*self.boot_control()?)?;
        Ok(Knowledge {
            journal: Machine::seen(self.state.journal()?, boot),
            boot,
            kept: self.state.kept()?,
            seed: self.state.secret("seed", &*self.edge)?,
        })
    }

    /// What a slot holds: the newest signed build whose partitions are there.
    pub async fn identify(&self, look: &Look, slot: Slot, keep: Keep) -> Result<Option<Identity>, Error> {
        let manifests = self.repository.manifests(&look.set, keep).await?;
        let mut fingerprints = Fingerprints::new(Arc::clone(&self.storage), slot);
        let found = manifests
            .into_iter()
            .find(|(manifest, _)| fingerprints.match_all(&manifest.partitions));
        Ok(found.map(|(manifest, sha256)| Identity::new(&manifest, sha256)))
    }

    /// Whether a slot still holds what the journal says.
    pub fn fits(&self, identity: &Identity, slot: Slot) -> bool {
        Fingerprints::new(Arc::clone(&self.storage), slot).match_all(&identity.partitions)
    }
}

impl Knowledge {
    /// What runs, if known.
    pub fn running(&self) -> Option<&Identity> {
        self.journal.slot(self.boot.running)
    }

    /// The running build's name, if known.
    pub fn running_build(&self) -> Option<&Build> {
        self.running().map(|identity| &identity.build)
    }

    /// For policy.
    pub fn facts<'a>(&'a self, config: &'a Config) -> Facts<'a> {
        facts(
            config,
            &self.journal,
            self.boot.running,
            self.boot.good,
            self.kept.floors(),
            &self.seed,
        )
    }
}

/// For policy.
pub fn facts<'a>(
    config: &'a Config,
    journal: &'a Journal,
    running: Slot,
    good: bool,
    floors: policy::Floors,
    seed: &'a [u8; 32],
) -> Facts<'a> {
    Facts {
        model: &config.model,
        channel: &config.channel,
        running: journal.slot(running),
        good,
        floors,
        failed: journal.failed.as_ref(),
        full_only: journal.full_only.as_ref(),
        seed,
    }
}
