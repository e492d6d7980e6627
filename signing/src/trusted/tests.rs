use jiff::SignedDuration;

use super::*;
use crate::Files;
use crate::maker::{Repository, TARGET, after, key, now, signers};
use crate::metadata::TargetFile;
use crate::sign;

fn error(repository: &Repository, cached: Files) -> TrustError {
    repository.refresh(cached, &["builds.rubik"]).unwrap_err().0
}

fn files(repository: &Repository) -> Files {
    repository.refresh(Files::new(), &["builds.rubik"]).unwrap().files
}

#[test]
fn each_role_is_judged_by_its_own_expiry() {
    let expired = |change: &dyn Fn(&mut Repository)| {
        let mut repository = Repository::new();
        change(&mut repository);
        repository.publish();
        match error(&repository, Files::new()) {
            TrustError::Expired {
                role,
                expires,
                now: at,
            } => {
                assert_eq!((expires, at), (now(), now()));
                role
            }
            other => panic!("{other}"),
        }
    };
    // An instant that is reached is over: `expires` must be higher than the update's start.
    assert_eq!(expired(&|repository| repository.root.expires = now()), "root");
    assert_eq!(
        expired(&|repository| repository.timestamp.expires = now()),
        "timestamp"
    );
    assert_eq!(
        expired(&|repository| repository.snapshot.expires = now()),
        "snapshot"
    );
    assert_eq!(
        expired(&|repository| repository.targets.expires = now()),
        "targets"
    );
    let builds =
        |repository: &mut Repository| repository.roles.get_mut("builds.rubik").unwrap().0.expires = now();
    assert_eq!(expired(&builds), "builds.rubik");
}

#[test]
fn an_expired_intermediate_root_is_passed() {
    let mut repository = Repository::new();
    repository.root.expires = now();
    repository.publish();
    let first = repository.first_root();
    repository.root = repository.root.next(after(SignedDuration::from_hours(1)));
    repository.publish();
    assert_eq!(first, repository.first_root());
    assert!(repository.refresh(Files::new(), &[]).is_ok());
}

#[test]
fn each_role_needs_its_own_keys() {
    let unsigned = |change: &dyn Fn(&mut Repository)| {
        let mut repository = Repository::new();
        change(&mut repository);
        repository.publish();
        match error(&repository, Files::new()) {
            TrustError::Signatures { role, .. } => role,
            other => panic!("{other}"),
        }
    };
    assert_eq!(unsigned(&|repository| repository.root_keys.truncate(1)), "root");
    assert_eq!(
        unsigned(&|repository| repository.timestamp_key = key(21)),
        "timestamp"
    );
    assert_eq!(
        unsigned(&|repository| repository.snapshot_key = key(22)),
        "snapshot"
    );
    assert_eq!(
        unsigned(&|repository| repository.targets_keys.truncate(1)),
        "targets"
    );
    let builds = |repository: &mut Repository| repository.roles.get_mut("builds.rubik").unwrap().1 = key(32);
    assert_eq!(unsigned(&builds), "builds.rubik");
}

#[test]
fn nothing_goes_back() {
    let mut repository = Repository::new();
    repository.advance();
    repository.roles.get_mut("builds.rubik").unwrap().0.version = 5;
    repository.advance();
    let known = files(&repository);
    // 5.4.3.1: the timestamp.
    repository.timestamp.version = 2;
    repository.publish();
    let refused = error(&repository, known.clone());
    assert!(matches!(&refused, TrustError::Rollback { role, trusted: 3, offered: 2 } if role == "timestamp"));
    // 5.4.3.2: the snapshot that it names.
    repository.timestamp.version = 4;
    repository.snapshot.version = 2;
    repository.publish();
    let refused = error(&repository, known.clone());
    assert!(matches!(&refused, TrustError::Rollback { role, trusted: 3, offered: 2 } if role == "snapshot"));
    // 5.5.5: a role that the snapshot lists.
    repository.snapshot.version = 4;
    repository.roles.get_mut("builds.rubik").unwrap().0.version = 4;
    repository.publish();
    let refused = error(&repository, known.clone());
    assert!(
        matches!(&refused, TrustError::Rollback { role, trusted: 5, offered: 4 } if role == "builds.rubik")
    );
    // 5.5.5: or that it should list.
    repository.snapshot.meta.remove("deltas.cube.json");
    repository.roles.remove("deltas.cube");
    repository.roles.get_mut("builds.rubik").unwrap().0.version = 5;
    repository.publish();
    let refused = error(&repository, known);
    assert!(matches!(&refused, TrustError::Vanished { role, .. } if role == "deltas.cube"));
}

