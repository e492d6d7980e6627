//! Devices that slept while a repository went on for years, and woke with a clock that lost its battery, one that is right, and
//! one that ran ahead.

use jiff::{SignedDuration, Timestamp};
use millet_signing::metadata::{TargetFile, lifetime};
use millet_signing::{Files, TrustError, effective_now};

use crate::maker::{Repository, after, key, public};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

const ROLES: [&str; 3] = ["builds.rubik", "deltas.rubik", "rollouts.rubik"];

/// A repository that people and a server keep alive.
struct Maintained {
    repository: Repository,
    weeks: u32,
}

impl Maintained {
    fn new() -> Self {
        Self {
            repository: Repository::of(&[("rubik", 31)]),
            weeks: 0,
        }
    }

    /// Goes on to `until` week by week, as it would have in that time.
    fn run(&mut self, until: Timestamp) {
        while self.repository.now < until {
            self.repository.now = (self.repository.now + WEEK).min(until);
            self.weeks += 1;
            self.sign();
        }
    }

    /// The week's release, and what must be renewed: offline roles when less than 60 days are left.
    fn sign(&mut self) {
        let weeks = self.weeks;
        let repository = &mut self.repository;
        let now = repository.now;
        if repository.root.expires.duration_since(now) < DAY * 60 {
            // One root key leaves and one comes, and both online keys are new.
            let seed = u8::try_from(100 + weeks % 50).unwrap();
            repository.rotate(|repository| {
                repository.root.expires = now + lifetime::ROOT;
                repository.root_keys.remove(0);
                repository.root_keys.push(key(seed));
                let root = &mut repository.root;
                root.set_role("root", &public(&repository.root_keys), 2).unwrap();
                (repository.snapshot_key, repository.timestamp_key) = (key(seed + 50), key(seed + 100));
                root.set_role("snapshot", &public(&[key(seed + 50)]), 1).unwrap();
                root.set_role("timestamp", &public(&[key(seed + 100)]), 1)
                    .unwrap();
            });
            repository.targets = repository.targets.next(now + lifetime::TARGETS);
        }
        for (name, (role, _)) in &mut repository.roles {
            let lives = if name.starts_with("builds") {
                lifetime::BUILDS
            } else {
                lifetime::DELTAS
            };
            *role = role.next(now + lives);
        }
        let build = TargetFile::of(&weeks.to_be_bytes());
        let builds = repository.role("builds.rubik");
        builds.targets.insert("rubik/builds/newest.json".into(), build);
        repository.snapshot.expires = now + lifetime::SNAPSHOT;
        repository.timestamp.expires = now + lifetime::TIMESTAMP;
        repository.snapshot.version += 1;
        repository.timestamp.version += 1;
        repository.publish_roles();
    }
}

/// What a device keeps: metadata, and apart from it the newest instant that is certainly past.
struct Device {
    files: Files,
    floor: Timestamp,
}

impl Device {
    /// Fresh from the factory, after its first refresh.
    fn new(repository: &Repository) -> Self {
        let verified = repository.refresh(Files::new(), &ROLES).unwrap();
        Self {
            floor: verified.set.timestamp().unwrap().signed_at.unwrap(),
            files: verified.files,
        }
    }

