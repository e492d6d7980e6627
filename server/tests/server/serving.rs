use millet_protocol::targets;
use millet_signing::Files;

use crate::engineer::{Engineer, build, model, name, sha256};
use crate::world::{World, address};

const FOREVER: &str = "public, max-age=31536000, immutable";

#[test]
fn the_timestamp_is_asked_for_conditionally() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    let first = world.get("/repo/metadata/timestamp.json");
    assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"));
    let etag = first.header("etag");
    let held = world.get_with("/repo/metadata/timestamp.json", &[("If-None-Match", etag)]);
    assert_eq!(
        (held.status, held.body.len(), held.header("etag")),
        (304, 0, etag)
    );
    engineer.release(&world, 47, &["beta"]);
    let new = world.get_with("/repo/metadata/timestamp.json", &[("If-None-Match", etag)]);
    assert_eq!(new.status, 200);
    assert_ne!(new.header("etag"), etag);
}

#[test]
fn what_is_named_by_version_or_digest_never_changes() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    for file in [
        "1.root.json",
        "1.targets.json",
        "2.builds.rubik.json",
        "1.snapshot.json",
        "2.snapshot.json",
    ] {
        let answer = world.get(&format!("/repo/metadata/{file}"));
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, FOREVER),
            "{file}"
        );
        assert_eq!(answer.header("content-type"), "application/json");
    }
    assert_eq!(world.get("/repo/metadata/1.root.json").body, engineer.shipped);
    // Nobody may remember that the next root is missing.
    for file in [
        "2.root.json",
        "root.json",
        "1.timestamp.json",
        "01.root.json",
        "..%2fpublish.token",
    ] {
        let answer = world.get(&format!("/repo/metadata/{file}"));
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (404, "no-store"),
            "{file}"
        );
    }
}

#[test]
fn a_payload_comes_in_parts() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let (manifest, payload) = build(47, &["beta"]);
    let path = address(&manifest.payload.path, sha256(&payload));
    let length = payload.len();

    let whole = world.get(&path);
    assert_eq!((whole.status, whole.body == payload), (200, true));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = world.get_with(&path, &[("Range", "bytes=100-299")]);
    assert_eq!((part.status, &part.body[..]), (206, &payload[100..300]));
    assert_eq!(part.header("content-range"), format!("bytes 100-299/{length}"));
    let rest = world.get_with(
        &path,
        &[("Range", "bytes=300-"), ("If-Range", whole.header("etag"))],
    );
    assert_eq!((rest.status, &rest.body[..]), (206, &payload[300..]));
    let other = world.get_with(&path, &[("Range", "bytes=300-"), ("If-Range", "\"other\"")]);
    assert_eq!((other.status, other.body.len()), (200, length));
    let beyond = world.get_with(&path, &[("Range", &format!("bytes={length}-"))]);
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, &format!("bytes */{length}")[..])
    );
    let head = world.head(&path);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, &length.to_string()[..])
    );
}

#[test]
fn nobody_keeps_a_refusal() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    let (manifest, payload) = build(47, &["beta"]);
    let payload = address(&manifest.payload.path, sha256(&payload));
    for path in [&payload[..], "/repo/metadata/1.root.json"] {
        let etag = world.get(path).header("etag").to_owned();
        for (header, value, status, cache) in [
            ("Range", "bytes=99999999-", 416, "no-store"),
            ("If-Match", "\"x\"", 412, "no-store"),
            ("Range", "bytes=0-1", 206, FOREVER),
            ("If-None-Match", &etag, 304, FOREVER),
        ] {
            let answer = world.get_with(path, &[(header, value)]);
            assert_eq!(
                (answer.status, answer.header("cache-control")),
                (status, cache),
                "{path} with {header}: {value}"
            );
        }
    }
}

#[test]
fn what_is_uploaded_but_not_published_is_nobodys_business() {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    let (manifest, payload) = build(47, &["beta"]);
    engineer.add(&world, &manifest, &payload);
    let path = address(&manifest.payload.path, sha256(&payload));
    assert_eq!(world.get(&path).status, 404);
    engineer.publish_builds(&world);
    assert_eq!(world.get(&path).status, 200);
    // The same bytes under a path that nobody signed.
    assert_eq!(world.get(&path.replace("V6.11.47", "V6.11.48")).status, 404);
    let listed = world.refresh(&engineer.shipped, Files::new());
    assert!(
        listed
            .set
            .target(&targets::manifest(&model(), &name(47)))
            .is_some()
    );
}

#[test]
fn health_and_strange_addresses() {
    let world = World::new();
    assert_eq!(world.get("/healthz").status, 200);
    assert_eq!(world.get("/nowhere").problem(), "not-found");
    assert_eq!(world.get("/api/v1/models/UPPER/builds").problem(), "name");
    assert_eq!(world.get("/api/v1/models/unknown/builds").status, 200);
    let page = world.get("/");
    assert!(String::from_utf8_lossy(&page.body).contains("No builds yet"));
}

#[test]
fn health_is_bad_before_the_disk_is_full() {
    let mut world = World::new();
    for (least, status) in [(1, 200), (u64::MAX, 507)] {
        world.least_room = least;
        world.restart();
        assert_eq!(world.get("/healthz").status, status);
    }
    let problem = world.get("/healthz").problem();
    assert_eq!(problem, "little-room");
}

#[test]
fn two_servers_on_one_directory_do_not_fight() {
    let world = World::new();
    let config = world.config();
    let second = world.block_on(async { millet_server::Server::open(config).await.map(drop) });
    let error = second.unwrap_err().to_string();
    assert!(error.contains("another millet-server is using"), "{error}");
}
