//! What a thief gets, for each role that he may have stolen: his best moves, against a device that decides.

use std::collections::BTreeMap;
use std::fs;

use jiff::SignedDuration;
use millet_agent::Pass;
use millet_agent::reports::Privacy;
use millet_machine::policy::Reason;
use millet_protocol::{RampPoint, Report, Requires, RolloutState, Sequence, Slot};
use millet_signing::metadata::TargetFile;

use crate::bench::{BLOCKS, Bench, start};
use crate::repository::{Images, Repository, images, name};
use crate::server::Kind;

/// Week 2 runs in slot b, week 1 lies in slot a; weeks 3 and 4 are signed, 4 for the channel `stable` alone.
fn settled(repository: Repository) -> Bench {
    let mut bench = Bench::of(repository, BLOCKS);
    bench.release(2);
    bench.update();
    fs::remove_file(bench.path("rebooted")).unwrap();
    bench
        .repository
        .build(&bench.server, 3, images(3, BLOCKS), |_| ());
    bench
        .repository
        .build(&bench.server, 4, images(4, BLOCKS), |manifest| {
            manifest.channels = vec!["stable".parse().unwrap()];
        });
    bench.repository.publish(&bench.server);
    bench
}

fn evil() -> Images {
    images(66, BLOCKS)
}

/// Week 2 boots, and stays as it was.
fn assert_nothing(bench: &Bench, move_: &str) {
    assert!(!bench.path("rebooted").exists(), "{move_}");
    assert_eq!(bench.block().choice(), Some(Slot::B), "{move_}");
    assert!(bench.holds(Slot::B, 2), "{move_}");
}

