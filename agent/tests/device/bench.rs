use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use millet_agent::config::Config;
use millet_agent::screen::Silent;
use millet_agent::slots::Storage;
use millet_agent::{Agent, Device, Error, Pace, Pass};
use millet_machine::Journal;
use millet_machine::bootloader_control::BootloaderControl;
use millet_protocol::Slot;

use crate::edge::TestEdge;
use crate::repository::{Images, Repository, images, name};
use crate::server::Server;

/// Blocks of the system image where a test does not care.
pub const BLOCKS: usize = 128;

/// A device in a folder, a repository, and a server between them. The device runs V1 in slot a, flashed by hand.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub server: Server,
    pub repository: Repository,
    pub edge: Arc<TestEdge>,
    pub storage: Option<Arc<dyn Storage>>,
    pub reboot: &'static str,
    pub pace: Pace,
}

/// When everything begins.
pub fn start() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

impl Bench {
    pub fn new() -> Self {
        Self::with(BLOCKS)
    }

    /// With a system image of so many blocks.
    pub fn with(blocks: usize) -> Self {
        Self::of(Repository::new(start()), blocks)
    }

    /// On a repository that has nothing yet.
    pub fn of(mut repository: Repository, blocks: usize) -> Self {
        let now = repository.now;
        let server = Server::start();
        repository.build(&server, 1, images(1, blocks), |_| ());
        repository.offer(&server, 1, |_| ());
        repository.publish(&server);
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
            server,
            repository,
            edge: Arc::new(TestEdge::new(now)),
            storage: None,
            reboot: "touch",
            pace: Pace::default(),
        };
        bench.flash(Slot::A, &images(1, blocks));
        // The other slot has room to spare, and an old footer in it.
        for partition in ["boot", "system"] {
            fs::write(
                bench.path(&format!("{partition}_b")),
                vec![0xee; (blocks + 64) * 4096],
            )
            .unwrap();
        }
        let mut misc = vec![0; 1 << 16];
        misc[2048..2080].copy_from_slice(&BootloaderControl::new(Slot::A).encode());
        fs::write(bench.path("misc"), misc).unwrap();
        fs::write(bench.path("cmdline"), "androidboot.slot_suffix=_a\n").unwrap();
        fs::write(bench.path("root.json"), bench.repository.first_root()).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn flash(&self, slot: Slot, images: &Images) {
        for (partition, bytes) in images {
            fs::write(self.path(&format!("{partition}{}", slot.suffix())), bytes).unwrap();
        }
    }

    /// Adds a week's build with its delta from the week before, and offers it.
    pub fn release(&mut self, week: u8) {
        let before = u64::from(week) - 1;
        self.repository
            .build(&self.server, u64::from(week), images(week, BLOCKS), |_| ());
        if self.repository.images.contains_key(name(before).as_str()) {
            self.repository.delta(&self.server, before, u64::from(week), None);
        }
        self.repository.offer(&self.server, u64::from(week), |_| ());
        self.repository.publish(&self.server);
    }

    /// Time passes, for the device and for the repository, which signs anew.
    pub fn later(&mut self, time: SignedDuration) {
        self.edge.advance(time);
        self.repository.now += time;
        self.repository.publish(&self.server);
    }

    pub fn config(&self) -> Config {
        Config::parse(&self.config_text(), &self.path("agent.toml")).unwrap()
    }

    /// The configuration as its owner writes it.
    pub fn config_text(&self) -> String {
        format!(
            r#"
model = "rubik"
channel = "beta"
server = "{}"
state = "state"
root = "root.json"
[slots]
directory = "."
[boot]
misc = "misc"
cmdline = "cmdline"
properties = []
reboot = ["{}", "{}"]
[health]
checks = [["sh", "-c", "grep -aq health=good $0/system$(sed s/.*slot_suffix=// $0/cmdline)", "{}"]]
timeout_seconds = 10
[polls]
seconds = 1
"#,
            self.server.address,
            self.reboot,
            self.path("rebooted").display(),
            self.folder.path().display()
        )
    }

    pub fn device(&self) -> Device {
        let mut device = Device::open(self.config(), Arc::clone(&self.edge) as _).unwrap();
        device.client = device.client.with_pace(self.pace);
        device.repository.client = device.client.clone();
        if let Some(storage) = &self.storage {
            device.storage = Arc::clone(storage);
        }
        device
    }

    pub fn agent(&self) -> Result<Agent, Error> {
        Agent::open(self.device(), Arc::new(Silent))
    }

    /// A new process, one pass.
    pub fn pass(&self) -> Result<Pass, Error> {
        self.run(async { self.agent()?.pass(false).await })
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work)
    }

    /// The bootloader: chooses, counts, boots.
    pub fn boot(&self) -> Slot {
        let mut block = self.block();
        let slot = block.choice().unwrap();
        block.count_try(slot);
        self.set_block(&block);
        fs::write(
            self.path("cmdline"),
            format!("androidboot.slot_suffix={}\n", slot.suffix()),
        )
        .unwrap();
        slot
    }

    pub fn block(&self) -> BootloaderControl {
        let misc = fs::read(self.path("misc")).unwrap();
        BootloaderControl::parse(misc[2048..2080].try_into().unwrap()).unwrap()
    }

    pub fn set_block(&self, block: &BootloaderControl) {
        let mut misc = fs::read(self.path("misc")).unwrap();
        misc[2048..2080].copy_from_slice(&block.encode());
        fs::write(self.path("misc"), misc).unwrap();
    }

    pub fn journal(&self) -> Journal {
        self.device().state.journal().unwrap()
    }

    /// What a slot holds, by its bytes.
    pub fn holds(&self, slot: Slot, week: u64) -> bool {
        self.repository.images[name(week).as_str()]
            .iter()
            .all(|(partition, bytes)| {
                fs::read(self.path(&format!("{partition}{}", slot.suffix())))
                    .unwrap()
                    .starts_with(bytes)
            })
    }

    /// Installs what is offered, boots it and sees it confirmed.
    pub fn update(&self) {
        assert_eq!(self.pass().unwrap(), Pass::Rebooting);
        let slot = self.boot();
        assert!(
            matches!(self.pass().unwrap(), Pass::Settled(_)),
            "slot {slot} was not confirmed"
        );
    }

    /// Payload requests since the last time: path and first byte.
    pub fn payloads(&self) -> Vec<(String, u64)> {
        let first = |range: &str| range.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok();
        self.server
            .asked()
            .into_iter()
            .filter(|asked| asked.path.ends_with(".payload"))
            .map(|asked| {
                let (_, file) = asked.path.rsplit_once('/').unwrap();
                let (_, file) = file.split_once('.').unwrap();
                (file.to_owned(), asked.range.as_deref().and_then(first).unwrap())
            })
            .collect()
    }
}
