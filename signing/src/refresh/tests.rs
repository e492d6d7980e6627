use jiff::SignedDuration;

use super::*;
use crate::maker::{Repository, TARGET, after, key, now};
use crate::{PublicKey, Signer};

const ROLES: [&str; 3] = ["builds.rubik", "deltas.rubik", "rollouts.rubik"];

#[test]
fn a_first_refresh_and_one_that_finds_nothing_new() {
    let repository = Repository::new();
    let verified = repository.refresh(Files::new(), &ROLES).unwrap();
    assert!(verified.set.target(TARGET).unwrap().matches(b"manifest"));
    assert_eq!(verified.files.len(), 7);
    let again = repository.refresh(verified.files.clone(), &ROLES).unwrap();
    assert_eq!(again.files, verified.files);
}

#[test]
fn an_unchanged_timestamp_needs_no_other_file() {
    let repository = Repository::new();
    let files = repository.refresh(Files::new(), &ROLES).unwrap().files;
    let root = files["root.json"].clone();
    let roles: Vec<String> = ROLES.map(str::to_owned).to_vec();
    let start = |at| Refresh::start(&root, files.clone(), &roles, Limits::default(), at).unwrap();
    let mut refresh = start(now());
    assert!(matches!(
        refresh.next(),
        Step::Fetch {
            missing_ends_chain: true,
            may_be_unchanged: false,
            ..
        }
    ));
    refresh.supply(None).unwrap();
    assert!(matches!(
        refresh.next(),
        Step::Fetch {
            missing_ends_chain: false,
            may_be_unchanged: true,
            ..
        }
    ));
    refresh.supply_unchanged().unwrap();
    assert_eq!(refresh.next(), Step::Done);
    assert!(refresh.finish().unwrap().set.target(TARGET).is_some());
    // An unchanged timestamp gets no younger.
    let mut late = start(after(SignedDuration::from_hours(24)));
    late.supply(None).unwrap();
    assert!(matches!(late.supply_unchanged(), Err(TrustError::Expired { role, .. }) if role == "timestamp"));
}

#[test]
fn nothing_can_be_unchanged_on_the_first_visit() {
    let repository = Repository::new();
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
    assert!(matches!(
        refresh.supply_unchanged(),
        Err(TrustError::Order { .. })
    ));
    refresh.supply(None).unwrap();
    assert!(matches!(
        refresh.next(),
        Step::Fetch {
            may_be_unchanged: false,
            ..
        }
    ));
    assert!(matches!(
        refresh.supply_unchanged(),
        Err(TrustError::Order { .. })
    ));
    assert!(
        matches!(refresh.supply(None), Err(TrustError::Unavailable { file }) if file == "timestamp.json")
    );
    assert!(refresh.finish().is_err());
}

#[test]
fn a_role_that_nobody_delegates_to_is_left_out() {
    let verified = Repository::new()
        .refresh(Files::new(), &["builds.nothing", "builds.rubik"])
        .unwrap();
    assert!(verified.set.delegated("builds.nothing").is_none());
    assert!(verified.set.delegated("builds.rubik").is_some());
}

#[test]
fn a_role_that_the_snapshot_does_not_list_is_refused() {
    let mut repository = Repository::new();
    repository.roles.remove("builds.rubik");
    repository.snapshot.meta.remove("builds.rubik.json");
    repository.publish();
    let (refused, _) = repository.refresh(Files::new(), &ROLES).unwrap_err();
    assert!(matches!(refused, TrustError::NotListed { role } if role == "builds.rubik"));
}

#[test]
fn what_nobody_asked_for_changes_nothing() {
    let repository = Repository::new();
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
    while let Step::Fetch { name, .. } = refresh.next() {
        refresh.supply(repository.published.get(&name).cloned()).unwrap();
    }
    let files = refresh.files();
    refresh.supply(None).unwrap();
    refresh.supply(Some(b"{}".to_vec())).unwrap();
    assert_eq!(refresh.files(), files);
}

#[test]
fn only_the_roles_of_a_wanted_target_are_fetched() {
    let repository = Repository::new();
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
    refresh.want_target(TARGET).unwrap();
    let mut names = Vec::new();
    while let Step::Fetch { name, .. } = refresh.next() {
        refresh.supply(repository.published.get(&name).cloned()).unwrap();
        names.push(name);
    }
    assert_eq!(
        names,
        [
            "2.root.json",
            "timestamp.json",
            "1.snapshot.json",
            "1.targets.json",
            "1.builds.rubik.json"
        ]
    );
    refresh.want_target("cube/builds/none.json").unwrap();
    assert!(matches!(refresh.next(), Step::Fetch { name, .. } if name == "1.builds.cube.json"));
}

