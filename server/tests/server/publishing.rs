use millet_protocol::api::{BuildName, Builds, JobState, Publication, Published, StartRollout};
use millet_protocol::{Sequence, Sha256Digest, targets};
use millet_signing::metadata::TargetFile;
use millet_signing::{Files, Signer};

use crate::engineer::{Engineer, build, key, model, name, sequence, sha256};
use crate::world::World;

#[test]
fn a_build_is_published_whole() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    let published = engineer.release(&world, 47, &["beta"]);
    let new = BuildName {
        model: model(),
        build: name(47),
    };
    assert_eq!(published.builds, [new]);
    assert_eq!(published.delta_jobs, []);
    assert_eq!(published.snapshot_version, 2);

    let verified = world.refresh(&engineer.shipped, Files::new());
    let (manifest, payload) = build(47, &["beta"]);
    let path = targets::manifest(&model(), &name(47));
    assert_eq!(
        world.target(&verified, &path),
        serde_json::to_vec(&manifest).unwrap()
    );
    assert_eq!(world.target(&verified, &manifest.payload.path), payload);

    let listed: Builds = world.get("/api/v1/models/rubik/builds").json();
    assert_eq!(listed.builds.len(), 1);
    assert_eq!(listed.builds[0].sequence, sequence(47));
    assert_eq!(listed.builds[0].payload_size, payload.len() as u64);
    assert_eq!(listed.builds[0].entries.len(), 2);
}

#[test]
fn the_same_again_changes_nothing() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    let first = engineer.release(&world, 47, &["beta"]);
    let timestamp = world.get("/repo/metadata/timestamp.json").body;
    let again: Published = engineer
        .publish(&world, &["root", "targets", "builds.rubik"])
        .json();
    assert_eq!(again.snapshot_version, first.snapshot_version);
    assert_eq!(again.builds, []);
    assert_eq!(world.get("/repo/metadata/timestamp.json").body, timestamp);
    // Signed anew for a later expiry: a new version of the same builds.
    let renewed: Published = engineer.publish_builds(&world).json();
    assert_eq!(
        (renewed.builds.len(), renewed.snapshot_version),
        (0, first.snapshot_version + 1)
    );
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let before = world.get("/repo/metadata/timestamp.json").body;
    let listed = engineer.builds.clone();

    // Another key.
    let (manifest, payload) = build(48, &["beta"]);
    engineer.add(&world, &manifest, &payload);
    engineer.builds_key = key(99);
    assert_eq!(engineer.publish_builds(&world).problem(), "not-trusted");
    engineer.builds_key = key(103);

    // A payload with another head than the manifest says.
    let mut head = manifest.clone();
    head.payload.metadata_sha256 = Sha256Digest([1; 32]);
    engineer.add(&world, &head, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "payload-head");

    // A manifest whose partitions the payload does not make.
    let mut partitions = manifest.clone();
    partitions.partitions[0].sha256 = Sha256Digest([1; 32]);
    engineer.add(&world, &partitions, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "payload-partitions");
    let mut missing = manifest.clone();
    missing.partitions.push(millet_protocol::PartitionEntry {
        name: "vendor".parse().unwrap(),
        size: 4096,
        sha256: Sha256Digest([1; 32]),
    });
    engineer.add(&world, &missing, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "payload-not-full");

    // Not a payload, or half of one.
    engineer.add(&world, &manifest, b"not a payload at all, but long enough");
    assert_eq!(engineer.publish_builds(&world).problem(), "payload");
    engineer.add(&world, &manifest, &payload[..payload.len() - 1]);
    assert_eq!(engineer.publish_builds(&world).problem(), "payload");

    // A manifest under another build's path, a contradiction, and something else altogether.
    engineer.add(&world, &manifest, &payload);
    let mut list = engineer.builds.clone();
    let document = list.targets[&targets::manifest(&model(), &name(48))].clone();
    list.targets
        .insert(targets::manifest(&model(), &name(49)), document);
    std::mem::swap(&mut list, &mut engineer.builds);
    assert_eq!(engineer.publish_builds(&world).problem(), "other-manifest");
    let mut odd = manifest.clone();
    odd.floor = Some(Sequence(u64::MAX >> 1));
    engineer.builds = list;
    engineer.add(&world, &odd, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "manifest");
    let path = targets::manifest(&model(), &name(48));
    let text = b"{\"format\": 1}";
    world.upload(text);
    engineer.builds.targets.insert(path.clone(), TargetFile::of(text));
    assert_eq!(engineer.publish_builds(&world).problem(), "manifest");

    // Listed, never uploaded; and with a length that is not its own.
    engineer.builds = listed.clone();
    engineer
        .builds
        .targets
        .insert(path.clone(), TargetFile::of(b"never uploaded"));
    assert_eq!(engineer.publish_builds(&world).problem(), "not-uploaded");
    engineer.add(&world, &manifest, &payload);
    if let Some(file) = engineer.builds.targets.get_mut(&path) {
        file.length += 1;
    }
    assert_eq!(engineer.publish_builds(&world).problem(), "length");

    // Expired before it came.
    engineer.builds = listed.clone();
    let version = engineer.builds.version + 1;
    let mut late = listed.clone();
    late.version = version;
    late.expires = world.now();
    std::mem::swap(&mut engineer.builds, &mut late);
    assert_eq!(engineer.publish(&world, &["builds.rubik"]).problem(), "expired");

    // Outside the folder.
    engineer.builds = listed.clone();
    let foreign = targets::manifest(&"other".parse().unwrap(), &name(48));
    world.upload(b"x");
    engineer.builds.targets.insert(foreign, TargetFile::of(b"x"));
    assert_eq!(engineer.publish_builds(&world).problem(), "target-path");

    assert_eq!(world.get("/repo/metadata/timestamp.json").body, before);
    engineer.builds = listed;
    engineer.release(&world, 48, &["beta"]);
}

