//! Keys that another program holds.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fake::{FakeServer, Finished, PUBLISH, Workshop};
use millet_signing::{PrivateKey, PublicKey, Signer};

/// A repository whose builds key is held by the program `signer` with this shell script.
fn held_by(script: &str) -> (FakeServer, Workshop) {
    let server = FakeServer::start();
    let workshop = Workshop::with_model(&server);
    workshop.write("bin/signer", format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(workshop.path("bin/signer"), fs::Permissions::from_mode(0o755)).unwrap();
    workshop.change_config("file:keys/builds1.key", "exec:hsm");
    let table = "[keys.hsm]\nexec = [\"bin/signer\", \"two words\"]\npublic = \"keys/builds1.pub\"\ntimeout_seconds = 60\n\n[root]";
    workshop.change_config("[root]", table);
    (server, workshop)
}

/// Leaves the request in a file and waits for the answer in another one.
const RELAY: &str = r#"printf %s "$1" > argument
cat > request.new && mv request.new request
while [ ! -e answer ]; do sleep 0.02; done
cat answer"#;

/// Plays the token behind [`RELAY`]: signs as the request says, and returns the request.
fn sign_when_asked(workshop: &Workshop, running: &JoinHandle<Finished>) -> serde_json::Value {
    let request = loop {
        match fs::read(workshop.path("request")) {
            Ok(bytes) => break bytes,
            Err(error) if running.is_finished() => panic!("nobody asked: {error}"),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    };
    let request: serde_json::Value = serde_json::from_slice(&request).unwrap();
    let pem = fs::read_to_string(workshop.path("keys/builds1.key")).unwrap();
    let key = PrivateKey::from_pkcs8_pem(&pem).unwrap();
    let message = BASE64.decode(request["message"].as_str().unwrap()).unwrap();
    let signature = BASE64.encode(key.sign(&message).unwrap());
    workshop.write("answer.new", format!("{signature}\n").as_bytes());
    fs::rename(workshop.path("answer.new"), workshop.path("answer")).unwrap();
    request
}

#[test]
fn a_program_signs() {
    let (server, workshop) = held_by(RELAY);
    let mut command = workshop.command(&PUBLISH);
    let running = std::thread::spawn(move || Finished::of(&command.output().unwrap()));
    let request = sign_when_asked(&workshop, &running);
    running.join().unwrap().ok();
    let public: PublicKey =
        serde_json::from_slice(&fs::read(workshop.path("keys/builds1.pub")).unwrap()).unwrap();
    assert_eq!(request["format"], 1);
    assert_eq!(request["key"], "hsm");
    assert_eq!(request["keyid"], public.id().as_str());
    assert_eq!(request["scheme"], "ed25519");
    assert_eq!(request["role"], "builds.rubik");
    assert_eq!(request.as_object().unwrap().len(), 6);
    // One argument, spaces and all: there is no shell in between.
    assert_eq!(
        fs::read_to_string(workshop.path("argument")).unwrap(),
        "two words"
    );
    assert!(
        server
            .repository()
            .metadata
            .keys()
            .any(|name| name.contains("builds.rubik"))
    );
    let shown = workshop.ok(&["key", "show", "exec:hsm"]).stdout;
    assert!(
        shown.contains("in another program") && shown.contains("builds.rubik"),
        "{shown}"
    );
}

#[test]
fn what_is_not_a_signature_is_not_used() {
    let (server, workshop) = held_by("cat answer");
    let blobs = server.repository().blobs.len();
    let other = BASE64.encode([7; 64]);
    for (answer, words) in [
        (other.as_str(), "is not a signature of the key"),
        ("", "is not a signature of the key"),
        ("not base64!", "is not base64"),
    ] {
        workshop.write("answer", answer.as_bytes());
        workshop.refused(&PUBLISH, &["exec:hsm", words]);
    }
    workshop.write("answer", &[b'A'; 1 << 20]);
    workshop.refused(&PUBLISH, &["exec:hsm"]);
    assert_eq!(server.repository().blobs.len(), blobs);
}

#[test]
fn what_a_program_says_is_passed_on() {
    let (_server, workshop) = held_by("printf 'no token\\033[2J here\\n' >&2; exit 3");
    workshop.refused(
        &PUBLISH,
        &["hsm: no token[2J here", "signer ended with exit status: 3"],
    );
    let (_server, workshop) = held_by("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");
    let finished = workshop.run(&PUBLISH);
    finished.refused(&["exit status: 3"]);
    assert!(finished.stderr.len() < 20_000, "{}", finished.stderr.len());
}

#[test]
fn a_program_has_its_time_and_people_are_told_what_it_may_wait_for() {
    // `exec`: what is killed is what sleeps.
    let (_server, workshop) = held_by("exec sleep 600");
    workshop.change_config("timeout_seconds = 60", "timeout_seconds = 5");
    workshop.refused(
        &PUBLISH,
        &[
            "waiting for exec:hsm: does its token wait for a touch?",
            "did not sign within 5 s",
            "timeout_seconds",
        ],
    );
}

#[test]
fn a_program_that_is_not_here_is_elsewhere() {
    let (_server, workshop) = held_by("exit 0");
    fs::remove_file(workshop.path("bin/signer")).unwrap();
    workshop.refused(
        &PUBLISH,
        &[
            "builds.rubik needs 1 signatures",
            "not here: exec:hsm",
            "millet sign",
        ],
    );
    workshop.change_config("bin/signer", "a-program-that-nobody-has");
    workshop.refused(&PUBLISH, &["cannot run a-program-that-nobody-has"]);
}

#[test]
fn a_table_that_cannot_work_is_named_where_it_stands() {
    let (_server, workshop) = held_by("exit 0");
    workshop.change_config("exec:hsm", "exec:hms");
    workshop.refused(&PUBLISH, &["millet.toml:", "there is no [keys.hms]"]);
    workshop.change_config("exec:hms", "exec:hsm");
    workshop.change_config("exec = [\"bin/signer\", \"two words\"]", "exec = []");
    workshop.refused(&PUBLISH, &["millet.toml:", "[keys.hsm] names no program"]);
    workshop.change_config("exec = []", "exec = [\"bin/signer\"]");
    workshop.change_config("timeout_seconds = 60", "timeout_seconds = 0");
    workshop.refused(&PUBLISH, &["millet.toml:", "timeout_seconds"]);
}