#[test]
fn a_timestamp_of_equal_version_is_discarded() {
    let mut repository = Repository::new();
    let known = files(&repository);
    repository.timestamp.other.insert("x".into(), 1.into());
    repository.publish_timestamp();
    assert_ne!(repository.published["timestamp.json"], known["timestamp.json"]);
    let again = repository.refresh(known.clone(), &["builds.rubik"]).unwrap();
    assert_eq!(again.files["timestamp.json"], known["timestamp.json"]);
}

#[test]
fn listed_lengths_hashes_and_versions_hold() {
    let mut repository = Repository::new();
    // A file that is validly signed, but is not the one that the snapshot names.
    let mut other = repository.targets.clone();
    other.expires = after(SignedDuration::from_hours(48));
    let bytes = sign(&other, &signers(&repository.targets_keys)).unwrap();
    repository
        .published
        .insert("1.targets.json".into(), bytes.clone());
    assert!(matches!(error(&repository, Files::new()), TrustError::Hash { role, .. } if role == "targets"));
    repository
        .published
        .insert("1.targets.json".into(), [bytes.as_slice(), b" "].concat());
    let length = error_of_long(&repository);
    assert!(matches!(length, TrustError::Length { role, .. } if role == "targets"));
    // Without lengths and hashes the version alone must agree (5.6.4).
    let mut repository = Repository::new();
    repository.snapshot.meta.get_mut("targets.json").unwrap().version = 2;
    let file = repository.snapshot.meta.get_mut("targets.json").unwrap();
    (file.hashes, file.length) = (None, None);
    repository.publish_snapshot();
    let bytes = repository.published["1.targets.json"].clone();
    repository.published.insert("2.targets.json".into(), bytes);
    let refused = error(&repository, Files::new());
    assert!(matches!(&refused, TrustError::Version { role, expected: 2, actual: 1 } if role == "targets"));
}

#[test]
fn a_snapshot_is_the_version_that_the_timestamp_names() {
    let mut repository = Repository::new();
    let mut listed = repository.timestamp.snapshot().unwrap().clone();
    (listed.version, listed.hashes, listed.length) = (2, None, None);
    repository.timestamp = metadata::Timestamp::new(2, now(), repository.timestamp.expires, listed);
    repository.publish_timestamp();
    let bytes = repository.published["1.snapshot.json"].clone();
    repository.published.insert("2.snapshot.json".into(), bytes);
    let refused = error(&repository, Files::new());
    assert!(matches!(&refused, TrustError::Version { role, expected: 2, actual: 1 } if role == "snapshot"));
}

/// A driver that ignores the length it was told still gets no further.
fn error_of_long(repository: &Repository) -> TrustError {
    let mut set = TrustedSet::new(&repository.first_root(), Limits::default(), now()).unwrap();
    set.end_root_chain().unwrap();
    set.update_timestamp(&repository.published["timestamp.json"])
        .unwrap();
    set.update_snapshot(&repository.published["1.snapshot.json"])
        .unwrap();
    set.update_targets(&repository.published["1.targets.json"])
        .unwrap_err()
}

#[test]
fn files_beyond_the_limits_are_refused() {
    let mut repository = Repository::new();
    repository.rotate(|repository| repository.root_keys.push(key(4)));
    let refused = |change: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        let root = repository.first_root();
        let refresh = crate::Refresh::start(&root, Files::new(), &["builds.rubik".into()], limits, now());
        let error = refresh.and_then(|mut refresh| {
            while let crate::Step::Fetch { name, .. } = refresh.next() {
                refresh.supply(repository.published.get(&name).cloned())?;
            }
            Ok(())
        });
        match error {
            Err(TrustError::TooLong { role, limit, .. }) => (role, limit),
            other => panic!("{other:?}"),
        }
    };
    let first = repository.first_root().len() as u64;
    assert_eq!(refused(&|limits| limits.root = 100), ("root".into(), 100));
    // The second root has more signatures than the first.
    assert_eq!(refused(&|limits| limits.root = first), ("root".into(), first));
    assert_eq!(
        refused(&|limits| limits.timestamp = 100),
        ("timestamp".into(), 100)
    );
    assert_eq!(refused(&|limits| limits.snapshot = 100), ("snapshot".into(), 100));
    assert_eq!(refused(&|limits| limits.targets = 100), ("targets".into(), 100));
}

