//! A network that answers every request with any file that the signers ever made, or with none: whatever it chooses, again and
//! again, a device refuses, or holds a state that the signers made, not older than what it trusted and never mixed of two.

use std::collections::{BTreeMap, BTreeSet};

use millet_signing::metadata::TargetFile;
use millet_signing::{Files, Limits, Refresh, Step, TrustError};

use crate::long;
use crate::maker::{Repository, file_of, key, now, public, versioned};

/// The role that is wanted beside `targets`.
const BUILDS: &str = "builds.rubik";

/// The files of one state, in the order in which they are fetched.
const NAMES: [&str; 4] = [
    "timestamp.json",
    "snapshot.json",
    "targets.json",
    "builds.rubik.json",
];

/// What the signers made: versions of timestamp, snapshot, targets and builds. Some were made again without a change.
const GENERATIONS: [[u64; 4]; 6] = [
    [1, 1, 1, 1],
    [2, 2, 1, 2],
    [3, 3, 2, 3],
    [4, 3, 2, 3],
    [5, 4, 3, 4],
    [6, 5, 3, 4],
];

/// The first generation that the third root's keys sign.
const ROTATED_FROM: usize = 2;

/// All files that were ever made. The index of a file is the age of what it says.
struct World {
    roots: Vec<Vec<u8>>,
    /// Of each name in [`NAMES`], by version from 1.
    files: [Vec<Vec<u8>>; 4],
}

impl World {
    /// `bare`: files are listed by version alone and have plain names. `rotated`: the third root changes both online keys.
    fn new(bare: bool, rotated: bool) -> Self {
        let mut repository = Repository::of(&[("rubik", 31)]);
        repository.bare = bare;
        repository.root.consistent_snapshot = !bare;
        let mut world = Self {
            roots: Vec::new(),
            files: Default::default(),
        };
        repository.published.clear();
        repository.publish_root();
        world.roots.push(repository.first_root());
        for (index, versions) in GENERATIONS.iter().enumerate() {
            if (1..=2).contains(&index) {
                repository.rotate(|repository| {
                    if rotated && index == ROTATED_FROM {
                        (repository.snapshot_key, repository.timestamp_key) = (key(23), key(24));
                        let root = &mut repository.root;
                        root.set_role("snapshot", &public(&[key(23)]), 1).unwrap();
                        root.set_role("timestamp", &public(&[key(24)]), 1).unwrap();
                    }
                });
                let name = versioned(repository.root.version, "root");
                world.roots.push(repository.published[&name].clone());
            }
            let [timestamp, snapshot, targets, builds] = *versions;
            repository.timestamp.version = timestamp;
            repository.snapshot.version = snapshot;
            repository.targets.version = targets;
            let role = repository.role(BUILDS);
            role.version = builds;
            role.targets.insert(
                "rubik/builds/newest.json".into(),
                TargetFile::of(&builds.to_be_bytes()),
            );
            repository.publish_roles();
            for (file, (name, version)) in NAMES.iter().zip(versions).enumerate() {
                let made = &mut world.files[file];
                if made.len() as u64 == *version - 1 {
                    made.push(file_of(&repository, name, *version));
                }
            }
        }
        assert_eq!(world.roots.len(), 3);
        assert_eq!(world.files.each_ref().map(Vec::len), [6, 5, 3, 4]);
        world
    }

    /// Everything that may come for a request: nothing, and every file that was ever served under such a name. In the larger
    /// world also every file that was served under any other.
    fn answers(&self, name: &str) -> Vec<Option<Vec<u8>>> {
        let mut answers = vec![None];
        if name.ends_with("root.json") {
            answers.extend(self.roots.iter().cloned().map(Some));
        }
        for (own, files) in NAMES.iter().zip(&self.files) {
            if name.ends_with(own) {
                answers.extend(files.iter().cloned().map(Some));
            }
        }
        assert!(answers.len() > 3, "{name}");
        if long() {
            let known = answers.clone();
            let all = self.roots.iter().chain(self.files.iter().flatten());
            answers.extend(all.cloned().map(Some).filter(|file| !known.contains(file)));
        }
        answers
    }

