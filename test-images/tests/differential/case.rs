use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::bend::{self, Bend};
use crate::dice::Dice;
use crate::world::World;

/// A client's life: a first root, and what the server had each time when it asked.
pub struct Case {
    pub first_root: Vec<u8>,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub now: Timestamp,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Target paths that are looked for after the refresh, in order, until one search is refused.
    pub wanted: Vec<String>,
    /// What is wrong with the files, by its name.
    pub bends: Vec<&'static str>,
}

/// What a verifier said, step by step; it ends where the first root is refused.
pub type Answer = Vec<Said>;

/// What came of one refresh: what is trusted then, as text, and each target that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// `ok r2 t3 s3 g1` with the versions of the top-level roles, or `refused r2`: then only the root's counts, since the
    /// others are kept or forgotten in different places, which shows in the next step.
    pub refresh: String,
    /// Length and SHA-256, `none`, or `refused`.
    pub targets: Vec<String>,
}

impl Said {
    /// The first root is refused.
    pub fn no_root() -> Self {
        Self {
            refresh: "no root".to_owned(),
            targets: Vec::new(),
        }
    }

    /// The refresh is refused, with this root trusted.
    pub fn refused(root: u64) -> Self {
        Self {
            refresh: format!("refused r{root}"),
            targets: Vec::new(),
        }
    }

    pub fn is_trusted(&self) -> bool {
        self.refresh.starts_with("ok") && !self.targets.iter().any(|target| target == "refused")
    }
}

impl Case {
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(&mut dice);
        let count = 1 + dice.below(4);
        // One case in eight is left straight, and few are bent twice: then it is plain what a difference comes from.
        let mut bent: Vec<Option<&Bend>> = vec![None; count];
        if !dice.once_in(8) {
            bent[dice.below(count)] = Some(bend::pick(&mut dice));
            if dice.once_in(6) {
                bent[dice.below(count)] = Some(bend::pick(&mut dice));
            }
        }
        let steps: Vec<Step> = (0..count)
            .map(|at| {
                if at > 0 {
                    world.evolve(&mut dice);
                }
                world.serve(bent[at], &mut dice, at == 0);
                Step {
                    now: world.now,
                    files: world.files.clone(),
                    wanted: world.wanted(&mut dice),
                    bends: bent[at].map(|bend| bend.name).into_iter().collect(),
                }
            })
            .collect();
        Self {
            first_root: world.first_root,
            steps,
        }
    }

    /// Whether a root that the server had until then has other keys for timestamp or snapshot than the first.
    pub fn online_keys_rotated(&self, step: usize) -> bool {
        let keys = |bytes: &[u8]| -> Option<(Value, Value)> {
            let root: Value = serde_json::from_slice(bytes).ok()?;
            let roles = &root["signed"]["roles"];
            Some((roles["timestamp"].clone(), roles["snapshot"].clone()))
        };
        let first = keys(&self.first_root);
        let served = self.steps.iter().take(step + 1).flat_map(|step| &step.files);
        served
            .filter(|(name, _)| name.ends_with(".root.json"))
            .any(|(_, bytes)| keys(bytes) != first)
    }

    /// Whether the server has other bytes for a file and version than in a step before.
    pub fn changed_under_a_version(&self, step: usize) -> bool {
        let version = |bytes: &[u8]| -> Option<Value> {
            let file: Value = serde_json::from_slice(bytes).ok()?;
            file["signed"].get("version").cloned()
        };
        let differs = |name: &str, before: &[u8], now: &[u8]| {
            let numbered = name.starts_with(|first: char| first.is_ascii_digit());
            before != now && (numbered || version(before) == version(now))
        };
        let Some((now, before)) = self.steps[..=step].split_last() else {
            return false;
        };
        now.files.iter().any(|(name, bytes)| {
            let mut earlier = before.iter().filter_map(|step| step.files.get(name));
            earlier.any(|earlier| differs(name, earlier, bytes))
        })
    }

    pub fn bends_until(&self, step: usize) -> Vec<&'static str> {
        let until = self.steps.iter().take(step + 1);
        until.flat_map(|step| step.bends.iter().copied()).collect()
    }
}