/// Moves of whoever has the keys of `deltas`, `rollouts`, snapshot and timestamp: everything that the bench signs as them.
#[test]
fn all_online_keys_together() {
    type Move = (&'static str, fn(&mut Bench), fn(&Reason) -> bool);
    let moves: [Move; 6] = [
        (
            "an older build",
            |bench| bench.repository.offer(&bench.server, 1, |_| ()),
            |reason| matches!(reason, Reason::Older { .. }),
        ),
        (
            "an older build under a newer sequence",
            |bench| {
                bench
                    .repository
                    .offer(&bench.server, 1, |rollout| rollout.sequence = Sequence(9));
            },
            |reason| matches!(reason, Reason::Contradiction(_)),
        ),
        (
            "another channel's build",
            |bench| bench.repository.offer(&bench.server, 4, |_| ()),
            |reason| matches!(reason, Reason::ChannelNotAllowed { .. }),
        ),
        (
            "another channel's build as a stone",
            |bench| {
                bench
                    .repository
                    .build(&bench.server, 5, images(5, BLOCKS), |manifest| {
                        manifest.requires = Some(Requires {
                            min_sequence: Sequence(4),
                        });
                    });
                bench.repository.offer(&bench.server, 5, |rollout| {
                    rollout.stones = vec![name(1), name(4)];
                });
            },
            |reason| matches!(reason, Reason::ChannelNotAllowed { .. }),
        ),
        (
            "a manifest among the rollouts and deltas",
            |bench| {
                bench.repository.build(&bench.server, 9, evil(), |_| ());
                let builds = bench.repository.roles.get_mut("builds.rubik").unwrap();
                let stolen: Vec<(String, TargetFile)> = builds
                    .targets
                    .extract_if(.., |path, _| path.contains("V9"))
                    .collect();
                for role in ["rollouts.rubik", "deltas.rubik"] {
                    let role = bench.repository.roles.get_mut(role).unwrap();
                    role.targets.extend(stolen.clone());
                }
                bench.repository.offer(&bench.server, 9, |_| ());
            },
            |reason| matches!(reason, Reason::Contradiction(_)),
        ),
        (
            "another channel's rollout",
            |bench| {
                bench.repository.offer(&bench.server, 3, |rollout| {
                    rollout.channel = "stable".parse().unwrap();
                });
                let rollouts = bench.repository.roles.get_mut("rollouts.rubik").unwrap();
                let stolen = rollouts.targets["rubik/rollouts/stable.json"].clone();
                rollouts
                    .targets
                    .insert("rubik/rollouts/beta.json".to_owned(), stolen.clone());
                // The file is served under either name.
                let mut files = bench.server.files();
                let sha256 = stolen.sha256().unwrap();
                let bytes = files[&format!("/repo/targets/rubik/rollouts/{sha256}.stable.json")].clone();
                files.insert(format!("/repo/targets/rubik/rollouts/{sha256}.beta.json"), bytes);
                bench.server.set_files(files);
            },
            |reason| matches!(reason, Reason::Contradiction(_)),
        ),
    ];
    for (what, make, is_expected) in moves {
        let mut bench = settled(Repository::new(start()));
        make(&mut bench);
        bench.repository.publish(&bench.server);
        match bench.pass() {
            Ok(Pass::Settled(no) | Pass::Waiting(no)) if is_expected(&no.reason) => {}
            other => panic!("{what}: {other:?}"),
        }
        assert_nothing(&bench, what);
    }

    // Builds that their engineers did not sign, or an older list of theirs.
    let mut bench = settled(Repository::new(start()));
    bench.repository.build(&bench.server, 9, evil(), |_| ());
    bench.repository.offer(&bench.server, 9, |_| ());
    bench.repository.signers.insert("builds.rubik", vec![3, 4, 6, 7]);
    bench.repository.publish(&bench.server);
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("builds.rubik") && error.contains("0 valid signatures"),
        "{error}"
    );
    assert_nothing(&bench, "builds signed online");

    // Deltas of his own: bandwidth and retries, but the engineers' bytes.
    for claims in ["evil images", "the build's images"] {
        let mut bench = settled(Repository::new(start()));
        bench.repository.offer(&bench.server, 3, |_| ());
        if claims == "evil images" {
            let right = bench.repository.images.insert("V3".to_owned(), evil()).unwrap();
            bench.repository.delta(&bench.server, 2, 3, None);
            bench.repository.images.insert("V3".to_owned(), right);
        } else {
            bench.repository.forged_delta(&bench.server, 2, 3, &evil());
        }
        bench.repository.publish(&bench.server);
        bench.payloads();
        assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
        assert!(bench.holds(Slot::A, 3), "{claims}");
        let fetched: Vec<String> = bench.payloads().into_iter().map(|(file, _)| file).collect();
        assert_eq!(fetched.first().map(String::as_str), Some("V2-V3.payload"));
        assert_eq!(fetched.last().map(String::as_str), Some("V3.payload"));
    }
}

#[test]
fn a_timestamp_key_that_signs_ten_years_ahead() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.update();
    let ahead = bench.repository.now + SignedDuration::from_hours(3650 * 24);
    bench.repository.publish_with_timestamp_of(&bench.server, ahead);
    bench.pass().unwrap();
    // The right time comes back, and lists of builds are signed anew: delay is all that there was.
    bench.later(SignedDuration::from_hours(24));
    bench.pass().unwrap_err();
    bench.later(SignedDuration::from_hours(61 * 24));
    bench.release(3);
    bench.update();
    assert!(bench.holds(Slot::A, 3));
}

/// Two of three engineers must sign; whoever has one key, and all the server's, signs as often as he likes.
#[test]
fn one_of_three_release_keys() {
    for stolen in [5, 8, 9] {
        let mut bench = settled(Repository::signed_by(start(), &[5, 8, 9], 2));
        bench.repository.build(&bench.server, 9, evil(), |_| ());
        bench.repository.offer(&bench.server, 9, |_| ());
        for signers in [vec![stolen], vec![stolen, stolen], vec![stolen, 3, 4, 6, 7]] {
            bench.repository.signers.insert("builds.rubik", signers.clone());
            bench.repository.publish(&bench.server);
            let error = bench.pass().unwrap_err().chain();
            assert!(
                error.contains("builds.rubik") && error.contains("1 valid signatures of the 2"),
                "{error}"
            );
            assert_nothing(&bench, &format!("signed by {signers:?}"));
        }
        // With another engineer's it is a build.
        let other = if stolen == 5 { 8 } else { 5 };
        bench
            .repository
            .signers
            .insert("builds.rubik", vec![stolen, other]);
        bench.repository.publish(&bench.server);
        assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    }
}

