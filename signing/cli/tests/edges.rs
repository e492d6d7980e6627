//! Keys, configuration and command lines: what needs no server.

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fake::Workshop;
use millet_signing::{Ed25519Key, PublicKey, Signer};

#[test]
fn a_new_key_is_private_and_never_overwritten() {
    let workshop = Workshop::empty();
    let made = workshop.ok(&["key", "new", "root1", "--out", "keys", "--no-passphrase"]);
    assert!(
        made.stdout.starts_with("file:keys/root1.key  "),
        "{}",
        made.stdout
    );
    assert!(made.stderr.contains("next: "), "{}", made.stderr);
    let private = workshop.path("keys/root1.key");
    assert_eq!(
        fs::metadata(&private).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let key = Ed25519Key::from_pkcs8_pem(&fs::read_to_string(&private).unwrap()).unwrap();
    let public: PublicKey =
        serde_json::from_slice(&fs::read(workshop.path("keys/root1.pub")).unwrap()).unwrap();
    assert_eq!(*key.public_key(), public);
    assert!(made.stdout.contains(public.id().as_str()));

    let before = fs::read(&private).unwrap();
    workshop.refused(
        &["key", "new", "root1", "--out", "keys", "--no-passphrase"],
        &["keys/root1.key", "never overwritten"],
    );
    assert_eq!(fs::read(&private).unwrap(), before);
    fs::remove_file(&private).unwrap();
    workshop.refused(
        &["key", "new", "root1", "--out", "keys", "--no-passphrase"],
        &["keys/root1.pub"],
    );
    assert!(!private.exists());
    workshop.ok(&["key", "new", "root2", "--out", "keys", "--no-passphrase"]);
    let other = fs::read_to_string(workshop.path("keys/root2.key")).unwrap();
    let other = Ed25519Key::from_pkcs8_pem(&other).unwrap();
    assert_ne!(other.public_key(), &public);
}

#[test]
fn exit_codes_tell_a_wrong_command_line_from_a_failure() {
    let workshop = Workshop::empty();
    assert_eq!(workshop.run(&["--help"]).code, 0);
    assert_eq!(workshop.run(&["--version"]).code, 0);
    assert_eq!(workshop.run(&[]).code, 2);
    assert_eq!(workshop.run(&["key", "old"]).code, 2);
    assert_eq!(workshop.run(&["key", "new", "../root"]).code, 2);
    assert_eq!(
        workshop
            .run(&["publish", "--build", "V-1", "--all", "--channel", "beta"])
            .code,
        2
    );
    assert_eq!(
        workshop
            .run(&[
                "rollout",
                "start",
                "--model",
                "rubik",
                "--channel",
                "beta",
                "--over",
                "1y"
            ])
            .code,
        2
    );
    assert_eq!(workshop.run(&["payload", "inspect", "none"]).code, 1);
    assert_eq!(workshop.run(&["repo", "init"]).code, 1);
}

#[test]
fn a_fault_in_the_configuration_is_named_with_line_and_column() {
    let workshop = Workshop::empty();
    workshop.refused(&["repo", "init"], &["cannot read millet.toml"]);
    workshop.write("millet.toml", b"server = \"http://127.0.0.1:1\"\ntokn = \"x\"\n");
    workshop.refused(&["repo", "init"], &["millet.toml:2:1: unknown field `tokn`"]);
    workshop.write("other.toml", b"server = \n");
    workshop.refused(
        &["repo", "init", "--config", "other.toml"],
        &["other.toml:1:10: "],
    );
}

#[test]
fn an_error_is_printed_once() {
    let workshop = Workshop::empty();
    let finished = workshop.run(&["payload", "inspect", "none"]);
    assert_eq!(
        finished.stderr.matches("No such file").count(),
        1,
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.starts_with("error: cannot open none\n"),
        "{}",
        finished.stderr
    );
}
