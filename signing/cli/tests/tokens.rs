//! Real holders of keys and passphrases: OpenSSL behind the script of the documentation, GnuPG's agent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fake::{FakeServer, Finished, Workshop, noise};

const PUBLISH: [&str; 9] = [
    "publish",
    "--model",
    "rubik",
    "--images",
    "images",
    "--channel",
    "beta",
    "--build",
    "V1",
];

fn tool(program: &str, arguments: &[&str], workshop: &Workshop) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(workshop.path("."))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

fn with_images() -> (FakeServer, Workshop) {
    let server = FakeServer::start();
    let workshop = Workshop::for_server(&server);
    workshop.write("images/system.img", &noise(1, 40 * 4096));
    workshop.ok(&["repo", "init", "--yes"]);
    (server, workshop)
}

fn executable(workshop: &Workshop, name: &str, text: &str) {
    workshop.write(name, text.as_bytes());
    fs::set_permissions(workshop.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
#[ignore = "needs openssl and jq: .ci/install"]
fn the_script_of_the_documentation_signs() {
    let book = include_str!("../../../docs/release-engineer.md");
    let (_, rest) = book.split_once("```sh\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    let (_server, workshop) = with_images();
    executable(&workshop, "signer/openssl-key", script);
    for (round, new) in [
        ["-algorithm", "ed25519"].as_slice(),
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ]
    .into_iter()
    .enumerate()
    {
        let pem = format!("keys/openssl{round}.pem");
        let public = format!("keys/openssl{round}.pub");
        tool(
            "openssl",
            &[["genpkey", "-out", &pem].as_slice(), new].concat(),
            &workshop,
        );
        workshop.ok(&["key", "export-public", &pem, "--out", &public]);
        let keys = "[keys.builds]\nexec = [\"signer/openssl-key\", \"PEM\"]\npublic = \"PUBLIC\"\n\n[root]";
        match round {
            0 => {
                workshop.change_config("file:keys/builds1.key", "exec:builds");
                workshop.change_config("[root]", &keys.replace("PEM", &pem).replace("PUBLIC", &public));
            }
            _ => workshop.change_config("keys/openssl0.", "keys/openssl1."),
        }
        workshop.ok(&["model", "add", "rubik"]);
        workshop.ok(&PUBLISH);
    }
    let promote = [
        "promote",
        "--model",
        "rubik",
        "--build",
        "V1",
        "--channel",
        "stable",
    ];
    workshop.ok(&promote);
}

#[test]
#[ignore = "needs GnuPG: .ci/install"]
fn gpg_agent_asks_forgets_what_is_wrong_and_keeps_what_is_right() {
    let (_server, workshop) = with_images();
    workshop.ok(&["model", "add", "rubik"]);
    let mut recipient = age::scrypt::Recipient::new("friday evening 100%".to_owned().into());
    recipient.set_work_factor(4);
    let key = workshop.path("keys/builds1.key");
    let sealed = age::encrypt_and_armor(&recipient, &fs::read(&key).unwrap()).unwrap();
    fs::write(key, sealed).unwrap();
    workshop.change_config("token =", "passphrase_agent = \"gpg\"\ntoken =");

    // Of the passphrases that this pinentry enters, the first one is wrong.
    executable(
        &workshop,
        "pinentry",
        &r#"#!/bin/sh
echo OK
while read -r command rest; do
    case $command in
        SETDESC | SETERROR) echo "$command $rest" >> LOG ;;
        GETPIN)
            echo GETPIN >> LOG
            [ "$(grep -c GETPIN LOG)" = 1 ] && echo "D friday morning" || echo "D friday evening 100%25" ;;
        BYE) echo OK; exit ;;
    esac
    echo OK
done
"#
        .replace("LOG", workshop.path("log").to_str().unwrap()),
    );
    let home = workshop.path("gnupg");
    let pinentry = workshop.path("pinentry");
    workshop.write(
        "gnupg/gpg-agent.conf",
        format!("pinentry-program {}\n", pinentry.display()).as_bytes(),
    );
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let run = |arguments: &[&str]| {
        let output = workshop
            .command(arguments)
            .env("GNUPGHOME", &home)
            .output()
            .unwrap();
        Finished::of(&output)
    };
    let published = run(&PUBLISH);
    // Another run finds it in the agent.
    let promoted = run(&[
        "promote",
        "--model",
        "rubik",
        "--build",
        "V1",
        "--channel",
        "stable",
    ]);
    let killed = Command::new("gpgconf")
        .args(["--kill", "gpg-agent"])
        .env("GNUPGHOME", &home)
        .status();
    assert!(killed.unwrap().success());
    published.ok();
    promoted.ok();
    let log = fs::read_to_string(workshop.path("log")).unwrap();
    assert_eq!(log.matches("GETPIN").count(), 2, "{log}");
    assert!(
        log.contains("Millet needs the passphrase of the key keys/builds1.key"),
        "{log}"
    );
    assert!(log.contains("SETERROR That is not it"), "{log}");
}
