use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::error::TrustError;
use crate::limits::Limits;
use crate::role_name::{file_name, versioned};
use crate::trusted::{Changed, Search, TrustedSet};

/// Metadata files by the name under which a client keeps them: `root.json`, `timestamp.json`, `builds.rubik.json`, …
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a refresh needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A file from the repository's metadata folder.
    Fetch {
        /// Its name, such as `2.root.json`; it holds no `/`.
        name: String,
        /// More bytes than this are not read.
        max_length: u64,
        /// Its absence is an answer: there is no newer root.
        missing_ends_chain: bool,
        /// The request may be conditional: [`Refresh::supply_unchanged`] answers "not modified".
        may_be_unchanged: bool,
    },
    /// Everything that was wanted is verified.
    Done,
}

/// What a finished refresh leaves.
#[derive(Debug)]
pub struct Verified {
    /// The metadata.
    pub set: TrustedSet,
    /// Its files, as [`Refresh::files`] says.
    pub files: Files,
}

/// The client's workflow (specification, 5.1 to 5.6) from end to end. It says what to fetch; whoever drives it does only I/O.
///
/// ```text
/// while let Step::Fetch { name, .. } = refresh.next() { refresh.supply(get(name)?)? }
/// let verified = refresh.finish()?;
/// ```
#[derive(Debug, Clone)]
pub struct Refresh {
    set: TrustedSet,
    limits: Limits,
    cached: Files,
    files: Files,
    wanted_roles: Vec<String>,
    wanted_targets: Vec<String>,
    rotations: u32,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Root,
    Timestamp,
    Snapshot,
    Role { role: String, parent: String },
    Done,
}

impl Refresh {
    /// Begins with the trusted root and the files that the last refresh left; any of them may be missing. Nothing in
    /// them is believed unchecked.
    ///
    /// `roles` are delegated roles to load. One that nobody delegates to is left out: the set then has no such role.
    /// `now` is the fixed update start time (5.1).
    pub fn start(
        trusted_root: &[u8],
        cached: Files,
        roles: &[String],
        limits: Limits,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let set = TrustedSet::new(trusted_root, limits.clone(), now)?;
        Ok(Self {
            set,
            limits,
            cached,
            files: Files::from([(file_name("root"), trusted_root.to_vec())]),
            wanted_roles: roles.to_vec(),
            wanted_targets: Vec::new(),
            rotations: 0,
            state: State::Root,
        })
    }

    /// Wants the roles, too, that decide about a target path (5.6.7). Call it before the first step or when all are
    /// done; then there may be more.
    pub fn want_target(&mut self, path: &str) -> Result<(), TrustError> {
        self.wanted_targets.push(path.to_owned());
        match self.state {
            State::Done => self.next_role(),
            _ => Ok(()),
        }
    }

    /// What to fetch next.
    pub fn next(&self) -> Step {
        let consistent = self.set.root().consistent_snapshot;
        let fetch = |name: String, max_length: u64| Step::Fetch {
            name,
            max_length,
            missing_ends_chain: matches!(self.state, State::Root),
            may_be_unchanged: matches!(self.state, State::Timestamp)
                && self.files.contains_key("timestamp.json"),
        };
        // 5.3.12: file names carry the version when snapshots are consistent.
        let listed = |role: &str, file: Option<&crate::metadata::MetaFile>, limit: u64| {
            let length = file.and_then(|file| file.length).unwrap_or(limit).min(limit);
            match file {
                Some(file) if consistent => fetch(versioned(file.version, role), length),
                _ => fetch(file_name(role), length),
            }
        };
        match &self.state {
            State::Root => {
                let version = self.set.root().version.saturating_add(1);
                fetch(versioned(version, "root"), self.limits.root)
            }
            State::Timestamp => fetch(file_name("timestamp"), self.limits.timestamp),
            State::Snapshot => listed("snapshot", self.set.listed_snapshot().ok(), self.limits.snapshot),
            State::Role { role, .. } => listed(role, self.set.listed(role).ok(), self.limits.targets),
            State::Done => Step::Done,
        }
    }

    /// Hands over what [`Refresh::next`] asked for; `None` when the repository does not have it.
    ///
    /// After an error the refresh is over, except that [`Refresh::files`] still says what to keep.
    pub fn supply(&mut self, bytes: Option<Vec<u8>>) -> Result<(), TrustError> {
        let Some(bytes) = bytes else {
            return match (&self.state, self.next()) {
                (State::Root, _) => self.end_root_chain(),
                (_, Step::Fetch { name, .. }) => Err(TrustError::Unavailable { file: name }),
                (_, Step::Done) => Ok(()),
            };
        };
        match &self.state {
            State::Root => {
                self.set.update_root(&bytes)?;
                self.files.insert(file_name("root"), bytes);
                self.rotations = self.rotations.saturating_add(1);
                // 5.3.3: no more than Y root files.
                if self.rotations >= self.limits.rotations {
                    self.end_root_chain()
                } else {
                    Ok(())
                }
            }
            State::Timestamp => {
                if self.set.update_timestamp(&bytes)? == Changed::New {
                    self.files.insert(file_name("timestamp"), bytes);
                }
                self.begin_snapshot()
            }
            State::Snapshot => {
                self.set.update_snapshot(&bytes)?;
                self.files.insert(file_name("snapshot"), bytes);
                self.next_role()
            }
            State::Role { role, parent } => {
                self.set.update_delegated(role, parent, &bytes)?;
                self.files.insert(file_name(role), bytes);
                self.next_role()
            }
            State::Done => Ok(()),
        }
    }

