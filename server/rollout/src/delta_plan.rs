use std::collections::BTreeSet;

use millet_protocol::{Build, Channel, Sequence};

/// What the delta plan needs to know of a published build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBuild {
    /// The build.
    pub build: Build,
    /// Its rank.
    pub sequence: Sequence,
    /// Channels its signers allow.
    pub channels: Vec<Channel>,
    /// The lowest sequence a device may come from.
    pub min_sequence: Option<Sequence>,
}

/// The builds that devices come from: for each channel of `new`, the newest one below it that may take it directly.
///
/// A device further behind takes the full payload.
pub fn delta_sources(new: &PublishedBuild, published: &[PublishedBuild]) -> Vec<Build> {
    let previous = |channel: &Channel| {
        published
            .iter()
            .filter(|old| old.sequence < new.sequence && old.channels.contains(channel))
            .max_by_key(|old| old.sequence)
            .filter(|old| new.min_sequence.is_none_or(|least| old.sequence >= least))
    };
    let sources: BTreeSet<_> = new
        .channels
        .iter()
        .filter_map(previous)
        .map(|old| (old.sequence, &old.build))
        .collect();
    sources
        .into_iter()
        .rev()
        .map(|(_, build)| build.clone())
        .collect()
}

/// The builds that devices of a channel too far behind go through before they may take `offered`, lowest first.
pub fn stones(offered: &PublishedBuild, channel: &Channel, published: &[PublishedBuild]) -> Vec<Build> {
    let mut way = Vec::new();
    let mut ahead = offered;
    while let Some(least) = ahead.min_sequence {
        // The newest that is allowed: the fewer stones the better.
        let stone = published
            .iter()
            .filter(|old| old.channels.contains(channel) && (least..ahead.sequence).contains(&old.sequence))
            .max_by_key(|old| old.sequence);
        let Some(stone) = stone else { break };
        way.push(stone.build.clone());
        ahead = stone;
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(name: &str, sequence: u64, channels: &[&str]) -> PublishedBuild {
        PublishedBuild {
            build: name.parse().unwrap(),
            sequence: Sequence(sequence),
            channels: channels.iter().map(|name| name.parse().unwrap()).collect(),
            min_sequence: None,
        }
    }

    fn sources(new: &PublishedBuild, published: &[PublishedBuild]) -> Vec<String> {
        delta_sources(new, published)
            .into_iter()
            .map(String::from)
            .collect()
    }

    #[test]
    fn the_previous_build_of_each_channel() {
        let published = [
            build("V1", 1, &["beta", "stable"]),
            build("V2", 2, &["beta"]),
            build("V3", 3, &["beta"]),
            build("V5", 5, &["beta"]),
        ];
        assert_eq!(sources(&build("V4", 4, &["beta"]), &published), ["V3"]);
        assert_eq!(
            sources(&build("V4", 4, &["beta", "stable"]), &published),
            ["V3", "V1"]
        );
        assert_eq!(sources(&build("V4", 4, &["closed-x"]), &published), [""; 0]);
    }

    #[test]
    fn stepping_stones_lead_up() {
        let mut published: Vec<_> = [1, 2, 4, 6].map(|n| build(&format!("V{n}"), n, &["beta"])).into();
        published.push(build("V5", 5, &["stable"]));
        published[2].min_sequence = Some(Sequence(2));
        let mut offered = build("V6", 6, &["beta"]);
        let beta = "beta".parse().unwrap();
        assert_eq!(stones(&offered, &beta, &published), []);
        offered.min_sequence = Some(Sequence(4));
        let way: Vec<_> = stones(&offered, &beta, &published)
            .into_iter()
            .map(String::from)
            .collect();
        assert_eq!(way, ["V2", "V4"]);
    }

    #[test]
    fn no_delta_across_a_stepping_stone() {
        let published = [build("V1", 1, &["stable"])];
        let mut new = build("V4", 4, &["stable"]);
        new.min_sequence = Some(Sequence(2));
        assert_eq!(sources(&new, &published), [""; 0]);
        new.min_sequence = Some(Sequence(1));
        assert_eq!(sources(&new, &published), ["V1"]);
    }
}