#[test]
fn a_name_belongs_to_one_build() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let (mut other, payload) = build(48, &["beta"]);
    other.build = name(47);
    other.payload.path = targets::full_payload(&model(), &name(47));
    engineer.add(&world, &other, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "build-taken");
}

#[test]
fn a_dropped_name_stays_taken() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    engineer.builds.targets.clear();
    assert_eq!(engineer.publish_builds(&world).status, 200);
    let listed: Builds = world.get("/api/v1/models/rubik/builds").json();
    assert_eq!(listed.builds, []);
    let (mut other, payload) = build(48, &["beta"]);
    other.build = name(47);
    other.payload.path = targets::full_payload(&model(), &name(47));
    engineer.add(&world, &other, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "build-taken");
}

#[test]
fn sequences_are_unique_and_grow_in_each_channel() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let listed = engineer.builds.clone();
    let mut release = |week, sequence: Sequence, channel: &str| {
        let (mut manifest, payload) = build(week, &[channel]);
        manifest.sequence = sequence;
        engineer.builds.targets = listed.targets.clone();
        engineer.add(&world, &manifest, &payload);
        let answer = engineer.publish_builds(&world);
        if answer.status == 200 {
            "published".to_owned()
        } else {
            answer.problem()
        }
    };
    assert_eq!(release(48, sequence(47), "beta"), "sequence-taken");
    assert_eq!(release(48, sequence(46), "beta"), "sequence-not-growing");
    // A hotfix of an older train goes to a channel that is behind.
    assert_eq!(release(48, sequence(46), "stable"), "published");
}

#[test]
fn a_promotion_adds_channels_and_nothing_else() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 46, &["stable"]);
    engineer.release(&world, 47, &["beta"]);
    let (mut manifest, payload) = build(47, &["beta", "stable"]);
    engineer.add(&world, &manifest, &payload);
    let published: Published = engineer.publish_builds(&world).json();
    assert_eq!(published.builds, []);
    // The devices of the channel that it joins come from another build.
    let job = &published.delta_jobs[0];
    assert_eq!(
        (&job.from, &job.to, job.state),
        (&name(46), &name(47), JobState::Queued)
    );

    manifest.channels = vec!["stable".parse().unwrap()];
    engineer.add(&world, &manifest, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "channel-lost");
    manifest.channels = vec!["beta".parse().unwrap(), "stable".parse().unwrap()];
    manifest.data_epoch = 2;
    engineer.add(&world, &manifest, &payload);
    assert_eq!(engineer.publish_builds(&world).problem(), "build-taken");
}

