//! What is current, and for how long.

use millet_signing::{Changed, Files, Limits, TrustError, TrustedSet, verify_first_root, verify_next_root};

use crate::maker::{Repository, key, now, versioned};
use crate::{BUILDS, refusal, trusted};

/// After root N comes root N+1 and no other, also where numbers end.
///
/// Red without `if Some(next.version) != expected` (`verify_next_root`); with `saturating_add` in place of `checked_add` there
/// the last number follows itself.
#[test]
fn l02_only_root_n_plus_one() {
    let mut repository = Repository::of(&[("rubik", 31)]);
    let first = repository.first_root();
    let current = verify_first_root(&first).unwrap();
    for version in [1, 3, 1 << 32, u64::MAX] {
        repository.root.version = version;
        repository.publish_root();
        let next = &repository.published[&versioned(version, "root")];
        let refused = verify_next_root(next, &current);
        assert!(matches!(refused, Err(TrustError::Version { expected: 2, actual, .. }) if actual == version));
        // Also where it is offered under the name that was asked for.
        repository.published.insert("2.root.json".into(), next.clone());
        assert!(matches!(
            refusal(&repository, &Files::new()),
            TrustError::Version { .. }
        ));
    }
    let last = &repository.published[&versioned(u64::MAX, "root")];
    let current = verify_first_root(last).unwrap();
    assert!(matches!(
        verify_next_root(last, &current),
        Err(TrustError::Version { .. })
    ));
}

/// A delegated role does not go back, nor vanish from the snapshot, as little as `targets`.
///
/// Red without the loop over `known.meta` (`check_successor`).
#[test]
fn l04_a_delegated_role_does_not_go_back() {
    let mut repository = Repository::of(&[("rubik", 31)]);
    repository.role(BUILDS).version = 7;
    repository.advance();
    let known = trusted(&repository);
    repository.role(BUILDS).version = 6;
    repository.advance();
    assert!(matches!(
        refusal(&repository, &known),
        TrustError::Rollback { role, trusted: 7, offered: 6 } if role == BUILDS
    ));
    repository.roles.remove("deltas.rubik");
    repository.snapshot.meta.remove("deltas.rubik.json");
    repository.role(BUILDS).version = 7;
    repository.advance();
    assert!(matches!(
        refusal(&repository, &known),
        TrustError::Vanished { role, trusted: 1 } if role == "deltas.rubik"
    ));
}

/// A timestamp that names an older snapshot is neither taken nor kept, and a snapshot that is refused leaves the timestamp's
/// bounds as they were: the next try begins where this one did.
///
/// Red without `check_rollback("snapshot", …)` in `TrustedSet::update_timestamp`, and when `Refresh::supply` inserts a file
/// before the set has taken it.
#[test]
fn l05_a_rejected_snapshot_does_not_poison_the_timestamp() {
    let mut repository = Repository::of(&[("rubik", 31)]);
    repository.advance();
    let known = trusted(&repository);
    repository.timestamp.version = 9;
    repository.snapshot.version = 1;
    repository.publish();
    let (refused, kept) = repository.refresh(known.clone(), &[BUILDS]).unwrap_err();
    assert!(matches!(refused, TrustError::Rollback { role, .. } if role == "snapshot"));
    assert_eq!(kept, known);

    // A good timestamp whose snapshot is bad: the timestamp stays, the snapshot is not in the files.
    repository.timestamp.version = 3;
    repository.snapshot.version = 3;
    repository.snapshot_key = key(77);
    repository.publish();
    let (refused, kept) = repository.refresh(known.clone(), &[BUILDS]).unwrap_err();
    assert!(matches!(refused, TrustError::Signatures { role, .. } if role == "snapshot"));
    assert_eq!(kept["snapshot.json"], known["snapshot.json"]);
    assert_eq!(kept["timestamp.json"], repository.published["timestamp.json"]);
    // The set that refused says nothing new either.
    let mut set = TrustedSet::new(&repository.first_root(), Limits::default(), now()).unwrap();
    set.end_root_chain().unwrap();
    assert_eq!(
        set.update_timestamp(&repository.published["timestamp.json"])
            .unwrap(),
        Changed::New
    );
    set.update_snapshot(&repository.published["3.snapshot.json"])
        .unwrap_err();
    assert!(set.snapshot().is_none() && set.listed("targets").is_err());
    // Mended, it goes on from what was kept.
    repository.snapshot_key = key(21);
    repository.timestamp.version = 4;
    repository.publish();
    repository.refresh(kept, &[BUILDS]).unwrap();
}

/// Expiry, length, hash and version hold for delegated roles as for `targets`.
///
/// Red without `check_expiry`, `check_listed` or `check_version` in `TrustedSet::update_delegated`.
#[test]
fn l06_delegated_roles_are_held_to_the_same_checks() {
    for role in ["targets", BUILDS] {
        let changed = |change: &dyn Fn(&mut Repository, &str)| {
            let mut repository = Repository::of(&[("rubik", 31)]);
            change(&mut repository, role);
            refusal(&repository, &Files::new())
        };
        let expired = changed(&|repository, role| {
            match role {
                "targets" => repository.targets.expires = now(),
                role => repository.role(role).expires = now(),
            }
            repository.publish();
        });
        assert!(
            matches!(&expired, TrustError::Expired { role: name, .. } if name == role),
            "{expired}"
        );
        // The limit of a request keeps a longer file out; the set itself is asked here.
        let offered = |file: &dyn Fn(&[u8]) -> Vec<u8>| {
            let repository = Repository::of(&[("rubik", 31)]);
            let mut set = repository.refresh(Files::new(), &[]).unwrap().set;
            let file = file(&repository.published[&versioned(1, role)]);
            let parent = if role == "targets" { "root" } else { "targets" };
            set.update_delegated(role, parent, &file).unwrap_err()
        };
        let longer = offered(&|file| [file, b" "].concat());
        assert!(
            matches!(&longer, TrustError::Length { role: name, .. } if name == role),
            "{longer}"
        );
        let other = offered(&|file| {
            let text = String::from_utf8(file.to_vec()).unwrap();
            text.replacen("\"version\":1", "\"version\":2", 1).into_bytes()
        });
        assert!(
            matches!(&other, TrustError::Hash { role: name, .. } if name == role),
            "{other}"
        );
        let version = changed(&|repository, role| {
            repository.bare = true;
            repository.publish();
            repository
                .snapshot
                .meta
                .get_mut(&format!("{role}.json"))
                .unwrap()
                .version = 2;
            repository.publish_snapshot();
            let file = repository.published[&versioned(1, role)].clone();
            repository.published.insert(versioned(2, role), file);
        });
        assert!(
            matches!(&version, TrustError::Version { role: name, expected: 2, .. } if name == role),
            "{version}"
        );
    }
}
