use std::collections::BTreeMap;

use jiff::Timestamp;
use millet_protocol::{Entry, EntryId};

/// One verified ballot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// The device key, in hexadecimal.
    pub key: String,
    /// The entry it is for.
    pub entry: EntryId,
    /// When it was cast, as the device signed it.
    pub cast_at: Timestamp,
}

/// One entry and its votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// Devices whose latest ballot is for it.
    pub votes: u64,
}

/// The latest ballot of each key, by the moment that its device signed.
///
/// Not by arrival: ballots are public, so anybody can send an old one again.
pub fn latest(ballots: impl IntoIterator<Item = Ballot>) -> BTreeMap<String, Ballot> {
    let mut by_key: BTreeMap<String, Ballot> = BTreeMap::new();
    for ballot in ballots {
        match by_key.get(&ballot.key) {
            // Two ballots of one moment: the smaller entry, so that every counter agrees whatever the order.
            Some(held) if (held.cast_at, &ballot.entry) >= (ballot.cast_at, &held.entry) => {}
            _ => {
                by_key.insert(ballot.key.clone(), ballot);
            }
        }
    }
    by_key
}

/// Votes by entry: one for each key.
pub fn tally(ballots: impl IntoIterator<Item = Ballot>) -> BTreeMap<EntryId, u64> {
    let mut votes = BTreeMap::new();
    for ballot in latest(ballots).into_values() {
        *votes.entry(ballot.entry).or_insert(0) += 1;
    }
    votes
}

/// A build's entries, most voted first; those with equal votes in the order of the manifest.
pub fn standings<'a>(entries: &'a [Entry], votes: &BTreeMap<EntryId, u64>) -> Vec<Standing<'a>> {
    let mut standings: Vec<_> = entries
        .iter()
        .map(|entry| Standing {
            entry,
            votes: votes.get(&entry.id).copied().unwrap_or(0),
        })
        .collect();
    standings.sort_by_key(|standing| std::cmp::Reverse(standing.votes));
    standings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ballot((key, entry, second): (u8, u8, i64)) -> Ballot {
        Ballot {
            key: format!("{key:02x}"),
            entry: format!("entry-{entry}").parse().unwrap(),
            cast_at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_latest_ballot_of_a_key_counts() {
        let cast = [(1, 1, 10), (1, 2, 20), (2, 1, 10), (1, 1, 15)];
        let votes = tally(cast.map(ballot));
        let one_each = [("entry-1", 1), ("entry-2", 1)].map(|(id, n)| (id.parse().unwrap(), n));
        assert_eq!(votes, BTreeMap::from(one_each));
    }

    #[test]
    fn most_voted_first_and_manifest_order_between_equals() {
        let entry = |id: &str| Entry {
            id: id.parse().unwrap(),
            title: id.to_owned(),
            description: String::new(),
        };
        let entries = ["dark", "camera", "battery"].map(entry);
        let votes = BTreeMap::from([("battery".parse().unwrap(), 3)]);
        let order: Vec<_> = standings(&entries, &votes)
            .iter()
            .map(|standing| (standing.entry.id.as_str(), standing.votes))
            .collect();
        assert_eq!(order, [("battery", 3), ("dark", 0), ("camera", 0)]);
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_and_repeats_do_not_matter(
            cast in proptest::collection::vec((0u8..5, 0u8..4, 0i64..6), 0..40),
            turn in 0usize..40,
        ) {
            let votes = tally(cast.iter().copied().map(ballot));
            let mut other = cast.clone();
            other.reverse();
            let turn = turn % other.len().max(1);
            other.rotate_left(turn);
            other.extend(cast.iter().copied());
            prop_assert_eq!(&tally(other.into_iter().map(ballot)), &votes);
            let keys: std::collections::BTreeSet<_> = cast.iter().map(|(key, _, _)| key).collect();
            prop_assert_eq!(votes.values().sum::<u64>(), keys.len() as u64);
        }
    }
}
