use super::code::library;
use super::history::{History, Rates};
use super::picture::picture;
use super::random::Seed;
use super::squashfs::File;
use super::words::{name, text};

/// What rounding up to whole blocks costs a file on average.
const ROUNDING: usize = 2048;

/// What a file is, and so how it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Library,
    Picture,
    Text,
}

/// A place in the tree. Places stay; the files in them change, move, and are replaced by others.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    number: usize,
    size: usize,
}

impl Kind {
    /// How much of a partition it takes, in per cent.
    const SHARES: [(Self, usize); 3] = [(Self::Library, 62), (Self::Picture, 24), (Self::Text, 14)];

    fn rates(self) -> Rates {
        let changed = match self {
            Self::Library => 400,
            Self::Picture => 40,
            Self::Text => 150,
        };
        Rates {
            changed,
            moved: 8,
            replaced: 5,
        }
    }

    fn folders(self) -> [&'static str; 4] {
        match self {
            Self::Library => ["lib64", "lib64/hw", "bin", "apex/lib64"],
            Self::Picture => ["media", "media/theme", "app/res", "framework/res"],
            Self::Text => ["etc", "etc/init", "etc/permissions", "usr/share"],
        }
    }

    fn file_name(self, name: &str) -> String {
        match self {
            Self::Library => format!("lib{name}.so"),
            Self::Picture => format!("{name}.png"),
            Self::Text => format!("{name}.conf"),
        }
    }

    /// Sizes between 4 KiB and a limit, small ones far more often.
    fn largest(self) -> usize {
        match self {
            Self::Library => 3 << 20,
            Self::Picture => 512 << 10,
            Self::Text => 128 << 10,
        }
    }
}

/// The files of a week that fill about `budget` bytes.
pub fn files(seed: Seed, budget: usize, week: u32) -> Vec<File<'static>> {
    places(&seed, budget)
        .into_iter()
        .map(|place| file(&seed, place, week))
        .collect()
}

fn places(seed: &Seed, budget: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for (kind, share) in Kind::SHARES {
        let mut left = budget / 100 * share;
        let mut stream = seed.child("places", share as u64).stream(0);
        let largest = kind.largest().min(left / 4);
        for number in 0.. {
            let size = (8192 + stream.low(largest) * (1 + stream.low(1000)) / 1000).next_multiple_of(4096);
            if size + ROUNDING > left {
                break;
            }
            left -= size + ROUNDING;
            places.push(Place { kind, number, size });
        }
    }
    places
}

fn file(seed: &Seed, place: Place, week: u32) -> File<'static> {
    let Place { kind, number, size } = place;
    let seed = seed.child("place", (kind as u64) << 32 | number as u64);
    let history = History::until(&seed, kind.rates(), week);
    let seed = seed.child("file", history.generation.into());
    let mut stream = seed.child("path", 0).stream(0);
    let folders = kind.folders();
    let folder = folders[(stream.low(folders.len()) + history.moves as usize) % folders.len()];
    let mut name = name(number);
    if number >= 4096 || history.generation > 0 {
        name = format!("{name}_{number}_{}", history.generation);
    }
    File {
        path: format!("{folder}/{}", kind.file_name(&name)),
        executable: kind == Kind::Library,
        content: Box::new(move || match kind {
            Kind::Library => library(&seed, size, &history.changes),
            Kind::Picture => picture(&seed, size, &history.changes),
            Kind::Text => text(&seed, size, &history.changes),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BUDGET: usize = 200 << 20;

    #[test]
    fn places_fill_the_budget() {
        let total: usize = places(&Seed::new(1), BUDGET).iter().map(|place| place.size).sum();
        assert!(total <= BUDGET && total > BUDGET * 9 / 10, "{total} of {BUDGET}");
    }

    #[test]
    fn no_two_files_have_one_path_in_any_week() {
        for week in [1, 2, 100] {
            let files = files(Seed::new(1), BUDGET, week);
            let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths.len(), files.len());
        }
    }

    #[test]
    fn a_week_moves_and_replaces_a_few_files() {
        let paths = |week| -> BTreeSet<String> {
            files(Seed::new(1), BUDGET, week)
                .into_iter()
                .map(|file| file.path)
                .collect()
        };
        let (before, after) = (paths(1), paths(2));
        let gone = before.difference(&after).count();
        assert!(
            (1..before.len() / 20).contains(&gone),
            "{gone} of {}",
            before.len()
        );
    }
}