/// The server with its keys and the token has every blob in its hand, and may list and serve what it likes.
#[test]
fn the_server_with_the_publishing_token() {
    // Evil images in a payload under the name of a build that is signed.
    let mut bench = settled(Repository::new(start()));
    bench.repository.offer(&bench.server, 3, |_| ());
    let before = bench.server.files();
    bench.repository.build(&bench.server, 9, evil(), |_| ());
    bench.repository.publish(&bench.server);
    let files = bench.server.files();
    let find = |files: &BTreeMap<String, Vec<u8>>, end: &str| {
        let mut found = files.keys().filter(|path| path.ends_with(end));
        found.next().unwrap().clone()
    };
    let (right, evil_payload) = (find(&before, ".V3.payload"), find(&files, ".V9.payload"));
    bench
        .server
        .change(".V3.payload", |bytes| bytes.clone_from(&files[&evil_payload]));
    assert!(matches!(bench.pass().unwrap(), Pass::Failed(_)));
    assert_nothing(&bench, "an evil payload");
    assert!(before.contains_key(&right));

    // A manifest with evil hashes under the name of one that is signed.
    let mut bench = settled(Repository::new(start()));
    bench.repository.offer(&bench.server, 3, |_| ());
    bench.repository.build(&bench.server, 9, evil(), |_| ());
    bench.repository.publish(&bench.server);
    let files = bench.server.files();
    let manifest = String::from_utf8(files[&find(&files, ".V9.json")].clone()).unwrap();
    let manifest = manifest
        .replace("V9", "V3")
        .replace("\"sequence\":9", "\"sequence\":3");
    bench
        .server
        .change(".V3.json", |bytes| *bytes = manifest.clone().into_bytes());
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("not those that signed metadata names"), "{error}");
    assert_nothing(&bench, "an evil manifest");

    // A root and delegations of its own making.
    for role in ["targets", "builds.rubik"] {
        let mut bench = settled(Repository::new(start()));
        bench.repository.build(&bench.server, 9, evil(), |_| ());
        bench.repository.offer(&bench.server, 9, |_| ());
        bench.repository.signers.insert(role, vec![3, 4, 6, 7]);
        bench.repository.publish(&bench.server);
        let error = bench.pass().unwrap_err().chain();
        assert!(error.contains("valid signatures"), "{error}");
        assert_nothing(&bench, role);
    }
    let bench = settled(Repository::new(start()));
    let own = Repository::new(start()).first_root();
    let own = String::from_utf8(own)
        .unwrap()
        .replace("\"version\":1", "\"version\":2");
    bench.server.put("/repo/metadata/2.root.json", own.into_bytes());
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("root") && error.contains("valid signatures"),
        "{error}"
    );
    assert_nothing(&bench, "a root of its own");
}