#[test]
fn steps_out_of_order_are_refused() {
    let repository = Repository::new();
    let published = &repository.published;
    let mut set = TrustedSet::new(&repository.first_root(), Limits::default(), now()).unwrap();
    let order = |verdict: Result<(), TrustError>| matches!(verdict, Err(TrustError::Order { .. }));
    assert_eq!(set.now(), now());
    assert!(order(
        set.update_timestamp(&published["timestamp.json"]).map(|_| ())
    ));
    assert!(order(set.keep_timestamp()));
    assert!(order(set.recall_timestamp(&published["timestamp.json"])));
    assert!(order(set.recall_snapshot(&published["1.snapshot.json"])));
    set.end_root_chain().unwrap();
    assert!(order(set.update_root(&published["1.root.json"])));
    assert!(order(set.update_snapshot(&published["1.snapshot.json"])));
    assert!(order(set.update_targets(&published["1.targets.json"])));
    set.update_timestamp(&published["timestamp.json"]).unwrap();
    assert!(order(set.recall_timestamp(&published["timestamp.json"])));
    set.update_snapshot(&published["1.snapshot.json"]).unwrap();
    let early = set.update_delegated("builds.rubik", "targets", &published["1.builds.rubik.json"]);
    assert!(matches!(early, Err(TrustError::NotDelegated { .. })));
    let from_root = set.update_delegated("builds.rubik", "root", &published["1.builds.rubik.json"]);
    assert!(matches!(from_root, Err(TrustError::NotDelegated { .. })));
    // One timestamp and one snapshot make a set.
    assert!(order(
        set.update_timestamp(&published["timestamp.json"]).map(|_| ())
    ));
    assert!(order(set.keep_timestamp()));
    assert!(order(set.update_snapshot(&published["1.snapshot.json"])));
}

#[test]
fn a_role_speaks_only_for_its_own_paths() {
    let mut repository = Repository::new();
    let stray = TargetFile::of(b"stray");
    let cube = &mut repository.roles.get_mut("builds.cube").unwrap().0;
    cube.targets.insert(TARGET.into(), stray.clone());
    cube.targets.insert("cube/rollouts/beta.json".into(), stray);
    repository.publish();
    let set = repository
        .refresh(Files::new(), &["builds.rubik", "builds.cube", "rollouts.cube"])
        .unwrap()
        .set;
    assert!(matches!(
        set.search(TARGET),
        Search::Found {
            role: "builds.rubik",
            ..
        }
    ));
    assert_eq!(set.search("cube/rollouts/beta.json"), Search::Missing);
    assert!(matches!(set.search("rubik/deltas/x"), Search::Needs { role, .. } if role == "deltas.rubik"));
}

#[test]
fn the_search_is_in_pre_order_and_ends_at_a_terminating_role() {
    let mut repository = Repository::new();
    let delegations = repository.targets.delegations.as_mut().unwrap();
    // cube's builds are trusted with rubik's paths too, and come first.
    let mut roles = delegations.roles.clone();
    roles.rotate_left(3);
    roles[0].paths.as_mut().unwrap().push("rubik/builds/*".into());
    roles[0].terminating = false;
    delegations.roles = roles;
    repository.publish();
    let wanted = ["builds.rubik", "builds.cube"];
    let role_of = |repository: &Repository| {
        let set = repository.refresh(Files::new(), &wanted).unwrap().set;
        match set.search(TARGET) {
            Search::Found { role, .. } => Some(role.to_owned()),
            _ => None,
        }
    };
    assert_eq!(role_of(&repository).as_deref(), Some("builds.rubik"));
    let terminating = |repository: &mut Repository, terminating| {
        repository.targets.delegations.as_mut().unwrap().roles[0].terminating = terminating;
        repository.publish();
    };
    terminating(&mut repository, true);
    assert_eq!(role_of(&repository), None);
    // When both name it, the first is heard.
    let cube = &mut repository.roles.get_mut("builds.cube").unwrap().0;
    cube.targets.insert(TARGET.into(), TargetFile::of(b"cube's"));
    for first_ends in [true, false] {
        terminating(&mut repository, first_ends);
        assert_eq!(role_of(&repository).as_deref(), Some("builds.cube"));
    }
}

#[test]
fn a_circle_of_delegations_ends_and_the_number_of_visits_is_bounded() {
    let mut repository = Repository::new();
    repository.roles.get_mut("builds.rubik").unwrap().0.delegations = repository.targets.delegations.clone();
    repository.publish();
    let set = repository.refresh(Files::new(), &["builds.rubik"]).unwrap().set;
    assert_eq!(set.search("rubik/builds/none"), Search::Missing);
    let root = repository.first_root();
    let limits = Limits {
        visited: 1,
        ..Limits::default()
    };
    let mut refresh =
        crate::Refresh::start(&root, Files::new(), &["builds.rubik".into()], limits, now()).unwrap();
    while let crate::Step::Fetch { name, .. } = refresh.next() {
        refresh.supply(repository.published.get(&name).cloned()).unwrap();
    }
    assert_eq!(refresh.set().search(TARGET), Search::Missing);
}
