//! Who may speak for a path.

use jiff::SignedDuration;
use millet_signing::metadata::{TargetFile, Targets};
use millet_signing::{Files, FormError, Limits, Refresh, Search, Step, TrustError, file_name};

use crate::maker::{Repository, TARGET, after, key, now, versioned};
use crate::{BUILDS, refusal};

/// A terminating delegation ends the search for its paths, found or not.
///
/// Red without `to_visit.clear()`, and without the `break` after it (`TrustedSet::search`).
#[test]
fn l03_terminating_delegations_are_respected() {
    let mut repository = Repository::new();
    // cube's builds come first for rubik's paths; then come rubik's own, which name the file.
    let delegations = repository.targets.delegations.as_mut().unwrap();
    let mut first = delegations.roles.remove(3);
    assert_eq!(first.name, "builds.cube");
    first.paths = Some(vec!["rubik/builds/*".into()]);
    delegations.roles.insert(0, first);
    let mut below = delegations.clone();
    below.roles.retain(|role| role.name == "rollouts.cube");
    below.roles[0].paths = Some(vec!["rubik/builds/*".into()]);
    let search = |repository: &mut Repository, ends: bool| {
        repository.targets.delegations.as_mut().unwrap().roles[0].terminating = ends;
        repository.publish();
        let root = repository.first_root();
        let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
        refresh.want_target(TARGET).unwrap();
        match repository.drive(refresh).unwrap().set.search(TARGET) {
            Search::Found { role, .. } => Some(role.to_owned()),
            Search::Missing => None,
            Search::Needs { role, .. } => panic!("{role}"),
        }
    };
    assert_eq!(search(&mut repository, true), None);
    assert_eq!(search(&mut repository, false).as_deref(), Some(BUILDS));
    // One level down it ends the search as well, for all that was still to be asked.
    assert!(below.roles[0].terminating);
    repository.role("builds.cube").delegations = Some(below.clone());
    assert_eq!(search(&mut repository, false), None);
    below.roles[0].terminating = false;
    repository.role("builds.cube").delegations = Some(below);
    assert_eq!(search(&mut repository, false).as_deref(), Some(BUILDS));
    // What a role delegates to is still asked when the role itself ends the search.
    repository
        .role("rollouts.cube")
        .targets
        .insert(TARGET.into(), TargetFile::of(b"below"));
    assert_eq!(search(&mut repository, true).as_deref(), Some("rollouts.cube"));
}

/// Whatever a role is called, its metadata is one file in the folder of metadata, and not another role's.
///
/// Red without `role_name::check_delegated(&role.name)?` (`Targets::check`), and when `file_stem` lets `/` pass.
#[test]
fn l10_hostile_role_names_stay_file_names() {
    let hostile = [
        "../../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "a/b",
        "a\\b",
        "a\0b",
        "C:\\x",
        "x?y#z",
        "x\ny",
        "%2e%2e%2f",
        "\u{202e}nosj",
        "targets/../root",
        "1.root",
        "con",
    ];
    let mut names = Vec::new();
    for role in hostile {
        let mut repository = Repository::of(&[("rubik", 31)]);
        let roles = &mut repository.targets.delegations.as_mut().unwrap().roles;
        roles[0].name = role.into();
        let (builds, key) = repository.roles.remove(BUILDS).unwrap();
        repository.roles.insert(role.into(), (builds, key));
        repository.snapshot.meta.clear();
        repository.publish();
        let verified = repository.refresh(Files::new(), &[role]).unwrap();
        assert!(verified.set.target(TARGET).is_some(), "{role}");
        for name in verified.files.keys() {
            assert!(!name.contains(['/', '\\', '\0', '?', '#', '\n']), "{name}");
            assert!(name.ends_with(".json") && name.len() > 5, "{name}");
        }
        names.push(file_name(role));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), hostile.len());
    for posing in ["root", "timestamp", "snapshot", "targets", ""] {
        let mut repository = Repository::of(&[("rubik", 31)]);
        repository.targets.delegations.as_mut().unwrap().roles[0].name = posing.into();
        repository.publish();
        assert!(
            matches!(
                refusal(&repository, &Files::new()),
                TrustError::Form {
                    source: FormError::RoleName(_),
                    ..
                }
            ),
            "{posing}"
        );
    }
}

/// Delegations are asked in the order in which they stand, each with all that it delegates to before the next.
///
/// Red without `.rev()` in `TrustedSet::search`.
#[test]
fn l12_delegations_are_asked_in_their_order() {
    // targets → (a → (c, d), b): c before d before b.
    let names = ["zz", "mm", "yy", "aa"];
    let [a, b, c, d] = names;
    let mut order = Vec::new();
    let mut repository = Repository::of(&[("rubik", 31)]);
    let template = repository.targets.delegations.clone().unwrap();
    let delegations = |children: &[&str]| {
        let mut own = template.clone();
        own.roles = children
            .iter()
            .map(|name| {
                let mut role = template.roles[0].clone();
                role.name = (*name).to_owned();
                role.terminating = false;
                role
            })
            .collect();
        Some(own)
    };
    repository.targets.delegations = delegations(&[a, b]);
    for name in names {
        let mut role = Targets::new(after(SignedDuration::from_hours(1)));
        if name == a {
            role.delegations = delegations(&[c, d]);
        }
        repository.roles.insert(name.into(), (role, key(31)));
    }
    repository.publish();
    let root = repository.first_root();
    let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
    refresh.want_target("rubik/builds/none").unwrap();
    while let Step::Fetch { name, .. } = refresh.next() {
        refresh.supply(repository.published.get(&name).cloned()).unwrap();
        order.push(name);
    }
    let expected = [a, c, d, b].map(|name| versioned(1, name));
    assert_eq!(order[4..], expected);
}