#[test]
fn only_the_token_publishes() {
    let world = World::new();
    let engineer = Engineer::new(&world);
    let metadata = [("root", engineer.signed("root"))].map(|(role, text)| (role.to_owned(), text));
    let publication = Publication {
        metadata: metadata.into(),
    };
    let start = StartRollout {
        build: name(47),
        over_seconds: None,
        polls_seconds: None,
    };
    for token in ["", "x", &world.token[1..], &world.token.replace('0', "1")] {
        let answer = world.post_as(token, "/publications", &publication);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, "Bearer"),
            "{token:?}"
        );
        let rollout = world.post_as(token, "/models/rubik/channels/beta/rollout", &start);
        assert_eq!(rollout.status, 401);
    }
    let blob = format!("/api/v1/blobs/{}", Sha256Digest([1; 32]));
    assert_eq!(world.get(&blob).status, 405);
    assert_eq!(world.head(&blob).status, 404);
}

#[test]
fn an_upload_has_the_digest_it_is_named_by() {
    let world = World::new();
    let bytes = vec![7; 20 << 20];
    let name = sha256(&bytes);
    assert_eq!(
        world.put_blob(Sha256Digest([1; 32]), &bytes).problem(),
        "hash-mismatch"
    );
    assert_eq!(world.head(&format!("/api/v1/blobs/{name}")).status, 404);
    assert_eq!(world.put_blob(name, &bytes).status, 201);
    assert_eq!(world.put_blob(name, &bytes).status, 200);
    assert_eq!(
        world
            .head(&format!("/api/v1/blobs/{name}"))
            .header("content-length"),
        bytes.len().to_string()
    );
}

#[test]
fn versions_grow_by_one() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    for version in [1, 2, 4] {
        engineer.builds.version = version;
        engineer.builds.targets.remove("rubik/builds/V6.11.47.json");
        assert_eq!(
            engineer.publish(&world, &["builds.rubik"]).problem(),
            "version-not-next",
            "{version}"
        );
    }
}

#[test]
fn a_repository_begins_once_and_with_this_servers_keys() {
    let world = World::new();
    let mut engineer = Engineer::new(&world);
    assert_eq!(
        engineer.publish(&world, &["targets"]).problem(),
        "empty-repository"
    );
    assert_eq!(engineer.publish(&world, &["root"]).problem(), "empty-repository");
    assert_eq!(
        engineer.publish(&world, &["root", "targets"]).problem(),
        "role-not-sent"
    );
    let stranger = key(77);
    let (root, targets) = (engineer.root.clone(), engineer.targets.clone());
    engineer
        .root
        .set_role("timestamp", &[stranger.public_key().clone()], 1)
        .unwrap();
    assert_eq!(
        engineer
            .publish(&world, &["root", "targets", "builds.rubik"])
            .problem(),
        "online-key"
    );
    engineer.root = root;
    let builders = [engineer.builds_key.public_key().clone()];
    let strange = stranger.public_key();
    engineer
        .targets
        .delegate_model(&model(), &builders, 1, strange, strange)
        .unwrap();
    assert_eq!(
        engineer
            .publish(&world, &["root", "targets", "builds.rubik"])
            .problem(),
        "online-key"
    );
    engineer.targets = targets;
    assert_eq!(
        engineer
            .publish(&world, &["root", "targets", "builds.rubik"])
            .status,
        200
    );

    // Somebody else's root, though the token is right.
    engineer.root_key = key(55);
    engineer
        .root
        .set_role("root", &[engineer.root_key.public_key().clone()], 1)
        .unwrap();
    assert_eq!(engineer.publish(&world, &["root"]).problem(), "other-root");
}

#[test]
fn a_model_and_its_keys_can_change_hands() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let before = world.refresh(&engineer.shipped, Files::new());

    // A second root with another key for targets, in one step with the targets that it signs.
    engineer.targets_key = key(110);
    engineer.root = engineer.root.next(engineer.root.expires);
    engineer
        .root
        .set_role("targets", &[engineer.targets_key.public_key().clone()], 1)
        .unwrap();
    assert_eq!(
        engineer.publish(&world, &["root"]).problem(),
        "signed-with-old-keys"
    );
    engineer.targets = engineer.targets.next(engineer.targets.expires);
    assert_eq!(engineer.publish(&world, &["root", "targets"]).status, 200);

    let after = world.refresh(&engineer.shipped, before.files);
    assert_eq!(after.set.root().version, 2);
    assert!(
        after
            .set
            .target(&targets::manifest(&model(), &name(47)))
            .is_some()
    );

    // A model that was delegated stays delegated: devices would refuse the snapshot without it.
    engineer.targets = engineer.targets.next(engineer.targets.expires);
    engineer.targets.delegations = None;
    assert_eq!(engineer.publish(&world, &["targets"]).problem(), "role-vanished");
}
