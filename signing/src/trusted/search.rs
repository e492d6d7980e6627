use std::collections::BTreeSet;

use super::TrustedSet;
use crate::metadata::TargetFile;

/// What a search for a target path came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Search<'a> {
    /// A role names it.
    Found {
        /// The role.
        role: &'a str,
        /// The file.
        file: &'a TargetFile,
    },
    /// No role that is trusted with the path names it, or none within the limits.
    Missing,
    /// The answer lies behind a role that is not loaded.
    Needs {
        /// The role.
        role: String,
        /// The role that delegates to it.
        parent: String,
    },
}

/// A role on the way, seen from the role that delegates to it.
struct Visit<'a> {
    role: &'a str,
    parent: &'a str,
    depth: usize,
}

impl TrustedSet {
    /// The loaded role, `targets` before all others, that delegates to `role`.
    pub fn parent_of(&self, role: &str) -> Option<&str> {
        let delegates = |name: &&str| {
            self.delegated(name)
                .is_some_and(|own| own.authority(role).is_some())
        };
        let names = || self.roles.keys().map(String::as_str);
        names()
            .find(|name| *name == "targets" && delegates(name))
            .or_else(|| names().find(delegates))
    }

    /// The file of a target path, when the loaded roles say without doubt which it is.
    pub fn target(&self, path: &str) -> Option<&TargetFile> {
        match self.search(path) {
            Search::Found { file, .. } => Some(file),
            Search::Missing | Search::Needs { .. } => None,
        }
    }

    /// Searches for a target path in pre-order, depth first (5.6.7).
    ///
    /// Where a limit is reached the search ends without a result: a role behind it might come before those that are left.
    pub fn search(&self, path: &str) -> Search<'_> {
        let mut visited = BTreeSet::new();
        let mut to_visit = vec![Visit {
            role: "targets",
            parent: "root",
            depth: 0,
        }];
        while let Some(Visit { role, parent, depth }) = to_visit.pop() {
            // 5.6.7.1: each role once, and no more roles than the limit.
            if visited.contains(role) {
                continue;
            }
            if visited.len() >= self.limits.visited || depth > self.limits.depth {
                return Search::Missing;
            }
            visited.insert(role);
            // A role is trusted for the parents whose keys have signed it: another parent's need not be the same.
            let Some((name, loaded)) = self
                .roles
                .get_key_value(role)
                .filter(|(_, loaded)| loaded.parents.contains(parent))
            else {
                return Search::Needs {
                    role: role.to_owned(),
                    parent: parent.to_owned(),
                };
            };
            if let Some(file) = loaded.targets.targets.get(path) {
                return Search::Found { role: name, file };
            }
            // 5.6.7.2: in order of appearance; a terminating delegation ends the search, found or not.
            let mut children = Vec::new();
            for delegation in loaded
                .targets
                .delegated_roles()
                .filter(|delegation| delegation.covers(path))
            {
                children.push(Visit {
                    role: &delegation.name,
                    parent: name,
                    depth: depth.saturating_add(1),
                });
                if delegation.terminating {
                    to_visit.clear();
                    break;
                }
            }
            to_visit.extend(children.into_iter().rev());
        }
        Search::Missing
    }
}