/// A mirror has no keys: it can show what was, until the timestamp of then expires, or nothing.
#[test]
fn a_mirror() {
    let mut bench = settled(Repository::new(start()));
    let old = bench.server.files();
    bench.repository.now += SignedDuration::from_hours(1);
    bench.edge.advance(SignedDuration::from_hours(1));
    bench.repository.offer(&bench.server, 3, |_| ());
    bench.repository.publish(&bench.server);
    let new = bench.server.files();

    // A device that has not seen week 3 is held back, and knows it when a day has passed.
    bench.server.set_files(old.clone());
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(no) if no.reason == Reason::UpToDate(name(2))));
    bench.edge.advance(SignedDuration::from_hours(22));
    bench.pass().unwrap();
    bench.edge.advance(SignedDuration::from_hours(2));
    let error = bench.pass().unwrap_err().chain();
    assert!(
        error.contains("timestamp") && error.contains("expired"),
        "{error}"
    );
    assert_nothing(&bench, "a mirror that stands still");
    // Nor do "it is as it was" and "there is none" last longer.
    for (status, says) in [(304, "304"), (404, "timestamp.json"), (503, "503")] {
        bench
            .server
            .fault("timestamp.json", 1000, Kind::Status(status, None));
        let error = bench.pass().unwrap_err().chain();
        assert!(
            error.contains(says) || error.contains("expired"),
            "{status}: {error}"
        );
        assert_nothing(&bench, "a mirror that is silent");
        bench.server.heal();
    }

    // Old files among new ones are no third state.
    bench.edge.advance(SignedDuration::from_hours(-23));
    let changed = new
        .keys()
        .filter(|path| old.get(*path).is_some_and(|bytes| *bytes != new[*path]));
    assert_eq!(changed.collect::<Vec<_>>(), ["/repo/metadata/timestamp.json"]);
    let newest = |end: &str| {
        let (path, bytes) = new.iter().rfind(|(path, _)| path.ends_with(end)).unwrap();
        (path.clone(), bytes.clone())
    };
    for role in [
        ".snapshot.json",
        ".targets.json",
        ".builds.rubik.json",
        ".rollouts.rubik.json",
    ] {
        let (path, _) = newest(role);
        let before = old.iter().rfind(|(path, _)| path.ends_with(role)).unwrap().1;
        let mut mixed = new.clone();
        mixed.insert(path, before.clone());
        bench.server.set_files(mixed);
        let error = bench.pass().unwrap_err().chain();
        assert!(error.contains("is not trusted"), "{role}: {error}");
        assert_nothing(&bench, role);
    }

    // Who has seen the new does not go back to the old.
    bench.server.set_files(new);
    bench
        .repository
        .offer(&bench.server, 3, |rollout| rollout.state = RolloutState::Paused);
    bench.repository.publish(&bench.server);
    bench.pass().unwrap();
    bench.server.set_files(old);
    let error = bench.pass().unwrap_err().chain();
    assert!(error.contains("goes back from version"), "{error}");
    assert_nothing(&bench, "an old state");
}

/// A seed says when its device's turn comes, and nothing of it is in what a device signs or sends.
#[test]
fn an_old_device_seed() {
    let turn = |seed: Option<[u8; 32]>| {
        let mut bench = Bench::new();
        bench.device().state.secret("seed", &*bench.edge).unwrap();
        if let Some(seed) = seed {
            fs::write(bench.path("state/seed"), seed).unwrap();
        }
        let privacy = Privacy {
            reports: true,
            ..Privacy::default()
        };
        privacy.save(&bench.device().state).unwrap();
        bench.release(2);
        let (from, to) = (
            bench.repository.now,
            bench.repository.now + SignedDuration::from_hours(100),
        );
        bench.repository.offer(&bench.server, 2, |rollout| {
            let point = |at, percent| RampPoint { at, percent };
            rollout.ramp = vec![point(from, 0.0), point(to, 100.0)];
        });
        bench.repository.publish(&bench.server);
        let Pass::Waiting(no) = bench.pass().unwrap() else {
            panic!("it has no turn")
        };
        let at = no.until.unwrap();
        bench.later(at.duration_since(from));
        bench.server.asked();
        assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
        assert!(bench.holds(Slot::B, 2));
        let asked = bench.server.asked();
        let report = asked.iter().find(|asked| asked.method == "POST").unwrap();
        let report: Report = serde_json::from_str(&report.body).unwrap();
        let key = bench.device().state.secret("device.key", &*bench.edge).unwrap();
        (at, report.pseudonym, key)
    };
    let (own, stolen, again) = (turn(None), turn(Some([0x55; 32])), turn(Some([0x55; 32])));
    // The thief knows when that device's turn comes, and can be it for that; no other turn moves.
    assert_eq!(stolen.0, again.0);
    assert_ne!(own.0, stolen.0);
    // Its pseudonym and its key come of other secrets.
    assert_eq!((own.1, own.2), (stolen.1, stolen.2));
}
