//! Online keys that the repository does not name: what the server still does, and the two ways back.

use std::fs;

use jiff::SignedDuration;
use millet_protocol::api::{ChangeRollout, Problem, StartRollout};
use millet_server::store::{Commit, SignedFile};
use millet_signing::metadata::{MetaFile, Role, Targets, Timestamp};
use millet_signing::{Files, sign};

use crate::engineer::{Engineer, key, name, sha256};
use crate::world::{Answer, World};

const ROLLOUT: &str = "/models/rubik/channels/beta/rollout";
const TIMESTAMP: &str = "/repo/metadata/timestamp.json";

/// A server that offers a build, with a delta to make, and what a device keeps of it.
fn world() -> (World, Engineer, Files) {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["beta"]);
    let start = StartRollout {
        build: name(46),
        over_seconds: None,
        polls_seconds: None,
    };
    assert_eq!(world.post(ROLLOUT, &start).status, 200);
    world.tick();
    engineer.release(&world, 47, &["beta"]);
    let files = world.refresh(&engineer.shipped, Files::new()).files;
    (world, engineer, files)
}

fn lose_keys(world: &mut World) {
    world.stop();
    fs::rename(world.data().join("keys"), world.data().join("../keys")).unwrap();
    world.start();
}

fn find_keys(world: &mut World) {
    world.stop();
    fs::remove_dir_all(world.data().join("keys")).unwrap();
    fs::rename(world.data().join("../keys"), world.data().join("keys")).unwrap();
    world.start();
}

fn change(world: &World, verb: &str) -> Answer {
    let why = ChangeRollout {
        build: None,
        reason: Some("a look".into()),
    };
    world.post(&format!("{ROLLOUT}/{verb}"), &why)
}

#[test]
fn what_nobody_would_believe_is_not_signed() {
    let (mut world, mut engineer, files) = world();
    let before = world.get(TIMESTAMP).body;
    lose_keys(&mut world);

    let health: Problem = world.get("/healthz").json();
    assert_eq!((health.status, health.kind.as_str()), (503, "untrusted-keys"));
    for role in ["snapshot", "timestamp", "deltas.rubik", "rollouts.rubik"] {
        assert!(health.title.contains(role), "{}", health.title);
    }
    let way_out = health.detail.unwrap_or_default();
    assert!(way_out.contains("The server was broken into"), "{way_out}");
    assert_eq!(change(&world, "pause").problem(), "untrusted-keys");
    assert_eq!(engineer.publish_builds(&world).problem(), "untrusted-keys");
    assert!(!world.work(), "the delta waits");
    world.pass(SignedDuration::from_hours(20));
    assert!(world.renew().is_empty());
    assert_eq!(world.get(TIMESTAMP).body, before);
    // Reading goes on.
    assert_eq!(world.get(&format!("/api/v1{ROLLOUT}")).status, 200);

    find_keys(&mut world);
    assert_eq!(world.get("/healthz").status, 200);
    assert_ne!(
        world.get(TIMESTAMP).body,
        before,
        "what is due is renewed at start"
    );
    assert_eq!(change(&world, "pause").status, 200);
    assert!(world.work());
    world.refresh(&engineer.shipped, files);
}

#[test]
fn new_keys_are_named_by_a_new_root_and_targets() {
    let (mut world, mut engineer, files) = world();
    lose_keys(&mut world);
    world.pass(SignedDuration::from_hours(48));
    let fresh = Engineer::new(&world);
    engineer.root = fresh.root.next(fresh.root.expires);
    engineer.targets = fresh.targets.next(fresh.targets.expires);
    // Half of it would leave the other half's roles without a key.
    assert_eq!(engineer.publish(&world, &["root"]).problem(), "untrusted-keys");
    assert_eq!(engineer.publish(&world, &["targets"]).problem(), "untrusted-keys");
    assert_eq!(engineer.publish(&world, &["root", "targets"]).status, 200);

    assert_eq!(world.get("/healthz").status, 200);
    world.refresh(&engineer.shipped, files);
    assert_eq!(change(&world, "pause").status, 200);
    assert!(world.work());
    world.refresh(&engineer.shipped, Files::new());
}

#[test]
fn one_lost_key_does_not_keep_the_others_from_renewing() {
    let (mut world, engineer, files) = world();
    world.stop();
    let keys = world.data().join("keys");
    fs::copy(keys.join("deltas.key"), keys.join("rollouts.key")).unwrap();
    world.start();
    let health: Problem = world.get("/healthz").json();
    assert!(health.title.ends_with("for rollouts.rubik"), "{}", health.title);
    assert_eq!(change(&world, "pause").problem(), "untrusted-keys");
    world.pass(SignedDuration::from_hours(24 * 4));
    assert_eq!(world.renew(), ["deltas.rubik", "snapshot", "timestamp"]);
    world.refresh(&engineer.shipped, files);
}

#[test]
fn what_was_signed_with_another_key_heals_at_the_next_start() {
    let (mut world, engineer, files) = world();
    let (now, server) = (world.now(), world.server());
    let expires = now.checked_add(SignedDuration::from_hours(20)).unwrap();
    world.block_on(async move {
        let store = &server.state().store;
        let version =
            |role: &'static str| async move { store.latest_metadata(role).await.unwrap().unwrap().version };
        let mut rollouts = Targets::new(expires);
        rollouts.version = version("rollouts.rubik").await + 1;
        let snapshot = MetaFile::of(1, b"{}");
        let timestamp = Timestamp::new(version("timestamp").await + 1, now, expires, snapshot);
        let commit = Commit {
            files: vec![
                by_another("rollouts.rubik", &rollouts),
                by_another("timestamp", &timestamp),
            ],
            ..Commit::default()
        };
        let fence = store
            .take_lease("test", "test", now, expires)
            .await
            .unwrap()
            .unwrap();
        store.commit("test", fence, now, &commit).await.unwrap();
    });
    let bent = world.get(TIMESTAMP).body;
    world.restart();
    assert_ne!(world.get(TIMESTAMP).body, bent);
    let shown = world.refresh(&engineer.shipped, files);
    assert!(shown.set.target("rubik/rollouts/beta.json").is_some());
}

fn by_another<R: Role>(role: &str, metadata: &R) -> SignedFile {
    let body = sign(metadata, &[&key(200)]).unwrap();
    SignedFile {
        role: role.to_owned(),
        version: metadata.version(),
        expires: metadata.expires(),
        sha256: sha256(&body),
        body,
    }
}