    fn refresh(&mut self, repository: &Repository, clock: Timestamp) -> Result<bool, TrustError> {
        let (now, trusted) = effective_now(clock, self.floor);
        match repository.refresh_at(now, self.files.clone(), &ROLES) {
            Ok(verified) => {
                let signed_at = verified.set.timestamp().unwrap().signed_at.unwrap();
                self.floor = self.floor.max(signed_at);
                self.files = verified.files;
                Ok(trusted)
            }
            Err((error, files)) => {
                self.files = files;
                Err(error)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Clock {
    In1970,
    Right,
    In2038,
}

fn sleep(slept: SignedDuration, clock: Clock) {
    let mut maintained = Maintained::new();
    let mut device = Device::new(&maintained.repository);
    let wakes = after(slept);
    // The last signature is an hour old when the device wakes.
    maintained.run(wakes - SignedDuration::from_hours(1));
    let repository = &maintained.repository;
    let roots = repository.root.version;
    match clock {
        Clock::In1970 => {
            assert!(!device.refresh(repository, Timestamp::UNIX_EPOCH).unwrap());
            // From now on its clock stands at the newest signature.
            assert_eq!(device.floor, repository.now);
        }
        Clock::Right => assert!(device.refresh(repository, wakes).unwrap()),
        Clock::In2038 => {
            let ahead = "2038-01-19T03:14:07Z".parse().unwrap();
            let before = device.files.clone();
            let refused = device.refresh(repository, ahead).unwrap_err();
            assert!(
                matches!(refused, TrustError::BeyondEveryExpiry { now, .. } if now == ahead),
                "{refused}"
            );
            let said = refused.to_string();
            assert!(
                said.contains("2038-01-19T03:14:07Z") && said.contains("the clock is wrong"),
                "{said}"
            );
            // Roots that verified stay, and nothing that was trusted is lost but by their rotations.
            let rotated = roots > 1;
            assert_eq!(device.files.contains_key("timestamp.json"), !rotated);
            assert_eq!(device.files["targets.json"], before["targets.json"]);
            assert!(device.refresh(repository, wakes).unwrap());
        }
    }
    let newest = format!("{roots}.root.json");
    assert_eq!(device.files["root.json"], repository.published[&newest]);
    assert_eq!(
        device.files["timestamp.json"],
        repository.published["timestamp.json"]
    );
    let version = repository.roles["builds.rubik"].0.version;
    assert_eq!(version, u64::from(maintained.weeks) + 1);
    assert_eq!(
        device.files["builds.rubik.json"],
        repository.published[&format!("{version}.builds.rubik.json")]
    );
    println!("{} weeks, {roots} roots", maintained.weeks);
    // A week of every year is signed, and roots in time.
    let weeks = (slept.as_hours() / 24 + 6) / 7;
    assert_eq!(i64::from(maintained.weeks), weeks);
    assert_eq!(roots > 1, slept >= YEAR);
    assert!(roots > 5 || slept < YEAR * 5);
}

#[test]
fn a_day_with_a_clock_in_1970() {
    sleep(DAY, Clock::In1970);
}

#[test]
fn a_day_with_the_right_clock() {
    sleep(DAY, Clock::Right);
}

#[test]
fn a_day_with_a_clock_in_2038() {
    sleep(DAY, Clock::In2038);
}

#[test]
fn six_weeks_with_a_clock_in_1970() {
    sleep(WEEK * 6, Clock::In1970);
}

#[test]
fn six_weeks_with_the_right_clock() {
    sleep(WEEK * 6, Clock::Right);
}

#[test]
fn six_weeks_with_a_clock_in_2038() {
    sleep(WEEK * 6, Clock::In2038);
}

#[test]
fn a_year_with_a_clock_in_1970() {
    sleep(YEAR, Clock::In1970);
}

#[test]
fn a_year_with_the_right_clock() {
    sleep(YEAR, Clock::Right);
}

#[test]
fn a_year_with_a_clock_in_2038() {
    sleep(YEAR, Clock::In2038);
}

#[test]
fn five_years_with_a_clock_in_1970() {
    sleep(YEAR * 5, Clock::In1970);
}

#[test]
fn five_years_with_the_right_clock() {
    sleep(YEAR * 5, Clock::Right);
}

#[test]
fn five_years_with_a_clock_in_2038() {
    sleep(YEAR * 5, Clock::In2038);
}

/// A repository that nobody signs any more is not a clock's fault, and neither is a timestamp that a network holds back.
#[test]
fn what_expired_within_a_year_is_called_expired() {
    let maintained = Maintained::new();
    let mut device = Device::new(&maintained.repository);
    let held_back = device
        .refresh(&maintained.repository, after(DAY * 2))
        .unwrap_err();
    assert!(matches!(held_back, TrustError::Expired { role, .. } if role == "timestamp"));
    let given_up = device
        .refresh(&maintained.repository, after(YEAR * 2))
        .unwrap_err();
    assert!(matches!(given_up, TrustError::Expired { role, .. } if role == "root"));
    let beyond = after(YEAR * 2 + SignedDuration::from_secs(1));
    let beyond = device.refresh(&maintained.repository, beyond).unwrap_err();
    assert!(matches!(beyond, TrustError::BeyondEveryExpiry { .. }));
}

/// A clock that lost its battery again does not bring the time of old signatures back.
#[test]
fn a_clock_in_1970_does_not_make_old_files_young() {
    let mut maintained = Maintained::new();
    let mut device = Device::new(&maintained.repository);
    let old = maintained.repository.published["timestamp.json"].clone();
    maintained.run(after(DAY * 3));
    device
        .refresh(&maintained.repository, Timestamp::UNIX_EPOCH)
        .unwrap();
    // Its metadata is lost, its floor is not: what expired before the floor stays expired.
    device.files.retain(|name, _| name == "root.json");
    maintained
        .repository
        .published
        .insert("timestamp.json".into(), old);
    let refused = device
        .refresh(&maintained.repository, Timestamp::UNIX_EPOCH)
        .unwrap_err();
    assert!(matches!(refused, TrustError::Expired { role, .. } if role == "timestamp"));
}
