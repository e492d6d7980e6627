//! From the first key to a promoted build, with a server that works and one that lies.

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fake::{FakeServer, OTHER_KEYS, PROMOTE, PUBLISH, Workshop, noise};
use serde_json::Value;

fn with_model() -> (FakeServer, Workshop) {
    let server = FakeServer::start();
    let workshop = Workshop::with_model(&server);
    (server, workshop)
}

fn publish<'a>(build: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&PUBLISH[..8], [build].as_slice(), more].concat()
}

#[test]
fn a_build_is_published_then_promoted() {
    let (server, workshop) = with_model();
    let first_root = fs::read(workshop.path(".millet/1.root.json")).unwrap();
    let published = workshop.ok(&publish(
        "V1",
        &[
            "--json",
            "--entry",
            "dark=Dark mode: At night.",
            "--notes",
            "Hello.",
        ],
    ));
    let lines: Value = serde_json::from_str(&published.stdout).unwrap();
    assert_eq!(lines[0]["build"], "V1");
    let first = lines[0]["sequence"].as_u64().unwrap();
    assert_eq!(first % 1_000, 1);
    assert!(
        published
            .stderr
            .contains("next: millet rollout start --model rubik --channel beta --build V1")
    );

    workshop.write("images/system.img", &noise(2, 40 * 4096));
    let second = workshop.ok(&publish("V2", &["--json"]));
    let second: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(second[0]["sequence"], first + 1);

    workshop.refused(
        &[
            "rollout",
            "start",
            "--model",
            "rubik",
            "--channel",
            "stable",
            "--build",
            "V2",
        ],
        &["do not allow it on stable", "millet promote"],
    );
    let promote = [&PROMOTE[..6], &["V2"]].concat();
    let promoted = workshop.ok(&promote);
    assert_eq!(promoted.stdout.trim(), "rubik V2: beta, stable");
    let again = workshop.ok(&promote);
    assert!(again.stderr.contains("allowed there already"), "{}", again.stderr);
    // Devices on stable run V2, so the older V1 cannot follow.
    workshop.refused(&PROMOTE, &["does not grow on stable"]);
    workshop.ok(&[
        "rollout",
        "start",
        "--model",
        "rubik",
        "--channel",
        "stable",
        "--over",
        "7d",
    ]);
    let (path, message) = server.repository().rollouts.last().unwrap().clone();
    assert_eq!(path, "/api/v1/models/rubik/channels/stable/rollout");
    assert_eq!(
        message,
        serde_json::json!({"build": "V2", "over_seconds": 604_800})
    );
    assert_eq!(
        fs::read(workshop.path(".millet/1.root.json")).unwrap(),
        first_root
    );
}

#[test]
fn what_cannot_be_published_is_refused_before_anything_leaves() {
    let (server, workshop) = with_model();
    workshop.ok(&publish("V1", &[]));
    let blobs = server.repository().blobs.len();
    // The same command with the same images is done already; with others, the name is taken.
    workshop.ok(&publish("V1", &[]));
    assert_eq!(server.repository().blobs.len(), blobs);
    workshop.refused(
        &publish("V1", &["--sequence", "202601001"]),
        &["and not 202601001"],
    );
    for (option, value) in [
        ("--floor", "202601001"),
        ("--requires", "202601001"),
        ("--data-epoch", "7"),
        ("--security-patch", "2020-01-01"),
    ] {
        let another = format!("another {option}: a name is used once");
        workshop.refused(&publish("V1", &[option, value]), &[&another]);
    }
    workshop.refused(
        &publish("V1", &["--channel", "stable"]),
        &["millet promote --model rubik --build V1 --channel stable"],
    );
    workshop.refused(&publish("V1", &["--notes", "Warmer evenings."]), &["other notes"]);
    workshop.refused(
        &publish("V1", &["--notes", "nots.md"]),
        &["there is no file nots.md"],
    );
    workshop.write("images/system.img", &noise(9, 40 * 4096));
    workshop.refused(
        &publish("V1", &[]),
        &[
            "rubik V1 cannot be published",
            "V1 is published already",
            "another system",
            "a name is used once",
        ],
    );
    workshop.refused(
        &publish("V2", &["--sequence", "202601001"]),
        &["does not grow on beta: V1 has"],
    );
    workshop.refused(
        &publish("V2", &["--data-epoch", "0"]),
        &["data epoch 0 is below V1's 1"],
    );
    workshop.refused(&publish("V2", &["--floor", "999999001"]), &["--floor is above"]);
    workshop.write("images/vendor.img", &noise(3, 4096));
    workshop.refused(&publish("V2", &[]), &["vendor is new", "--partitions-changed"]);
    workshop.write("images/vendor.img", &noise(3, 4095));
    workshop.refused(
        &publish("V2", &["--partitions-changed"]),
        &["images/vendor.img has 4095 bytes", "--pad"],
    );
    assert_eq!(server.repository().blobs.len(), blobs);
    assert_eq!(
        workshop
            .run(&["publish", "--build", "V2", "--channel", "beta"])
            .code,
        2
    );
    assert_eq!(
        workshop
            .run(&["publish", "--all", "--build", "V2", "--channel", "beta"])
            .code,
        2
    );
    workshop.refused(
        &["publish", "--model", "cube", "--build", "V2", "--channel", "beta"],
        &["no [models.cube]"],
    );
}

