use super::random::Seed;

/// How often in a thousand weeks something happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// It is made anew with small changes.
    pub changed: u32,
    /// It moves to another folder.
    pub moved: u32,
    /// It goes, and another file comes.
    pub replaced: u32,
}

/// What the weeks did to a file so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// How many files stood in this place before.
    pub generation: u32,
    /// How often this one moved.
    pub moves: u32,
    /// The weeks in which it changed, ascending.
    pub changes: Vec<u32>,
}

impl History {
    /// From week 1, in which nothing has changed yet, to `week`. A later week's history begins with an earlier one's.
    pub fn until(seed: &Seed, rates: Rates, week: u32) -> Self {
        let mut stream = seed.child("history", 0).stream(0);
        let mut history = Self::default();
        for week in 2..=week {
            let (replaced, moved, changed) = (
                stream.chance(rates.replaced),
                stream.chance(rates.moved),
                stream.chance(rates.changed),
            );
            if replaced {
                history = Self {
                    generation: history.generation + 1,
                    ..Self::default()
                };
            } else {
                history.moves += u32::from(moved);
                history.changes.extend(changed.then_some(week));
            }
        }
        history
    }
}

/// For each of a file's `parts` the week that made it last, 0 if none did. A week touches about one part in `rarity`,
/// in runs, as a change to one source file does.
pub fn revisions(seed: &Seed, parts: usize, rarity: usize, changes: &[u32]) -> Vec<u32> {
    const LONGEST_RUN: usize = 8;
    let seed = seed.child("revisions", 0);
    let mut revisions = vec![0; parts];
    for week in changes {
        let mut stream = seed.stream(u64::from(*week));
        let mut left = parts / rarity.max(1) + 1;
        while left > 0 {
            let (start, run) = (stream.below(parts), 1 + stream.low(LONGEST_RUN).min(left - 1));
            for revision in revisions.iter_mut().skip(start).take(run) {
                *revision = *week;
            }
            left -= run;
        }
    }
    revisions
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates {
        changed: 300,
        moved: 20,
        replaced: 10,
    };

    #[test]
    fn a_week_only_adds_to_the_one_before() {
        for place in 0..200 {
            let seed = Seed::new(7).child("place", place);
            let (before, after) = (History::until(&seed, RATES, 19), History::until(&seed, RATES, 20));
            if after.generation == before.generation {
                assert!(after.changes.starts_with(&before.changes));
                assert!(after.moves - before.moves <= 1);
            } else {
                assert_eq!(
                    after,
                    History {
                        generation: before.generation + 1,
                        ..History::default()
                    }
                );
            }
        }
    }

    #[test]
    fn things_happen_as_often_as_they_should() {
        let all: Vec<History> = (0..2000)
            .map(|place| History::until(&Seed::new(7).child("place", place), RATES, 2))
            .collect();
        let count = |happened: fn(&History) -> bool| all.iter().filter(|history| happened(history)).count();
        assert!((500..700).contains(&count(|history| !history.changes.is_empty())));
        assert!((20..60).contains(&count(|history| history.moves > 0)));
        assert!((8..35).contains(&count(|history| history.generation > 0)));
    }

    #[test]
    fn a_change_touches_few_parts_and_at_least_one() {
        let seed = Seed::new(3);
        for (parts, rarity) in [(10_000, 100), (3, 100)] {
            let touched = revisions(&seed, parts, rarity, &[5])
                .iter()
                .filter(|week| **week == 5)
                .count();
            assert!(
                (1..=parts / rarity + 1).contains(&touched),
                "{touched} of {parts}"
            );
        }
        assert!(revisions(&seed, 100, 10, &[]).iter().all(|week| *week == 0));
        assert!(revisions(&seed, 0, 10, &[5]).is_empty());
    }
}
