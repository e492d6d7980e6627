//! Real holders of keys and passphrases: OpenSSL behind the script of the documentation, GnuPG's agent, SoftHSM's tokens.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fake::{FakeServer, Finished, NEW_MODEL, OTHER_KEYS, PROMOTE, PUBLISH, Workshop, noise};

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
    for (round, (new, trusted)) in [
        (["-algorithm", "ed25519"].as_slice(), NEW_MODEL.as_slice()),
        (
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            &OTHER_KEYS,
        ),
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
        for command in trusted {
            workshop.ok(command);
        }
        workshop.ok(&PUBLISH);
    }
    workshop.ok(&PROMOTE);
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
    let promoted = run(&PROMOTE);
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

#[cfg(feature = "pkcs11")]
mod softhsm {
    use std::path::{Path, PathBuf};
    use std::process::Stdio;

    use super::*;

    const PIN: &str = "123456";
    const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
    const TOKEN: &str = "pkcs11:token=Release%20keys";

    /// A workshop that makes its builds with a key on a token.
    struct Token {
        workshop: Workshop,
        configuration: PathBuf,
        _server: FakeServer,
    }

    impl Token {
        /// With an ed25519 key `builds`, 01, and a P-256 key `builds`, 02.
        fn new() -> Self {
            let (server, workshop) = with_images();
            let tokens = workshop.path("tokens");
            fs::create_dir(&tokens).unwrap();
            let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
            workshop.write("softhsm.conf", text.as_bytes());
            let token = Self {
                configuration: workshop.path("softhsm.conf"),
                workshop,
                _server: server,
            };
            let init = [
                "--init-token",
                "--free",
                "--label",
                "Release keys",
                "--so-pin",
                "12345678",
                "--pin",
                PIN,
            ];
            token.tool("softhsm2-util", &init);
            for (kind, id) in [("EC:edwards25519", "01"), ("EC:prime256v1", "02")] {
                let new = [
                    "--keypairgen",
                    "--key-type",
                    kind,
                    "--label",
                    "builds",
                    "--id",
                    id,
                ];
                let login = [
                    "--module",
                    MODULE,
                    "--token-label",
                    "Release keys",
                    "--login",
                    "--pin",
                    PIN,
                ];
                token.tool("pkcs11-tool", &[login.as_slice(), &new].concat());
            }
            token.workshop.write("pin", format!("{PIN}\n").as_bytes());
            fs::set_permissions(token.workshop.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
            token
        }

        fn tool(&self, program: &str, arguments: &[&str]) {
            let output = Command::new(program)
                .args(arguments)
                .env("SOFTHSM2_CONF", &self.configuration)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }

        fn run(&self, arguments: &[&str]) -> Finished {
            self.run_with(&self.configuration, arguments, Stdio::null())
        }

        fn run_with(&self, configuration: &Path, arguments: &[&str], stdin: Stdio) -> Finished {
            let output = self
                .workshop
                .command(arguments)
                .env("SOFTHSM2_CONF", configuration)
                .stdin(stdin)
                .output()
                .unwrap();
            Finished::of(&output)
        }

        /// With these lines on file descriptor 0.
        fn with_lines(&self, lines: &str, arguments: &[&str]) -> Finished {
            self.workshop.write("lines", lines.as_bytes());
            let lines = fs::File::open(self.workshop.path("lines")).unwrap();
            self.run_with(
                &self.configuration,
                &[arguments, &["--passphrase-fd", "0"]].concat(),
                lines.into(),
            )
        }
    }

