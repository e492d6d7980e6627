//! Where a device stands in a rollout, and when it is its turn.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use millet_protocol::{Build, Model, RampPoint};
use sha2::{Digest, Sha256};

/// Bytes of the seed that never leaves a device.
pub const SEED: usize = 32;

/// Where a device stands in one rollout: a number in [0, 1), fresh for every build, so that nobody is always first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// The first 8 bytes of SHA-256(seed ‖ model ‖ build) over 2^64; every part is preceded by its length (u32,
    /// big-endian), so that no two triples hash the same bytes.
    pub fn new(seed: &[u8; SEED], model: &Model, build: &Build) -> Self {
        let mut hash = Sha256::new();
        for (length, part) in [
            (32_u32, seed.as_slice()),
            // Names are at most 64 bytes long by their form.
            (name_length(model.as_str()), model.as_str().as_bytes()),
            (name_length(build.as_str()), build.as_str().as_bytes()),
        ] {
            hash.update(length.to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// The share of devices before this one, in [0, 1).
    pub fn share(self) -> f64 {
        // 53 bits fit the mantissa exactly, so 1.0 is never reached.
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn name_length(name: &str) -> u32 {
    u32::try_from(name.len()).unwrap_or(u32::MAX)
}

/// A device's turn, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// Where it stands.
    pub position: Position,
    /// The wave that reaches it: 1 for the ramp's first point; one more than there are points when none does yet.
    pub wave: usize,
    /// When it is ready; none when the ramp has not been cleared so far yet.
    pub ready_at: Option<Timestamp>,
}

impl Turn {
    /// The turn of a position on a validated ramp: up to the first point nobody is ready, between two points the share
    /// rises linearly, after the last one it stays.
    pub fn new(position: Position, ramp: &[RampPoint]) -> Self {
        let percent = position.share() * 100.0;
        let reached = ramp.iter().position(|point| point.percent > percent);
        let ready_at = reached.map(
            |index| match index.checked_sub(1).and_then(|before| ramp.get(before)) {
                Some(before) => crossing(before, &ramp[index], percent),
                None => ramp[index].at,
            },
        );
        Self {
            position,
            wave: reached.unwrap_or(ramp.len()).saturating_add(1),
            ready_at,
        }
    }

    /// Whether the device may start. Once it may, it always may: a ramp only grows at its end.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.ready_at.is_some_and(|at| at <= now)
    }

    /// The turn in words, in a person's time zone.
    pub fn sentence<'a>(&'a self, build: &'a Build, zone: &'a TimeZone) -> impl fmt::Display + 'a {
        Sentence {
            turn: self,
            build,
            zone,
        }
    }
}

/// The first moment at which the line between two points is above `percent`, rounded up to a second.
fn crossing(before: &RampPoint, after: &RampPoint, percent: f64) -> Timestamp {
    let span = after.at.duration_since(before.at);
    let part = (percent - before.percent) / (after.percent - before.percent);
    let into = SignedDuration::try_from_secs_f64((span.as_secs_f64() * part).ceil()).unwrap_or(span);
    let at = before.at.checked_add(into).unwrap_or(after.at);
    at.clamp(before.at, after.at)
}

struct Sentence<'a> {
    turn: &'a Turn,
    build: &'a Build,
    zone: &'a TimeZone,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.turn.position.share() * 100.0;
        let (wave, build) = (ordinal(self.turn.wave), self.build);
        match self.turn.ready_at {
            Some(at) => write!(
                out,
                "you are in the {wave} wave of {build}, {} if all goes well, because your device drew {percent:.1} % \
                 and the rollout reaches that share then",
                moment(at, self.zone)
            ),
            None => write!(
                out,
                "you are in the {wave} wave of {build}, which has no time yet, because your device drew {percent:.1} % \
                 and the rollout is not cleared that far"
            ),
        }
    }
}

/// A moment for people: weekday, date, time and zone.
pub fn moment(at: Timestamp, zone: &TimeZone) -> impl fmt::Display {
    at.to_zoned(zone.clone()).strftime("%A %-d %B %Y, %H:%M %Z")
}

