//! `millet repo check` on copies of a repository, sound and bent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::collections::BTreeMap;
use std::fs;

use fake::{FakeServer, PUBLISH, Workshop};
use jiff::{SignedDuration, Timestamp};
use millet_protocol::api::Publication;
use millet_signing::metadata::{TargetFile, Targets};
use millet_signing::{Ed25519Key, Signer, sign};
use serde_json::{Value, json};

/// A server with V1, which its signers allow on beta.
fn published() -> (FakeServer, Workshop) {
    let server = FakeServer::start();
    let workshop = Workshop::with_model(&server);
    workshop.ok(&PUBLISH);
    (server, workshop)
}

/// Everything that the server serves, as a folder in the workshop.
fn copy(server: &FakeServer, workshop: &Workshop, folder: &str) {
    let repository = server.repository();
    for (name, bytes) in &repository.metadata {
        workshop.write(&format!("{folder}/metadata/{name}"), bytes);
    }
    for (name, bytes) in &repository.targets() {
        workshop.write(&format!("{folder}/{name}"), bytes);
    }
}

/// Changes a target in the folder: the one whose stored name ends so.
fn bend(server: &FakeServer, workshop: &Workshop, folder: &str, end: &str, change: impl Fn(&mut Vec<u8>)) {
    let served = server.repository().targets();
    let (name, bytes) = served.iter().find(|(name, _)| name.ends_with(end)).unwrap();
    let mut bytes = bytes.clone();
    change(&mut bytes);
    workshop.write(&format!("{folder}/{name}"), &bytes);
}

/// Checks the places, and holds every problem found against what must be found, each by how it begins and what it says.
fn assert_finds(workshop: &Workshop, arguments: &[&str], problems: &[&str]) {
    let checked = workshop.run(&[&["repo", "check", "--json"], arguments].concat());
    assert_eq!(
        checked.code,
        i32::from(!problems.is_empty()),
        "{}",
        checked.stderr
    );
    let reports: Vec<Value> = serde_json::from_str(&checked.stdout).unwrap();
    let found: Vec<&str> = (reports.iter())
        .flat_map(|report| report["problems"].as_array().unwrap())
        .map(|problem| problem.as_str().unwrap())
        .collect();
    assert_eq!(found, problems);
}

#[test]
fn a_sound_repository_has_no_problems() {
    let (server, workshop) = published();
    copy(&server, &workshop, "copy");
    let address = format!("{}/repo", server.address());
    for place in [
        [].as_slice(),
        &["copy"],
        &[&address, "--full"],
        &[&address, "copy"],
    ] {
        assert_finds(&workshop, place, &[]);
    }
    let said = workshop.ok(&["repo", "check", "copy"]).stdout;
    assert!(said.contains("2 files are named and were checked"), "{said}");
    for role in [
        "root",
        "timestamp",
        "snapshot",
        "targets",
        "builds.rubik",
        "deltas.rubik",
        "rollouts.rubik",
    ] {
        assert!(said.contains(role), "{role} in {said}");
    }
    fs::rename(workshop.path("millet.toml"), workshop.path("elsewhere.toml")).unwrap();
    workshop.refused(&["repo", "check", "copy"], &["--root"]);
    workshop.ok(&["repo", "check", "copy", "--root", ".millet/1.root.json"]);
    workshop.refused(
        &["repo", "check", "images", "--root", ".millet/1.root.json"],
        &["images is neither an address nor a folder with metadata/ in it"],
    );
}