    #[test]
    #[ignore = "needs SoftHSM and OpenSC: .ci/install"]
    fn both_kinds_of_keys_sign() {
        let token = Token::new();
        let mut before = "file:keys/builds1.key".to_owned();
        for (id, trusted) in [("%01", NEW_MODEL.as_slice()), ("%02", &OTHER_KEYS)] {
            let uri = format!("{TOKEN};object=builds;id={id}?module-path={MODULE}&pin-source=pin");
            token.workshop.change_config(&before, &uri);
            for command in trusted {
                token.run(command).ok();
            }
            token.run(&PUBLISH).ok();
            let shown = token.run(&["key", "show", &uri]).ok().stdout;
            assert!(
                shown.contains("on a token") && shown.contains("builds.rubik"),
                "{shown}"
            );
            before = uri;
        }
        token.run(&PROMOTE).ok();
        let open =
            |mode| fs::set_permissions(token.workshop.path("pin"), fs::Permissions::from_mode(mode)).unwrap();
        open(0o644);
        token.workshop.write("images/system.img", &noise(2, 40 * 4096));
        token
            .run(&[&PUBLISH[..8], &["V2"]].concat())
            .refused(&["others can read", "pin", "chmod 600"]);
    }

    #[test]
    #[ignore = "needs SoftHSM and OpenSC: .ci/install"]
    fn a_pin_is_asked_for_once_and_never_tried_twice() {
        let token = Token::new();
        let uri = format!("{TOKEN};id=%01?module-path={MODULE}");
        // The public half needs no PIN.
        token
            .run(&["key", "export-public", &uri, "--out", "keys/token.pub"])
            .ok();
        token.workshop.change_config("file:keys/builds1.key", &uri);
        token
            .with_lines(&format!("{PIN}\n"), &["model", "add", "rubik"])
            .ok();
        token
            .run(&PUBLISH)
            .refused(&["nobody is there to ask", "pin-source"]);
        token
            .with_lines(&format!("654321\n{PIN}\n"), &PUBLISH)
            .refused(&["Release keys does not take this PIN"]);
        token.with_lines("", &PUBLISH).refused(&["has no further line"]);
        token.with_lines(&format!("{PIN}\n654321\n"), &PUBLISH).ok();
    }

    #[test]
    #[ignore = "needs SoftHSM and OpenSC: .ci/install"]
    fn what_a_uri_names_must_be_one_key_on_one_token() {
        let token = Token::new();
        let show = |uri: &str| token.run(&["key", "show", &format!("{uri}?module-path={MODULE}")]);
        show(&format!("{TOKEN};object=builds"))
            .refused(&["2 such public keys", "name the one by its id too"]);
        show(&format!("{TOKEN};object=root")).refused(&["no such public key", "public=FILE"]);
        show("pkcs11:token=Other;object=builds").refused(&["no such token is here", "public=FILE"]);
        token
            .run(&["key", "show", "pkcs11:id=%01?module-path=/no/such/module.so"])
            .refused(&["no such token is here"]);
        token.workshop.write("broken.so", b"not a library");
        token
            .run(&["key", "show", "pkcs11:id=%01?module-path=broken.so"])
            .refused(&["cannot use the library broken.so"]);
        let with_pin = format!("{TOKEN};id=%01?module-path={MODULE}&pin-value={PIN}");
        let refused = token.run(&["key", "show", &with_pin]);
        refused.refused(&["a PIN has no place in a URI", "pin-source"]);
        assert!(!refused.stderr.contains(PIN), "{}", refused.stderr);

        // On a colleague's machine, without the token, the key is elsewhere.
        let uri = format!("{TOKEN};id=%01?module-path={MODULE}&public=keys/token.pub");
        let here = format!("{TOKEN};id=%01?module-path={MODULE}");
        token
            .run(&["key", "export-public", &here, "--out", "keys/token.pub"])
            .ok();
        token.workshop.change_config("file:keys/builds1.key", &uri);
        fs::create_dir(token.workshop.path("empty")).unwrap();
        let text = format!(
            "directories.tokendir = {}\n",
            token.workshop.path("empty").display()
        );
        token.workshop.write("empty.conf", text.as_bytes());
        let elsewhere = token.workshop.path("empty.conf");
        token
            .run_with(&elsewhere, &["model", "add", "rubik"], Stdio::null())
            .refused(&[
                "builds.rubik needs 1 signatures",
                "not here: pkcs11:token=Release%20keys",
                "millet sign",
            ]);
    }
}