fn ordinal(number: usize) -> String {
    const WORDS: [&str; 10] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    ];
    match number.checked_sub(1).and_then(|index| WORDS.get(index)) {
        Some(word) => (*word).to_owned(),
        None => {
            let suffix = match (number % 10, number % 100) {
                (1, rest) if rest != 11 => "st",
                (2, rest) if rest != 12 => "nd",
                (3, rest) if rest != 13 => "rd",
                _ => "th",
            };
            format!("{number}{suffix}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(device: u64, build: &str) -> Position {
        let mut seed = [0; SEED];
        seed[..8].copy_from_slice(&device.to_be_bytes());
        Position::new(&seed, &"rubik".parse().unwrap(), &build.parse().unwrap())
    }

    fn ramp(points: &[(i64, f64)]) -> Vec<RampPoint> {
        let point = |(second, percent): &(i64, f64)| RampPoint {
            at: Timestamp::from_second(*second).unwrap(),
            percent: *percent,
        };
        points.iter().map(point).collect()
    }

    /// The share of devices that are ready is the share that the ramp names, in every tenth and for every build.
    #[test]
    fn positions_are_uniform_and_fresh_for_every_build() {
        const DEVICES: u64 = 20_000;
        for build in ["V6.11.20", "V6.11.27"] {
            let mut tenths = [0_u64; 10];
            for device in 0..DEVICES {
                let tenth = (position(device, build).share() * 10.0).floor();
                let tenth = tenth as usize;
                tenths[tenth] += 1;
            }
            // 2000 each; the standard deviation is 42.
            assert!(
                tenths.iter().all(|count| (1800..2200).contains(count)),
                "{tenths:?}"
            );
        }
        let both_early = (0..DEVICES)
            .filter(|device| {
                position(*device, "V6.11.20").share() < 0.1 && position(*device, "V6.11.27").share() < 0.1
            })
            .count();
        // One in a hundred by chance: 200, standard deviation 14.
        assert!((120..280).contains(&both_early), "{both_early}");
    }

    /// Pinned from an independent computation (Python: hashlib, struct), since every release must draw the same.
    #[test]
    fn a_known_position() {
        let seed = [7; SEED];
        let position = Position::new(&seed, &"rubik".parse().unwrap(), &"V6.11.20".parse().unwrap());
        assert_eq!(position, Position(0xc241_b0e5_806e_5825));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let seed = [1; SEED];
        let one = Position::new(&seed, &"rubik".parse().unwrap(), &"2x".parse().unwrap());
        let two = Position::new(&seed, &"rubik2".parse().unwrap(), &"x".parse().unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn all_at_once_takes_everybody() {
        let ramp = ramp(&[(1000, 100.0)]);
        for device in 0..1000 {
            assert!(Turn::new(position(device, "V1"), &ramp).is_ready(ramp[0].at));
        }
    }

    #[test]
    fn nobody_before_the_first_point_and_nobody_past_the_last_share() {
        let ramp = ramp(&[(1000, 0.0), (2000, 50.0)]);
        let turns = || (0..1000).map(|device| Turn::new(position(device, "V1"), &ramp));
        assert!(turns().all(|turn| !turn.is_ready(Timestamp::from_second(999).unwrap())));
        for turn in turns() {
            assert_eq!(turn.is_ready(Timestamp::MAX), turn.position.share() < 0.5);
            assert_eq!(turn.wave, if turn.position.share() < 0.5 { 2 } else { 3 });
        }
    }

    #[test]
    fn says_it_in_words() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let build = "V6.11.20".parse().unwrap();
        let ramp = ramp(&[
            (1_763_800_000, 1.0),
            (1_763_810_000, 10.0),
            (1_763_816_400, 100.0),
        ]);
        let third = Turn::new(Position(u64::MAX / 2), &ramp);
        assert_eq!(
            third.sentence(&build, &zone).to_string(),
            "you are in the third wave of V6.11.20, Saturday 22 November 2025, 13:00 +01 if all goes well, because your \
             device drew 50.0 % and the rollout reaches that share then"
        );
        let open = Turn::new(Position(u64::MAX), &ramp[..2]);
        assert!(open.sentence(&build, &zone).to_string().contains("no time yet"));
        assert_eq!([11, 21, 112].map(ordinal), ["11th", "21st", "112th"]);
    }

    fn ramps() -> impl Strategy<Value = Vec<RampPoint>> {
        prop::collection::vec((0..100_000_i64, 0.0..50.0_f64), 1..6).prop_map(|steps| {
            let (mut at, mut percent) = (1_763_800_000, 0.0_f64);
            steps
                .into_iter()
                .map(|(wait, rise)| {
                    at += wait;
                    percent = (percent + rise).min(100.0);
                    RampPoint {
                        at: Timestamp::from_second(at).unwrap(),
                        percent,
                    }
                })
                .collect()
        })
    }

    proptest! {
        /// An earlier position is never ready later.
        #[test]
        fn monotone(ramp in ramps(), one: u64, two: u64) {
            let (low, high) = (Turn::new(Position(one.min(two)), &ramp), Turn::new(Position(one.max(two)), &ramp));
            prop_assert!(low.wave <= high.wave);
            if let Some(high) = high.ready_at {
                prop_assert!(low.ready_at.is_some_and(|low| low <= high));
            }
        }

        /// What the server appends changes nobody's turn that was known.
        #[test]
        fn appending_a_point_keeps_every_turn(ramp in ramps(), position: u64, length in 1..6_usize) {
            let before = Turn::new(Position(position), &ramp[..length.min(ramp.len())]);
            let after = Turn::new(Position(position), &ramp);
            if before.ready_at.is_some() {
                prop_assert_eq!(before, after);
            }
        }

        /// A turn lies inside its wave.
        #[test]
        fn inside_its_wave(ramp in ramps(), position: u64) {
            let turn = Turn::new(Position(position), &ramp);
            if let Some(at) = turn.ready_at {
                prop_assert!(at <= ramp[turn.wave - 1].at);
                prop_assert!(turn.wave == 1 || at >= ramp[turn.wave - 2].at);
            }
        }
    }
}
