//! What a server has.

use super::Stage::Server;
use super::{Bend, bend, pick_file};

pub const BENDS: &[Bend] = &[
    bend(
        "a file missing",
        "targets",
        Server(|files, _, dice| {
            let name = pick_file(files, dice);
            files.remove(&name);
        }),
    ),
    bend(
        "a file of before",
        "targets",
        Server(|files, old, dice| {
            let name = pick_file(files, dice);
            if let Some(bytes) = old.get(&name) {
                files.insert(name, bytes.clone());
            }
        }),
    ),
    bend(
        "one file for another",
        "targets",
        Server(|files, _, dice| {
            let (one, other) = (pick_file(files, dice), pick_file(files, dice));
            let bytes = files[&other].clone();
            files.insert(one, bytes);
        }),
    ),
    bend(
        "everything of before",
        "targets",
        Server(|files, old, _| {
            if !old.is_empty() {
                files.clone_from(old);
            }
        }),
    ),
    bend(
        "the root after the next",
        "targets",
        Server(|files, _, _| {
            let last = (1_u64..)
                .find(|version| !files.contains_key(&format!("{}.root.json", version + 1)))
                .unwrap();
            if let Some(bytes) = files.get(&format!("{last}.root.json")).cloned() {
                files.insert(format!("{}.root.json", last + 1), bytes);
            }
        }),
    ),
];