#[test]
fn whoever_signs_reads_all_of_it() {
    let (_server, workshop) = with_model();
    let notes = format!("{}the last word", "Warmer evenings.\n".repeat(100));
    workshop.ok(&publish("V1", &["--notes", &notes, "--request", "week.json"]));
    let shown = workshop.ok(&["sign", "show", "week.json"]);
    let said = format!("{}{}", shown.stdout, shown.stderr);
    assert!(said.contains("the last word"), "{said}");
}

#[test]
fn scripts_hear_what_a_request_promotes() {
    let (_server, workshop) = with_model();
    workshop.ok(&publish("V1", &[]));
    let asked = workshop.ok(&[&PROMOTE[..], &["--request", "stable.json", "--json"]].concat());
    let lines: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(lines[0]["build"], "V1");
}

#[test]
fn a_dry_run_uploads_nothing() {
    let (server, workshop) = with_model();
    let dry = workshop.ok(&publish("V1", &["--dry-run", "--json"]));
    assert!(dry.stdout.contains("\"published\": false"), "{}", dry.stdout);
    assert!(server.repository().blobs.is_empty());
    assert!(!server.repository().metadata.contains_key("2.builds.rubik.json"));
    workshop.ok(&publish("V1", &[]));
}

#[test]
fn setting_up_can_be_repeated() {
    let (server, workshop) = with_model();
    let metadata = server.repository().metadata.clone();
    let again = workshop.ok(&["repo", "init", "--yes"]);
    assert!(
        again.stderr.contains("already has this repository"),
        "{}",
        again.stderr
    );
    let again = workshop.ok(&["model", "add", "rubik"]);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    assert_eq!(server.repository().metadata, metadata);
    // New keys for the model: the same builds, signed anew.
    workshop.ok(&publish("V1", &[]));
    workshop.ok(&["key", "new", "builds2", "--out", "keys", "--no-passphrase"]);
    workshop.change_config("builds1", "builds2");
    workshop.refused(
        &publish("V2", &[]),
        &["not the keys that the repository trusts", "millet sign request"],
    );
    // Whoever signs V1 with other keys sees it first.
    workshop.refused(
        &["model", "add", "rubik"],
        &["rubik has builds", "millet sign request --out FILE"],
    );
    let [request, sign, import] = OTHER_KEYS;
    let asked = workshop.ok(request);
    assert!(asked.stderr.contains("stays: rubik V1 "), "{}", asked.stderr);
    workshop.ok(sign);
    workshop.ok(import);
    workshop.ok(&publish("V2", &[]));
}

#[test]
fn nobody_is_trusted_without_being_asked() {
    let server = FakeServer::start();
    let workshop = Workshop::for_server(&server);
    workshop.refused(&["repo", "init"], &["Are they equal?", "--yes"]);
    assert!(!workshop.path(".millet/1.root.json").exists());
    assert!(server.repository().metadata.is_empty());
    workshop.refused(
        &["model", "add", "rubik"],
        &["no trusted root", "millet repo init"],
    );
}