#[test]
fn rotated_online_keys_end_a_fast_forward_attack() {
    let mut repository = Repository::new();
    repository.snapshot.version = 1_000_000;
    repository.timestamp.version = 1_000_000;
    repository.publish();
    let attacked = repository.refresh(Files::new(), &ROLES).unwrap().files;
    // Recovery: both keys stay valid for old files too, and only the snapshot gets another one beside it.
    repository.snapshot.version = 2;
    repository.timestamp.version = 2;
    let recovered = |repository: &mut Repository, rotate: bool| {
        repository.root = repository.root.next(repository.root.expires);
        if rotate {
            let keys = [key(21), key(23)].map(|key| key.public_key().clone());
            repository.root.set_role("snapshot", &keys, 1).unwrap();
        }
        repository.publish();
        repository.refresh(attacked.clone(), &ROLES)
    };
    let (error, _) = recovered(&mut repository, false).unwrap_err();
    assert!(
        matches!(
            error,
            TrustError::Rollback {
                trusted: 1_000_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(recovered(&mut repository, true).is_ok());
}

#[test]
fn after_a_failure_a_new_root_is_kept_and_the_old_snapshot_too() {
    let mut repository = Repository::new();
    let files = repository.refresh(Files::new(), &ROLES).unwrap().files;
    repository.root = repository.root.next(repository.root.expires);
    repository.publish_root();
    repository
        .published
        .insert("timestamp.json".into(), b"{}".to_vec());
    let (error, kept) = repository.refresh(files.clone(), &ROLES).unwrap_err();
    assert!(matches!(error, TrustError::Form { .. }), "{error}");
    assert_eq!(kept["root.json"], repository.published["2.root.json"]);
    for name in [
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "builds.rubik.json",
    ] {
        assert_eq!(kept[name], files[name], "{name}");
    }
}

#[test]
fn a_bad_root_takes_nothing_away() {
    let mut repository = Repository::new();
    let files = repository.refresh(Files::new(), &ROLES).unwrap().files;
    repository.published.insert("2.root.json".into(), b"{}".to_vec());
    let (_, kept) = repository.refresh(files.clone(), &ROLES).unwrap_err();
    assert_eq!(kept, files);
    // An expired one neither, unless it really rotates the keys.
    for rotate in [false, true] {
        repository.root = repository.root.next(now());
        repository.root.version = 2;
        if rotate {
            let keys = [key(21), key(23)].map(|key| key.public_key().clone());
            repository.root.set_role("snapshot", &keys, 1).unwrap();
        }
        repository.publish_root();
        let (error, kept) = repository.refresh(files.clone(), &ROLES).unwrap_err();
        assert!(matches!(error, TrustError::Expired { .. }), "{error}");
        assert_eq!(kept.contains_key("timestamp.json"), !rotate);
        assert_eq!(kept.contains_key("snapshot.json"), !rotate);
    }
}

#[test]
fn a_long_root_chain_is_followed_and_an_endless_one_is_not() {
    let mut repository = Repository::new();
    for seed in 50..60 {
        // Every root is signed by the keys before and its own.
        let before = std::mem::take(&mut repository.root_keys);
        repository.root_keys = vec![key(seed), key(seed + 100)];
        let public: Vec<PublicKey> = repository
            .root_keys
            .iter()
            .map(|key| key.public_key().clone())
            .collect();
        repository.root = repository.root.next(repository.root.expires);
        repository.root.set_role("root", &public, 2).unwrap();
        let own = repository.root_keys.len();
        repository.root_keys.extend(before);
        repository.publish_root();
        repository.root_keys.truncate(own);
    }
    let verified = repository.refresh(Files::new(), &ROLES).unwrap();
    assert_eq!(verified.set.root().version, 11);
    let limits = Limits {
        rotations: 3,
        ..Limits::default()
    };
    let mut refresh = Refresh::start(&repository.first_root(), Files::new(), &[], limits, now()).unwrap();
    for _ in 0..3 {
        let Step::Fetch { name, .. } = refresh.next() else {
            panic!("ended early")
        };
        refresh.supply(repository.published.get(&name).cloned()).unwrap();
    }
    assert!(matches!(refresh.next(), Step::Fetch { name, .. } if name == "timestamp.json"));
}

#[test]
fn plain_names_when_snapshots_are_not_consistent() {
    let mut repository = Repository::new();
    repository.root.consistent_snapshot = false;
    repository.publish_root();
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
    refresh.supply(None).unwrap();
    refresh
        .supply(repository.published.get("timestamp.json").cloned())
        .unwrap();
    assert!(matches!(refresh.next(), Step::Fetch { name, .. } if name == "snapshot.json"));
}