    /// Says that the timestamp is the one in the cached files: a server's 304, or a look at the cache without a network.
    pub fn supply_unchanged(&mut self) -> Result<(), TrustError> {
        match self.state {
            State::Timestamp => {
                self.set.keep_timestamp()?;
                self.begin_snapshot()
            }
            _ => Err(TrustError::Order {
                role: "timestamp".to_owned(),
                reason: "only the timestamp is asked for conditionally",
            }),
        }
    }

    /// The metadata that is verified so far.
    pub fn set(&self) -> &TrustedSet {
        &self.set
    }

    /// What to keep, now or after an error: write these files, remove all others, and write `root.json` last. In that
    /// order a loss of power cannot pair a new root with a timestamp that its rotation meant to delete (5.3.11).
    pub fn files(&self) -> Files {
        let mut files = self.files.clone();
        // A delegated role that nobody wanted this time is still the current one as long as it is listed; when it is
        // wanted again it is verified again.
        let listed: BTreeSet<String> = (self.set.snapshot().into_iter())
            .flat_map(|snapshot| snapshot.meta.keys())
            .filter_map(|name| name.strip_suffix(".json").map(file_name))
            .collect();
        let chain_ended = !matches!(self.state, State::Root);
        for (name, bytes) in &self.cached {
            let kept = match name.as_str() {
                "root.json" => false,
                // Once the chain has ended, they are among the files if they are still good. Until then they stay: a
                // bad root that somebody offers must not take the bounds away that they set.
                "timestamp.json" | "snapshot.json" => !chain_ended && !self.set.online_keys_rotated(),
                _ => !matches!(self.state, State::Done) || listed.contains(name),
            };
            if kept {
                files.entry(name.clone()).or_insert_with(|| bytes.clone());
            }
        }
        files
    }

    /// The verified metadata; an error when steps are left.
    pub fn finish(self) -> Result<Verified, TrustError> {
        if let Step::Fetch { name, .. } = self.next() {
            return Err(TrustError::Unavailable { file: name });
        }
        let files = self.files();
        Ok(Verified { set: self.set, files })
    }

    fn end_root_chain(&mut self) -> Result<(), TrustError> {
        self.set.end_root_chain()?;
        // A file that no longer verifies is as good as absent; it must not stop the update that would replace it.
        if let Some(bytes) = self.cached.get("timestamp.json")
            && self.set.recall_timestamp(bytes).is_ok()
        {
            self.files.insert(file_name("timestamp"), bytes.clone());
        }
        if let Some(bytes) = self.cached.get("snapshot.json")
            && self.set.recall_snapshot(bytes).is_ok()
        {
            self.files.insert(file_name("snapshot"), bytes.clone());
        }
        self.state = State::Timestamp;
        Ok(())
    }

    fn begin_snapshot(&mut self) -> Result<(), TrustError> {
        self.state = State::Snapshot;
        match self.files.get("snapshot.json").cloned() {
            Some(bytes) if self.set.update_snapshot(&bytes).is_ok() => self.next_role(),
            _ => Ok(()),
        }
    }

    /// Loads wanted roles from the cache as long as it has them, and stops at the first that must be fetched.
    fn next_role(&mut self) -> Result<(), TrustError> {
        while let Some((role, parent)) = self.missing_role() {
            self.set.listed(&role)?;
            let name = file_name(&role);
            // It may be there already, for another role that delegates to it too.
            let known = self.files.get(&name).or_else(|| self.cached.get(&name));
            match known.cloned() {
                Some(bytes) if self.set.update_delegated(&role, &parent, &bytes).is_ok() => {
                    self.files.insert(name, bytes);
                }
                _ => {
                    self.state = State::Role { role, parent };
                    return Ok(());
                }
            }
        }
        self.state = State::Done;
        Ok(())
    }

    fn missing_role(&self) -> Option<(String, String)> {
        if self.set.targets().is_none() {
            return Some(("targets".to_owned(), "root".to_owned()));
        }
        for role in self
            .wanted_roles
            .iter()
            .filter(|role| self.set.delegated(role).is_none())
        {
            if let Some(parent) = self.set.parent_of(role) {
                return Some((role.clone(), parent.to_owned()));
            }
        }
        self.wanted_targets
            .iter()
            .find_map(|path| match self.set.search(path) {
                Search::Needs { role, parent } => Some((role, parent)),
                Search::Found { .. } | Search::Missing => None,
            })
    }
}

#[cfg(test)]
mod tests;
