//! Encrypted key files, and where their passphrases come from.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;
mod keys_at;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fake::{FakeServer, PROMOTE, PUBLISH, Workshop, noise};
use millet_signing::{PrivateKey, PublicKey, Signer};

/// Encrypts a key file as `millet` does, with little work, so that tests are fast.
fn encrypt(workshop: &Workshop, name: &str, passphrase: &str) {
    let path = workshop.path(&format!("keys/{name}.key"));
    let mut recipient = age::scrypt::Recipient::new(passphrase.to_owned().into());
    recipient.set_work_factor(4);
    let text = age::encrypt_and_armor(&recipient, &fs::read(&path).unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn decrypt(workshop: &Workshop, name: &str, passphrase: &str) -> PrivateKey {
    let bytes = fs::read(workshop.path(&format!("keys/{name}.key"))).unwrap();
    let identity = age::scrypt::Identity::new(passphrase.to_owned().into());
    let pem = age::decrypt(&identity, &bytes).unwrap();
    PrivateKey::from_pkcs8_pem(std::str::from_utf8(&pem).unwrap()).unwrap()
}

fn public(workshop: &Workshop, name: &str) -> PublicKey {
    let bytes = fs::read(workshop.path(&format!("keys/{name}.pub"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn mode(workshop: &Workshop, name: &str) -> u32 {
    let metadata = fs::metadata(workshop.path(name)).unwrap();
    metadata.permissions().mode() & 0o777
}

fn names(workshop: &Workshop, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(workshop.path(folder)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A repository with a model, whose builds key has a passphrase.
fn with_encrypted_builds_key() -> (FakeServer, Workshop) {
    let server = FakeServer::start();
    let workshop = Workshop::for_server(&server);
    workshop.ok(&["repo", "init", "--yes"]);
    workshop.ok(&["model", "add", "rubik"]);
    workshop.write("images/system.img", &noise(1, 40 * 4096));
    encrypt(&workshop, "builds1", "friday evening");
    (server, workshop)
}

#[test]
fn a_new_key_is_encrypted_and_private() {
    let workshop = Workshop::empty();
    let made = workshop
        .with_passphrases("correct horse\n", &["key", "new", "root1", "--out", "keys"])
        .ok();
    assert!(
        made.stdout.starts_with("file:keys/root1.key  "),
        "{}",
        made.stdout
    );
    assert_eq!(mode(&workshop, "keys/root1.key"), 0o600);
    let text = fs::read_to_string(workshop.path("keys/root1.key")).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    let key = decrypt(&workshop, "root1", "correct horse");
    assert_eq!(*key.public_key(), public(&workshop, "root1"));
    assert_eq!(names(&workshop, "keys"), ["root1.key", "root1.pub"]);

    let refused = workshop.with_passphrases("seven77\n", &["key", "new", "root2"]);
    refused.refused(&["at least 8 characters"]);
    workshop.refused(
        &["key", "new", "root2"],
        &["nobody is there to ask", "--passphrase-fd", "--no-passphrase"],
    );
    assert_eq!(names(&workshop, "."), ["keys"]);
}

#[test]
fn an_encrypted_key_signs_and_is_asked_for_once() {
    let (server, workshop) = with_encrypted_builds_key();
    let blobs = server.repository().blobs.len();
    workshop
        .with_passphrases("friday morning\n", &PUBLISH)
        // Found while planning, before the work of making a payload.
        .refused(&[
            "V1 cannot be published",
            "the passphrase does not open",
            "keys/builds1.key",
        ]);
    workshop.refused(&PUBLISH, &["nobody is there to ask", "--passphrase-fd"]);
    assert_eq!(server.repository().blobs.len(), blobs);
    // Planning and signing both use the key. One line and then a bad one: the key is opened once.
    workshop
        .with_passphrases("friday evening\nfriday morning\n", &PUBLISH)
        .ok();
    assert!(server.repository().blobs.len() > blobs);
}

#[test]
fn whoever_only_reads_is_not_asked() {
    let (_server, workshop) = with_encrypted_builds_key();
    workshop.ok(&["key", "show", "keys/builds1.key"]);
    for name in ["targets1", "targets2"] {
        encrypt(&workshop, name, "friday evening");
    }
    // There already: nothing is signed.
    workshop.ok(&["repo", "init", "--yes"]);
    workshop.ok(&["model", "add", "rubik"]);
}

#[test]
fn lines_serve_in_order_and_the_last_one_serves_the_rest() {
    let server = FakeServer::start();
    let workshop = Workshop::for_server(&server);
    for (name, passphrase) in [
        ("root1", "the first one"),
        ("root2", "the second one"),
        ("root3", "the third one"),
        ("targets1", "the third one"),
        ("targets2", "the third one"),
    ] {
        encrypt(&workshop, name, passphrase);
    }
    let init = ["repo", "init", "--yes"];
    workshop
        .with_passphrases("the first one\nthe third one\n", &init)
        .refused(&["does not open", "keys/root2.key"]);
    workshop
        .with_passphrases("the first one\nthe second one\nthe third one", &init)
        .ok();
}

#[test]
fn a_p256_key_signs_a_whole_publication() {
    let server = FakeServer::start();
    let workshop = Workshop::for_server(&server);
    for name in ["root1", "targets1", "builds1"] {
        for extension in ["key", "pub"] {
            fs::remove_file(workshop.path(&format!("keys/{name}.{extension}"))).unwrap();
        }
        let new = [
            "key",
            "new",
            name,
            "--out",
            "keys",
            "--type",
            "p256",
            "--no-passphrase",
        ];
        let made = workshop.ok(&new);
        assert!(
            made.stderr.contains("whoever can read it can sign"),
            "{}",
            made.stderr
        );
        assert_eq!(public(&workshop, name).scheme(), "ecdsa-sha2-nistp256");
    }
    encrypt(&workshop, "builds1", "friday evening");
    workshop.write("images/system.img", &noise(1, 40 * 4096));
    workshop.ok(&["repo", "init", "--yes"]);
    workshop
        .with_passphrases("friday evening\n", &["model", "add", "rubik"])
        .ok();
    workshop.with_passphrases("friday evening\n", &PUBLISH).ok();
    // The client verifies everything anew, as a device would.
    workshop.with_passphrases("friday evening\n", &PROMOTE).ok();
}

#[test]
fn a_passphrase_is_changed_in_one_step() {
    let workshop = Workshop::empty();
    workshop.ok(&["key", "new", "root1", "--out", "keys", "--no-passphrase"]);
    let plain = fs::read(workshop.path("keys/root1.key")).unwrap();
    let change = ["key", "passphrase", "keys/root1.key"];

    // A plain file becomes an encrypted one.
    workshop
        .with_passphrases("short\n", &change)
        .refused(&["at least 8"]);
    assert_eq!(fs::read(workshop.path("keys/root1.key")).unwrap(), plain);
    workshop.with_passphrases("the first one\n", &change).ok();
    let first = fs::read(workshop.path("keys/root1.key")).unwrap();
    assert_eq!(
        *decrypt(&workshop, "root1", "the first one").public_key(),
        public(&workshop, "root1")
    );

    // Through a link, the file itself changes.
    std::os::unix::fs::symlink("root1.key", workshop.path("keys/link.key")).unwrap();
    let through = ["key", "passphrase", "keys/link.key"];
    workshop
        .with_passphrases("not this one\nthe second one\n", &through)
        .refused(&["does not open"]);
    workshop
        .with_passphrases("the first one\nshort\n", &through)
        .refused(&["at least 8"]);
    // What opens the old file does not seal the new one as well.
    workshop
        .with_passphrases("the first one\n", &through)
        .refused(&["no further line"]);
    assert_eq!(fs::read(workshop.path("keys/root1.key")).unwrap(), first);
    workshop
        .with_passphrases("the first one\nthe second one\n", &through)
        .ok();
    assert!(workshop.path("keys/link.key").is_symlink());
    assert_eq!(mode(&workshop, "keys/root1.key"), 0o600);
    decrypt(&workshop, "root1", "the second one");

    let bare = [&change, ["--no-passphrase"].as_slice()].concat();
    let said = workshop.with_passphrases("the second one\n", &bare).ok();
    assert!(
        said.stderr.contains("whoever can read it can sign"),
        "{}",
        said.stderr
    );
    assert_eq!(fs::read(workshop.path("keys/root1.key")).unwrap(), plain);
    assert_eq!(names(&workshop, "keys"), ["link.key", "root1.key", "root1.pub"]);
}

#[test]
fn an_encrypted_file_is_held_to_what_it_is() {
    let (_server, workshop) = with_encrypted_builds_key();
    let sealed = fs::read(workshop.path("keys/builds1.key")).unwrap();
    let publish = || workshop.with_passphrases("friday evening\n", &PUBLISH);

    fs::set_permissions(
        workshop.path("keys/builds1.key"),
        fs::Permissions::from_mode(0o604),
    )
    .unwrap();
    publish().refused(&["keys/builds1.key", "mode 604", "chmod 600"]);
    fs::set_permissions(
        workshop.path("keys/builds1.key"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();

    // Its public half must be there, and be its own.
    let own = fs::read(workshop.path("keys/builds1.pub")).unwrap();
    fs::remove_file(workshop.path("keys/builds1.pub")).unwrap();
    publish().refused(&["its public half is not beside it", "millet key export-public"]);
    let export = [
        "key",
        "export-public",
        "keys/builds1.key",
        "--out",
        "keys/builds1.pub",
    ];
    workshop.with_passphrases("friday evening\n", &export).ok();
    assert_eq!(fs::read(workshop.path("keys/builds1.pub")).unwrap(), own);
    workshop
        .with_passphrases("friday evening\n", &export)
        .refused(&["cannot write keys/builds1.pub"]);

    fs::copy(workshop.path("keys/root1.pub"), workshop.path("keys/builds1.pub")).unwrap();
    workshop
        .with_passphrases("friday evening\n", &["model", "add", "rubik"])
        .refused(&["keys/builds1.key is another key than the .pub beside it"]);
    workshop.write("keys/builds1.pub", &own);

    // One flipped letter, or half of it, opens no more.
    let middle = sealed.len() / 2;
    let mut bent = sealed.clone();
    bent[middle] = if bent[middle] == b'A' { b'B' } else { b'A' };
    for bad in [&bent, &sealed[..middle]] {
        workshop.write("keys/builds1.key", bad);
        publish().refused(&["keys/builds1.key"]);
    }

    // A file that asks for hours of work is not worked on. The work factor stands in the header's second line.
    let mut recipient = age::scrypt::Recipient::new("friday evening".to_owned().into());
    recipient.set_work_factor(4);
    let mut file = age::encrypt(&recipient, b"text").unwrap();
    let end = file.iter().skip(22).position(|byte| *byte == b'\n').unwrap() + 22;
    assert_eq!(&file[end - 2..end], b" 4");
    file.splice(end - 1..end, *b"32");
    workshop.write("keys/builds1.key", &file);
    publish().refused(&["cannot open", "work factor 32", "20 is the most"]);
}

#[test]
fn a_passphrase_is_never_shown() {
    let (_server, workshop) = with_encrypted_builds_key();
    let secret = "a-very-secret-passphrase";
    for finished in [
        workshop.with_passphrases(&format!("{secret}\n"), &PUBLISH),
        workshop.with_passphrases(
            &format!("friday evening\n{secret}\n"),
            &["key", "passphrase", "keys/builds1.key"],
        ),
        workshop.with_passphrases(&format!("{secret}\n"), &PUBLISH),
    ] {
        assert!(
            !finished.stdout.contains(secret) && !finished.stderr.contains(secret),
            "{}",
            finished.stderr
        );
    }
    // There is no option and no variable that would take one.
    let finished = workshop.run(&["key", "new", "x", "--passphrase", secret]);
    assert_eq!(finished.code, 2);
}

#[test]
fn a_key_is_shown_with_the_roles_it_signs_for() {
    let (_server, workshop) = with_encrypted_builds_key();
    workshop.change_config("file:keys/targets2.key", "file:keys/root1.key");
    let shown = workshop.ok(&["key", "show", "file:keys/root1.key", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let id = public(&workshop, "root1").id();
    assert_eq!(
        shown,
        serde_json::json!({
            "uri": "file:keys/root1.key",
            "type": "ed25519",
            "keyid": id.as_str(),
            "private": "plain-file",
            "roles": ["root", "targets"],
        })
    );
    let shown = workshop.ok(&["key", "show", "keys/builds1.pub"]).stdout;
    for words in [
        "not here",
        "builds.rubik",
        public(&workshop, "builds1").id().as_str(),
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    let shown = workshop.ok(&["key", "show", "keys/builds1.key"]).stdout;
    assert!(shown.contains("in an encrypted file"), "{shown}");
    let exported = workshop.ok(&["key", "export-public", "keys/root2.key"]).stdout;
    let exported: PublicKey = serde_json::from_str(&exported).unwrap();
    assert_eq!(exported, public(&workshop, "root2"));
    // Without a millet.toml a key is still a key.
    fs::remove_file(workshop.path("millet.toml")).unwrap();
    let shown = workshop.ok(&["key", "show", "keys/root1.pub"]).stdout;
    assert!(shown.contains("no millet.toml"), "{shown}");
}