#[test]
fn a_payload_that_is_not_the_signed_one() {
    let (server, workshop) = published();
    copy(&server, &workshop, "copy");
    let change = |change: fn(&mut Vec<u8>)| bend(&server, &workshop, "copy", ".payload", change);
    change(|bytes| *bytes.last_mut().unwrap() ^= 1);
    let other = "rubik/builds/V1.payload: is not the file that was signed";
    assert_finds(&workshop, &["copy"], &[other]);
    change(|bytes| bytes[40] ^= 1);
    let head = "rubik/builds/V1.payload: its head is not the one that was signed";
    assert_finds(&workshop, &["copy"], &[head]);
    change(|bytes| bytes.push(0));
    assert_finds(&workshop, &["copy"], &[other]);

    // Over the network whole payloads are only read when that is asked for.
    let address = format!("{}/repo", server.address());
    let payload = |change: fn(&mut Vec<u8>)| {
        let mut repository = server.repository();
        let blob = repository
            .blobs
            .values_mut()
            .find(|blob| blob.starts_with(b"CrAU"));
        change(blob.unwrap());
    };
    payload(|bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_finds(&workshop, &[&address], &[]);
    assert_finds(&workshop, &[&address, "--full"], &[other]);
    payload(|bytes| bytes.push(0));
    let checked = workshop.run(&["repo", "check", &address]);
    assert!(
        checked.stdout.contains("bytes and not the signed"),
        "{}",
        checked.stdout
    );
    assert_eq!(checked.code, 1);
}

#[test]
fn what_is_missing_and_what_nobody_names() {
    let (server, workshop) = published();
    copy(&server, &workshop, "copy");
    workshop.write("copy/targets/rubik/builds/left.payload", b"over");
    assert_finds(
        &workshop,
        &["copy"],
        &["targets/rubik/builds/left.payload: no role names it"],
    );
    fs::remove_dir_all(workshop.path("copy/targets")).unwrap();
    let nameless = "rubik/builds/V1.payload: no manifest of a build names it";
    assert_finds(
        &workshop,
        &["copy"],
        &["rubik/builds/V1.json: is not there", nameless],
    );
    copy(&server, &workshop, "copy");
    bend(&server, &workshop, "copy", ".json", |bytes| bytes.push(b' '));
    assert_finds(
        &workshop,
        &["copy"],
        &["rubik/builds/V1.json: is not the file that was signed", nameless],
    );
}

#[test]
fn metadata_that_no_device_would_trust() {
    let (server, workshop) = published();
    copy(&server, &workshop, "copy");
    let timestamp = server.repository().metadata["timestamp.json"].clone();
    let bent = String::from_utf8(timestamp).unwrap().replace("2099", "2098");
    workshop.write("copy/metadata/timestamp.json", bent.as_bytes());
    assert_finds(
        &workshop,
        &["copy"],
        &["devices trust nothing here: the timestamp metadata has 0 valid signatures of the 1 that it needs"],
    );
}

#[test]
fn what_ends_soon() {
    let (server, workshop) = published();
    #[expect(
        clippy::disallowed_methods,
        reason = "what is checked is held against the machine's clock"
    )]
    let soon = Timestamp::now() + SignedDuration::from_mins(90);
    server.repository().sign_timestamp(soon);
    assert_finds(&workshop, &[], &["timestamp expires in 1 h"]);
    server
        .repository()
        .sign_timestamp("2099-01-01T00:00:00Z".parse().unwrap());
    assert_finds(&workshop, &["--warn-days", "59"], &[]);
    let found = workshop.run(&["repo", "check", "--warn-days", "61"]);
    assert!(
        found.stdout.contains("builds.rubik expires in"),
        "{}",
        found.stdout
    );
    assert!(!found.stdout.contains("root expires in"), "{}", found.stdout);
    assert_eq!(found.code, 1);
}

#[test]
fn mirrors_that_disagree() {
    let (server, workshop) = published();
    let address = format!("{}/repo", server.address());
    copy(&server, &workshop, "mirror");
    let longer = "2099-02-01T00:00:00Z".parse().unwrap();
    server.repository().sign_timestamp(longer);
    assert_finds(
        &workshop,
        &[&address, "mirror"],
        &[&format!("timestamp 3 is another file than at {address}")],
    );
    server.repository().name_targets("deltas.rubik", BTreeMap::new());
    assert_finds(
        &workshop,
        &[&address, "mirror"],
        &[
            &format!("timestamp is at version 3, and at {address} at 4"),
            &format!("snapshot is at version 3, and at {address} at 4"),
            &format!("deltas.rubik is at version 1, and at {address} at 2"),
        ],
    );
}

