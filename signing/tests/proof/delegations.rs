//! How far and how often delegations are followed.

use jiff::SignedDuration;
use millet_signing::metadata::{DelegatedRole, Other, TargetFile, Targets};
use millet_signing::{Files, Limits, Refresh, Search, Signer, TrustError};

use crate::maker::{Repository, after, key, now};

/// A role that delegates every path in `paths` to `child`, whose key is of that seed.
fn delegating(child: &str, seed: u8, paths: &str) -> Targets {
    let mut role = Targets::new(after(SignedDuration::from_hours(24)));
    delegate(&mut role, child, seed, paths);
    role
}

fn delegate(role: &mut Targets, child: &str, seed: u8, paths: &str) {
    let public = key(seed).public_key().clone();
    let delegations = role.delegations.get_or_insert_default();
    delegations.keys.insert(public.id(), public.clone());
    delegations.roles.push(DelegatedRole {
        name: child.to_owned(),
        keyids: vec![public.id()],
        threshold: 1,
        paths: Some(vec![paths.to_owned()]),
        path_hash_prefixes: None,
        terminating: false,
        other: Other::new(),
    });
}

fn naming(path: &str) -> Targets {
    let mut role = Targets::new(after(SignedDuration::from_hours(24)));
    role.targets
        .insert(path.to_owned(), TargetFile::of(path.as_bytes()));
    role
}

/// `targets` → `link1` → … → `link<length>`, the last of which names `deep`; behind them all a shallow role names it too.
fn chain(length: u8) -> Repository {
    let mut repository = Repository::of(&[("rubik", 31)]);
    delegate(&mut repository.targets, "link1", 51, "*");
    delegate(&mut repository.targets, "shallow", 50, "*");
    for link in 1..length {
        let role = delegating(&format!("link{}", link + 1), 51 + link, "*");
        repository
            .roles
            .insert(format!("link{link}"), (role, key(50 + link)));
    }
    let last = (naming("deep"), key(50 + length));
    repository.roles.insert(format!("link{length}"), last);
    repository
        .roles
        .insert("shallow".into(), (naming("deep"), key(50)));
    repository.publish();
    repository
}

fn found(repository: &Repository, limits: Limits, path: &str) -> Option<String> {
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[], limits, now()).unwrap();
    refresh.want_target(path).unwrap();
    match repository.drive(refresh).unwrap().set.search(path) {
        Search::Found { role, .. } => Some(role.to_owned()),
        Search::Missing => None,
        Search::Needs { role, .. } => panic!("{role} was not fetched"),
    }
}

#[test]
fn a_chain_is_followed_to_the_limit_and_no_further() {
    let depth = Limits::default().depth;
    assert_eq!(depth, 8);
    assert_eq!(
        found(&chain(8), Limits::default(), "deep").as_deref(),
        Some("link8")
    );
    // Nor does a role answer that comes after the one that was not asked.
    assert_eq!(found(&chain(9), Limits::default(), "deep"), None);
    let none = Limits {
        depth: 0,
        ..Limits::default()
    };
    assert_eq!(found(&chain(1), none, "deep"), None);
}

#[test]
fn no_more_roles_are_visited_than_the_limit() {
    let limits = |visited| Limits {
        visited,
        ..Limits::default()
    };
    // targets, link1 and link2.
    assert_eq!(found(&chain(2), limits(3), "deep").as_deref(), Some("link2"));
    assert_eq!(found(&chain(2), limits(2), "deep"), None);
}

/// Two roles trust a third with different paths: first by one key, so that it serves both ways; then by another, so that what
/// one way accepts the other does not.
#[test]
fn a_role_of_two_parents_is_verified_for_each() {
    let with_second_key = |seed| {
        let mut repository = Repository::of(&[("rubik", 31)]);
        delegate(&mut repository.targets, "left", 51, "l/*");
        delegate(&mut repository.targets, "right", 52, "r/*");
        let shared = (naming("l/file"), key(60));
        repository
            .roles
            .insert("left".into(), (delegating("shared", 60, "l/*"), key(51)));
        repository
            .roles
            .insert("right".into(), (delegating("shared", seed, "r/*"), key(52)));
        repository.roles.insert("shared".into(), shared);
        repository
            .role("shared")
            .targets
            .insert("r/file".into(), TargetFile::of(b"right"));
        repository.publish();
        let root = repository.first_root();
        let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
        refresh.want_target("l/file").unwrap();
        refresh.want_target("r/file").unwrap();
        repository.drive(refresh)
    };
    let set = with_second_key(60).unwrap().set;
    for path in ["l/file", "r/file"] {
        assert!(matches!(set.search(path), Search::Found { role: "shared", .. }));
    }
    let (refused, _) = with_second_key(61).unwrap_err();
    assert!(matches!(refused, TrustError::Signatures { role, .. } if role == "shared"));
}

/// Where the snapshot lists no hash, two files of one version can both be signed. The first that was taken stays.
#[test]
fn one_role_is_one_file_in_a_set() {
    let mut repository = Repository::of(&[("rubik", 31)]);
    repository.bare = true;
    for (parent, seed) in [("left", 51), ("right", 52)] {
        delegate(&mut repository.targets, parent, seed, "*");
        let role = (delegating("shared", 60, "*"), key(seed));
        repository.roles.insert(parent.into(), role);
    }
    repository.roles.insert("shared".into(), (naming("one"), key(60)));
    repository.publish();
    let mut set = repository
        .refresh(Files::new(), &["left", "right", "shared"])
        .unwrap()
        .set;
    repository
        .roles
        .insert("shared".into(), (naming("other"), key(60)));
    repository.publish();
    let other = &repository.published["1.shared.json"];
    let refused = set.update_delegated("shared", "right", other).unwrap_err();
    assert!(matches!(refused, TrustError::Order { .. }), "{refused}");
    assert!(set.target("one").is_some() && set.target("other").is_none());
}