    /// Which version of its name a file is; a file that the signers did not make under that name has none.
    fn version(&self, name: &str, bytes: &[u8]) -> u64 {
        let made = match NAMES.iter().position(|own| *own == name) {
            Some(file) => &self.files[file],
            None if name == "root.json" => &self.roots,
            None => panic!("{name} was never served"),
        };
        let index = made.iter().position(|file| file == bytes);
        index.unwrap_or_else(|| panic!("{name} is nobody's file")) as u64 + 1
    }

    fn versions(&self, files: &Files) -> BTreeMap<String, u64> {
        files
            .iter()
            .map(|(name, bytes)| (name.clone(), self.version(name, bytes)))
            .collect()
    }
}

/// What a device has, and the newest of each file that it ever trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Device {
    files: Files,
    newest: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Count {
    starts: u64,
    refused: u64,
    done: u64,
    generations: BTreeSet<usize>,
}

struct Explorer<'a> {
    world: &'a World,
    /// What was trusted before a refresh, and bounds it.
    newest: BTreeMap<String, u64>,
    count: Count,
    reached: BTreeSet<Device>,
}

impl Explorer<'_> {
    /// Refreshes in every way that the network can choose.
    fn explore(&mut self, device: &Device) {
        self.count.starts += 1;
        self.newest = device.newest.clone();
        let root = device.files.get("root.json").unwrap_or(&self.world.roots[0]);
        let roles = [BUILDS.to_owned()];
        let refresh = Refresh::start(root, device.files.clone(), &roles, Limits::default(), now()).unwrap();
        self.go_on(&refresh);
    }

    fn go_on(&mut self, refresh: &Refresh) {
        let Step::Fetch {
            name,
            may_be_unchanged,
            max_length,
            ..
        } = refresh.next()
        else {
            return self.done(refresh);
        };
        let answers = self.world.answers(&name);
        for answer in answers.into_iter().filter(|answer| {
            answer
                .as_ref()
                .is_none_or(|bytes| bytes.len() as u64 <= max_length)
        }) {
            let mut next = refresh.clone();
            let verdict = next.supply(answer);
            self.follow(&next, verdict);
        }
        if may_be_unchanged {
            let mut next = refresh.clone();
            let verdict = next.supply_unchanged();
            self.follow(&next, verdict);
        }
    }

    fn follow(&mut self, refresh: &Refresh, verdict: Result<(), TrustError>) {
        match verdict {
            Ok(()) => self.go_on(refresh),
            Err(_) => {
                self.count.refused += 1;
                self.keep(refresh);
            }
        }
    }

    fn done(&mut self, refresh: &Refresh) {
        self.count.done += 1;
        let files = refresh.files();
        let versions = self.world.versions(&files);
        // Never mixed: one generation has them all, in the files and in what was understood of them.
        let held = NAMES.map(|name| versions[name]);
        let generation = GENERATIONS.iter().position(|made| *made == held);
        let generation = generation.unwrap_or_else(|| panic!("nobody made {held:?}"));
        self.count.generations.insert(generation);
        let set = refresh.set();
        let understood = [
            set.timestamp().unwrap().version,
            set.snapshot().unwrap().version,
            set.targets().unwrap().version,
            set.delegated(BUILDS).unwrap().version,
        ];
        assert_eq!(understood, held);
        let builds = set.target("rubik/builds/newest.json").unwrap();
        assert!(builds.matches(&held[3].to_be_bytes()));
        assert_eq!(set.root().version, versions["root.json"]);
        self.keep(refresh);
    }

    /// What stays on the device, also after a refusal.
    fn keep(&mut self, refresh: &Refresh) {
        let files = refresh.files();
        let mut newest = self.newest.clone();
        for (name, version) in self.world.versions(&files) {
            let known = newest.entry(name.clone()).or_insert(version);
            assert!(version >= *known, "{name} went back from {known} to {version}");
            *known = version;
        }
        self.reached.insert(Device { files, newest });
    }
}

