//! What a new build may be called and numbered, decided from the manifests of those that are published.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use millet_protocol::{BuildManifest, Channel, PartitionName, Sequence, Train};

/// The train and sequence of a new build: those that are wanted, or the next respin of the train that leaves now.
///
/// `builds` are all of the model's, lowest sequence first.
pub fn sequence(
    builds: &[BuildManifest],
    wanted: Option<u64>,
    now: Timestamp,
    zone: &TimeZone,
) -> anyhow::Result<(Train, Sequence)> {
    let Some(wanted) = wanted else {
        let train = Train::at(now, zone)?;
        let last = builds
            .iter()
            .filter(|build| build.train == train)
            .map(|build| respin(build.sequence))
            .max();
        let respin = last.unwrap_or(0) + 1;
        let sequence =
            Sequence::new(train, respin).with_context(|| format!("{train} has no respin {respin}"))?;
        return Ok((train, sequence));
    };
    let form = || format!("{wanted} is not a sequence: year, week and respin, such as 202647001");
    let train = Train::new(
        u16::try_from(wanted / 100_000).with_context(form)?,
        u8::try_from(wanted / 1_000 % 100).with_context(form)?,
    )
    .with_context(form)?;
    let sequence = Sequence::new(train, respin(Sequence(wanted))).with_context(form)?;
    if let Some(taken) = builds.iter().find(|build| build.sequence == sequence) {
        bail!("sequence {sequence} is taken by {}", taken.build);
    }
    Ok((train, sequence))
}

/// Refuses a sequence that is not above every other build's on a channel: devices there would not take it.
pub fn check_growth(builds: &[BuildManifest], sequence: Sequence, channel: &Channel) -> anyhow::Result<()> {
    let highest = builds
        .iter()
        .filter(|build| build.channels.contains(channel) && build.sequence != sequence)
        .max_by_key(|build| build.sequence);
    match highest {
        Some(highest) if highest.sequence > sequence => bail!(
            "sequence {sequence} does not grow on {channel}: {} has {}, and devices only go up",
            highest.build,
            highest.sequence
        ),
        _ => Ok(()),
    }
}

/// Refuses a data epoch below that of a build which devices of a channel may run.
pub fn check_epoch(builds: &[BuildManifest], epoch: u32, channels: &[Channel]) -> anyhow::Result<()> {
    let on_channels =
        |build: &&BuildManifest| build.channels.iter().any(|channel| channels.contains(channel));
    match builds
        .iter()
        .filter(on_channels)
        .find(|build| build.data_epoch > epoch)
    {
        Some(build) => bail!(
            "data epoch {epoch} is below {}'s {}: devices that run it would refuse the new build",
            build.build,
            build.data_epoch
        ),
        None => Ok(()),
    }
}

/// Refuses other partitions than the newest build's: a forgotten image is the likeliest reason.
pub fn check_partitions<'a>(
    builds: &[BuildManifest],
    images: impl Iterator<Item = &'a PartitionName>,
) -> anyhow::Result<()> {
    let Some(newest) = builds.last() else {
        return Ok(());
    };
    let before: BTreeSet<_> = newest
        .partitions
        .iter()
        .map(|partition| &partition.name)
        .collect();
    let now: BTreeSet<_> = images.collect();
    let list = |names: Vec<&&PartitionName>| {
        names
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (missing, new) = (
        list(before.difference(&now).collect()),
        list(now.difference(&before).collect()),
    );
    let say = match (missing.is_empty(), new.is_empty()) {
        (true, true) => return Ok(()),
        (false, true) => format!("{missing} is not there"),
        (true, false) => format!("{new} is new"),
        (false, false) => format!("{missing} is not there, and {new} is new"),
    };
    bail!(
        "these are not the partitions of {}: {say}; repeat with --partitions-changed if devices are made so",
        newest.build
    );
}

fn respin(sequence: Sequence) -> u16 {
    u16::try_from(sequence.0 % 1_000).unwrap_or(u16::MAX)
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use millet_protocol::{FORMAT, PartitionEntry, PayloadRef, Sha256Digest};

    use super::*;

    pub fn build(name: &str, sequence: u64, channels: &[&str]) -> BuildManifest {
        let digest = Sha256Digest([0; 32]);
        let train = Train::new((sequence / 100_000) as u16, (sequence / 1_000 % 100) as u8).unwrap();
        BuildManifest {
            format: FORMAT,
            model: "rubik".parse().unwrap(),
            build: name.parse().unwrap(),
            sequence: Sequence(sequence),
            train,
            data_epoch: 2,
            channels: channels.iter().map(|channel| channel.parse().unwrap()).collect(),
            released: Timestamp::UNIX_EPOCH,
            security_patch: jiff::civil::date(2026, 11, 5),
            partitions: vec![PartitionEntry {
                name: "system".parse().unwrap(),
                size: 4096,
                sha256: digest,
            }],
            payload: PayloadRef {
                path: String::new(),
                metadata_size: 0,
                metadata_sha256: digest,
            },
            floor: None,
            requires: None,
            notes: BTreeMap::new(),
            entries: Vec::new(),
            known_issues: Vec::new(),
        }
    }

    fn at(builds: &[BuildManifest], wanted: Option<u64>) -> anyhow::Result<u64> {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        sequence(builds, wanted, now, &TimeZone::UTC).map(|(_, sequence)| sequence.0)
    }

    #[test]
    fn the_next_respin_of_this_week() {
        assert_eq!(at(&[], None).unwrap(), 202_647_001);
        let builds = [
            build("A", 202_646_009, &["beta"]),
            build("B", 202_647_004, &["dev"]),
        ];
        assert_eq!(at(&builds, None).unwrap(), 202_647_005);
        assert!(at(&[build("Z", 202_647_999, &["beta"])], None).is_err());
    }

    #[test]
    fn a_wanted_sequence_must_be_one_and_free() {
        let builds = [build("A", 202_645_001, &["beta"])];
        assert_eq!(at(&builds, Some(202_645_002)).unwrap(), 202_645_002);
        assert!(
            at(&builds, Some(202_645_001))
                .unwrap_err()
                .to_string()
                .contains("taken by A")
        );
        for refused in [0, 1, 202_645_000, 202_654_001, 202_600_001, u64::MAX] {
            assert!(at(&[], Some(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn growth_is_per_channel() {
        let builds = [
            build("A", 202_645_001, &["stable"]),
            build("B", 202_647_001, &["beta"]),
        ];
        let check =
            |sequence, channel: &str| check_growth(&builds, Sequence(sequence), &channel.parse().unwrap());
        assert!(check(202_645_002, "stable").is_ok());
        assert!(check(202_645_002, "dev").is_ok());
        let error = check(202_645_002, "beta").unwrap_err().to_string();
        assert!(
            error.contains("does not grow on beta: B has 202647001"),
            "{error}"
        );
    }

    #[test]
    fn epochs_and_partitions_do_not_slip() {
        let builds = [build("A", 202_645_001, &["stable"])];
        let (stable, dev) = ("stable".parse().unwrap(), "dev".parse().unwrap());
        assert!(check_epoch(&builds, 1, &[stable]).is_err());
        assert!(check_epoch(&builds, 1, &[dev]).is_ok());
        let (system, vendor) = ("system".parse().unwrap(), "vendor".parse().unwrap());
        assert!(check_partitions(&builds, [&system].into_iter()).is_ok());
        assert!(check_partitions(&[], [&vendor].into_iter()).is_ok());
        let error = check_partitions(&builds, [&vendor].into_iter())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("system is not there, and vendor is new"),
            "{error}"
        );
    }
}