#[test]
fn files_in_the_list_of_models_are_looked_at_too() {
    let (server, workshop) = published();
    let file = TargetFile::of(b"over");
    let signers = ["targets1", "targets2"].map(|name| {
        let pem = fs::read_to_string(workshop.path(&format!("keys/{name}.key"))).unwrap();
        Ed25519Key::from_pkcs8_pem(&pem).unwrap()
    });
    let mut repository = server.repository();
    repository
        .blobs
        .insert(file.sha256().unwrap().to_string(), b"over".to_vec());
    let envelope: Value = serde_json::from_slice(&repository.metadata["2.targets.json"]).unwrap();
    let targets: Targets = serde_json::from_value(envelope["signed"].clone()).unwrap();
    let mut targets = targets.next("2098-01-01T00:00:00Z".parse().unwrap());
    targets.targets.insert("rubik/notes.txt".to_owned(), file);
    let signers: Vec<&dyn Signer> = signers.iter().map(|key| key as &dyn Signer).collect();
    let signed = String::from_utf8(sign(&targets, &signers).unwrap()).unwrap();
    let metadata = BTreeMap::from([("targets".to_owned(), signed)]);
    repository.publish(&Publication { metadata }).unwrap();
    drop(repository);
    copy(&server, &workshop, "mirror");
    assert_finds(
        &workshop,
        &["mirror"],
        &["rubik/notes.txt: stands in the list of models, which should name no files"],
    );
}

#[test]
fn online_roles_that_name_what_no_device_takes() {
    let (server, workshop) = published();
    let manifest = server.repository().targets();
    let (_, manifest) = manifest.iter().find(|(name, _)| name.ends_with(".json")).unwrap();
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let offer = |path: &str, channel: &str, build: &str, sequence: Value| {
        let document = json!({
            "format": 1, "model": "rubik", "channel": channel, "build": build, "sequence": sequence,
            "state": "running", "ramp": [], "stones": [], "polls_seconds": 600,
        });
        let bytes = document.to_string().into_bytes();
        let mut repository = server.repository();
        let file = TargetFile::of(&bytes);
        repository.blobs.insert(file.sha256().unwrap().to_string(), bytes);
        repository.name_targets("rollouts.rubik", BTreeMap::from([(path.to_owned(), file)]));
    };
    let (beta, sequence) = ("rubik/rollouts/beta.json", || manifest["sequence"].clone());
    offer(beta, "beta", "V1", sequence());
    assert_finds(&workshop, &[], &[]);
    offer(beta, "beta", "V2", sequence());
    assert_finds(
        &workshop,
        &[],
        &["rubik/rollouts/beta.json: no manifest is there of V2"],
    );
    offer(beta, "beta", "V1", json!(202_601_001));
    let checked = workshop.run(&["repo", "check"]);
    assert!(
        checked
            .stdout
            .contains("says sequence 202601001 of V1, and its manifest"),
        "{}",
        checked.stdout
    );
    offer("rubik/rollouts/stable.json", "stable", "V1", sequence());
    assert_finds(
        &workshop,
        &[],
        &["rubik/rollouts/stable.json: the signers of V1 do not allow it on stable"],
    );
    offer("cube/rollouts/beta.json", "beta", "V1", sequence());
    assert_finds(
        &workshop,
        &[],
        &["cube/rollouts/beta.json: devices never find it in this role"],
    );
    server
        .repository()
        .name_targets("rollouts.rubik", BTreeMap::new());

    let payload = server.repository().targets();
    let (_, payload) = payload
        .iter()
        .find(|(name, _)| name.ends_with(".payload"))
        .unwrap();
    let delta = |custom: Option<Value>| {
        let file = TargetFile {
            custom,
            ..TargetFile::of(payload)
        };
        let path = "rubik/deltas/V0-V1.payload".to_owned();
        server
            .repository()
            .name_targets("deltas.rubik", BTreeMap::from([(path, file)]));
    };
    delta(None);
    assert_finds(
        &workshop,
        &[],
        &["rubik/deltas/V0-V1.payload: does not say from which build to which"],
    );
    let head = &manifest["payload"];
    delta(Some(json!({
        "from": "V0", "to": "V1",
        "metadata_size": head["metadata_size"], "metadata_sha256": head["metadata_sha256"],
    })));
    assert_finds(
        &workshop,
        &[],
        &["rubik/deltas/V0-V1.payload: no manifest is there of V0"],
    );
}