#[test]
fn keys_and_token_that_others_can_read_are_refused() {
    let (_server, workshop) = with_model();
    let open = |name: &str, mode| {
        fs::set_permissions(workshop.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("publish.token", 0o644);
    workshop.refused(&publish("V1", &[]), &["publish.token", "mode 644", "chmod 600"]);
    open("publish.token", 0o600);
    open("keys/builds1.key", 0o640);
    workshop.refused(&publish("V1", &[]), &["keys/builds1.key", "mode 640"]);
    open("keys/builds1.key", 0o600);
    workshop.write("publish.token", b"another");
    workshop.refused(&publish("V1", &[]), &["token"]);
}

#[test]
fn a_key_elsewhere_is_listed_and_cannot_sign() {
    let server = FakeServer::start();
    let workshop = Workshop::for_server(&server);
    // Two of the three root keys are enough, and only the public half of the third is here.
    fs::remove_file(workshop.path("keys/root3.key")).unwrap();
    workshop.ok(&["repo", "init", "--yes"]);
    fs::remove_file(workshop.path("keys/targets2.key")).unwrap();
    workshop.refused(
        &["model", "add", "rubik"],
        &["targets needs 2 signatures", "keys/targets2.key"],
    );
}

#[test]
fn a_server_that_lies_is_not_believed() {
    let (server, workshop) = with_model();
    workshop.ok(&publish("V1", &[]));
    let honest = server.repository().metadata.clone();
    let set = |name: &str, bytes: Vec<u8>| server.repository().metadata.insert(name.to_owned(), bytes);
    let text = |name: &str| String::from_utf8(honest[name].clone()).unwrap();

    set(
        "timestamp.json",
        text("timestamp.json")
            .replace("\"version\":3", "\"version\":9")
            .into_bytes(),
    );
    workshop.refused(
        &publish("V2", &[]),
        &["is not trusted", "timestamp metadata has 0 valid signatures"],
    );
    set("timestamp.json", honest["timestamp.json"].clone());
    server.repository().metadata.remove("timestamp.json");
    workshop.refused(&publish("V2", &[]), &["does not have timestamp.json"]);
    set("timestamp.json", honest["timestamp.json"].clone());
    set("2.root.json", honest["1.root.json"].clone());
    workshop.refused(
        &publish("V2", &[]),
        &["root metadata is version 1 where version 2 belongs"],
    );
    server.repository().metadata.remove("2.root.json");
    // A manifest that is not the one that was signed.
    let mut other = server.repository();
    for blob in other.blobs.values_mut().filter(|blob| blob.starts_with(b"{")) {
        let end = blob.len() - 3;
        blob[end] = b' ';
    }
    drop(other);
    workshop.refused(
        &publish("V2", &[]),
        &["rubik/builds/V1.json is not the file that signed metadata names"],
    );
}

#[test]
fn what_the_server_refuses_is_shown_in_its_words() {
    let (server, workshop) = with_model();
    let payload_was_lost =
        |server: &FakeServer| server.repository().blobs.retain(|_, blob| blob.starts_with(b"{"));
    workshop.ok(&publish("V1", &[]));
    payload_was_lost(&server);
    workshop.write("images/system.img", &noise(5, 40 * 4096));
    workshop.refused(
        &publish("V2", &[]),
        &["the publication is refused: rubik/builds/V1.payload was not uploaded"],
    );
}

#[test]
fn a_repository_that_begins_anew_forgets_the_old_one() {
    let old = FakeServer::start();
    let workshop = Workshop::with_model(&old);
    workshop.ok(&PUBLISH);
    let new = FakeServer::start();
    workshop.change_config(&old.address(), &new.address());
    workshop.refused(&PUBLISH, &["is not trusted"]);
    fs::remove_file(workshop.path(".millet/1.root.json")).unwrap();
    workshop.ok(&["repo", "init", "--yes"]);
    workshop.ok(&["model", "add", "rubik"]);
    workshop.ok(&PUBLISH);
}

#[test]
fn names_in_a_request_do_not_write_on_the_terminal() {
    let server = FakeServer::start();
    let workshop = Workshop::with_model(&server);
    workshop.ok(&[&PUBLISH[..], &["--request", "week.json"]].concat());
    let show = ["sign", "show", "week.json", "--json"];
    let before: Value = serde_json::from_str(&workshop.ok(&show).stdout).unwrap();
    // An identifier is free text, and what a co-signer sends back may hold anything.
    let mut request: Value = serde_json::from_slice(&fs::read(workshop.path("week.json")).unwrap()).unwrap();
    let asked = request["asked"]["builds.rubik"].as_str().unwrap();
    let mut builds: Value = serde_json::from_str(asked).unwrap();
    builds["signatures"] = serde_json::json!([
        {"keyid": "1234567é\u{1b}[9A\u{1b}[J", "sig": "00"},
        {"keyid": "1234567é\u{1b}[9A\u{1b}[J", "sig": "00"},
    ]);
    request["asked"]["builds.rubik"] = builds.to_string().into();
    workshop.write("week.json", request.to_string().as_bytes());
    let refused = workshop.run(&["sign", "show", "week.json"]);
    assert!(
        refused.stderr.contains("the signature of 1234567é"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains('\u{1b}'), "{}", refused.stderr);
    assert_eq!(before["complete"], false);

    // Nor is one that is not there, when it was named; without any, a request can be read.
    workshop.refused(
        &["sign", "show", "week.json", "--config", "milet.toml"],
        &["cannot read milet.toml"],
    );
    // A millet.toml with a mistake in it is not taken for none.
    workshop.change_config("threshold = 2", "treshold = 2");
    workshop.refused(&["sign", "show", "week.json"], &["millet.toml:", "treshold"]);
}