/// Whether files are listed by version alone, and whether the third root changes keys: all four worlds, or two where there is
/// little time.
fn worlds(two: [(bool, bool); 2]) -> Vec<(bool, bool)> {
    if long() {
        vec![(false, false), (false, true), (true, false), (true, true)]
    } else {
        two.to_vec()
    }
}

/// From the first root in the image, through every state that a network can bring a device into, until there is no new one.
#[test]
fn from_the_first_root_through_every_reachable_state() {
    for (bare, rotated) in worlds([(true, false), (false, true)]) {
        let world = World::new(bare, rotated);
        let mut explorer = Explorer {
            world: &world,
            newest: BTreeMap::new(),
            count: Count::default(),
            reached: BTreeSet::new(),
        };
        let mut explored = BTreeSet::new();
        let mut open = vec![Device {
            files: Files::new(),
            newest: BTreeMap::new(),
        }];
        while let Some(device) = open.pop() {
            if explored.insert(device.clone()) {
                explorer.explore(&device);
                open.extend(std::mem::take(&mut explorer.reached));
            }
        }
        let count = &explorer.count;
        println!("bare {bare}, rotated {rotated}: {count:?}");
        assert_eq!(count.generations.len(), GENERATIONS.len());
        assert!(count.starts > 90 && count.refused > 3_000 && count.done > 300);
    }
}

/// A cache of files that do not belong together, as a disk may leave it: each is there in any version, or missing. What can
/// still be checked bounds what comes.
#[test]
fn from_a_cache_of_any_files() {
    for (bare, rotated) in worlds([(true, true), (true, false)]) {
        let world = World::new(bare, rotated);
        let mut explorer = Explorer {
            world: &world,
            newest: BTreeMap::new(),
            count: Count::default(),
            reached: BTreeSet::new(),
        };
        let sizes = world.files.each_ref().map(|made| made.len() + 1);
        let total = 3 * sizes.iter().product::<usize>();
        // A prime step takes some of every kind; the larger world takes all.
        let step = if long() { 1 } else { 23 };
        for choice in (0..total).step_by(step) {
            let mut rest = choice;
            let mut take = |size: usize| {
                let taken = rest % size;
                rest /= size;
                taken
            };
            let root = take(3);
            let mut device = Device {
                files: Files::from([("root.json".to_owned(), world.roots[root].clone())]),
                newest: BTreeMap::from([("root.json".to_owned(), root as u64 + 1)]),
            };
            for ((name, made), size) in NAMES.iter().zip(&world.files).zip(sizes) {
                let Some(index) = take(size).checked_sub(1) else {
                    continue;
                };
                device.files.insert((*name).to_owned(), made[index].clone());
                // Of a key that the root does not know, a file is as good as missing; targets roles bound nothing.
                let bounds = !rotated || (root == 2) == (index >= first_of_new_keys(name));
                if ["timestamp.json", "snapshot.json"].contains(name) && bounds {
                    device.newest.insert((*name).to_owned(), index as u64 + 1);
                }
            }
            explorer.explore(&device);
            explorer.reached.clear();
        }
        let count = &explorer.count;
        println!("bare {bare}, rotated {rotated}: {count:?}");
        assert_eq!(count.starts, total.div_ceil(step) as u64);
        assert_eq!(count.generations.len(), GENERATIONS.len());
    }
}

/// The first version of a file, counted from 0, that the third root's keys sign.
fn first_of_new_keys(name: &str) -> usize {
    let file = NAMES.iter().position(|own| *own == name).unwrap();
    GENERATIONS[ROTATED_FROM][file] as usize - 1
}
