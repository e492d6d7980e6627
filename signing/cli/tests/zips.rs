//! OTA zips for phones, and the keys that sign the payloads in them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fake::{Workshop, noise};
use p256::ecdsa;
use p256::pkcs8::DecodePublicKey;
use rsa::pkcs1v15;
use rsa::signature::Verifier;

const TOLD: [&str; 12] = [
    "--device",
    "rubik",
    "--fingerprint",
    "acme/rubik/rubik:16/V6.11.20/8:user/release-keys",
    "--timestamp",
    "1795000000",
    "--security-patch",
    "2026-11-05",
    "--from-fingerprint",
    "acme/rubik/rubik:16/V6.11.13/7:user/release-keys",
    "--from-incremental",
    "7",
];

/// Two builds, a full payload of the second and a delta between them.
fn payloads() -> Workshop {
    let workshop = Workshop::empty();
    let old = noise(1, 100 * 4096);
    let mut new = [&old[50 * 4096..], &old[..50 * 4096]].concat();
    new[10_000..10_500].copy_from_slice(&noise(2, 500));
    workshop.write("old/system.img", &old);
    workshop.write("new/system.img", &new);
    workshop.ok(&["payload", "build", "--images", "new", "--out", "full.payload"]);
    let delta = [
        "payload",
        "delta",
        "--from",
        "old",
        "--to",
        "new",
        "--out",
        "delta.payload",
    ];
    workshop.ok(&delta);
    workshop
}

/// Copies a key of the tests to where only its owner can read it.
fn key(workshop: &Workshop, name: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    workshop.write(name, &fs::read(data.join(name)).unwrap());
    fs::set_permissions(workshop.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    name.to_owned()
}

fn zip(payload: &str, more: &[&str]) -> Vec<String> {
    let arguments = ["payload", "zip", payload, "--out", "OTA.zip"];
    let all = arguments.iter().chain(&TOLD).chain(more);
    all.map(|argument| (*argument).to_owned()).collect()
}

fn run(workshop: &Workshop, payload: &str, more: &[&str]) -> fake::Finished {
    let arguments = zip(payload, more);
    workshop.ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What is signed twice in a payload: the message and its signature.
fn signed(payload: &[u8]) -> [(Vec<u8>, Vec<u8>); 2] {
    let head = 24 + u64::from_be_bytes(payload[12..20].try_into().unwrap()) as usize;
    let size = u32::from_be_bytes(payload[20..24].try_into().unwrap()) as usize;
    let blobs_end = payload.len() - size;
    // Signatures { 1: Signature { 2: data, 3: fixed32 } }: the data ends five bytes before the message.
    let signature = |message: &[u8]| {
        let (data, length) = message.split_at(message.len() - 5);
        assert_eq!(length[0], 3 << 3 | 5);
        let length = u32::from_le_bytes(length[1..].try_into().unwrap()) as usize;
        let padded = if size > 200 { 256 } else { 72 };
        let data = &data[data.len() - padded..];
        assert!(data[length..].iter().all(|byte| *byte == 0));
        data[..length].to_vec()
    };
    let blobs = &payload[head + size..blobs_end];
    [
        (payload[..head].to_vec(), signature(&payload[head..head + size])),
        (
            [&payload[..head], blobs].concat(),
            signature(&payload[blobs_end..]),
        ),
    ]
}

/// payload.bin, which begins behind the first local header.
fn payload_of(workshop: &Workshop, made: &serde_json::Value) -> Vec<u8> {
    let zip = fs::read(workshop.path("OTA.zip")).unwrap();
    let number = |key: &str| made["payload"][key].as_u64().unwrap() as usize;
    zip[number("offset")..][..number("size")].to_vec()
}

fn made(said: &str) -> serde_json::Value {
    let made: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(made["event"], "made");
    made
}

#[test]
fn signatures_verify_and_the_zip_is_read() {
    let workshop = payloads();
    for (name, kind) in [("test-rsa2048", "RSA-2048"), ("test-p256", "P-256")] {
        let file = key(&workshop, &format!("{name}.pem"));
        let public = key(&workshop, &format!("{name}.pub.pem"));
        let public = fs::read_to_string(workshop.path(&public)).unwrap();
        for payload in ["full.payload", "delta.payload"] {
            let said = run(&workshop, payload, &["--key", &file, "--json"]);
            let made = made(&said.stdout);
            assert_eq!(made["signature"], kind);
            assert!(said.stderr.contains(kind), "{}", said.stderr);
            let inside = payload_of(&workshop, &made);
            for (message, signature) in signed(&inside) {
                if kind == "P-256" {
                    let key = ecdsa::VerifyingKey::from_public_key_pem(&public).unwrap();
                    key.verify(&message, &ecdsa::Signature::from_der(&signature).unwrap())
                        .unwrap();
                } else {
                    let key = rsa::RsaPublicKey::from_public_key_pem(&public).unwrap();
                    let key = pkcs1v15::VerifyingKey::<sha2::Sha256>::new(key);
                    key.verify(&message, &signature.as_slice().try_into().unwrap())
                        .unwrap();
                }
            }
            let zip = fs::read(workshop.path("OTA.zip")).unwrap();
            run(&workshop, payload, &["--key", &format!("file:{file}")]);
            assert!(zip == fs::read(workshop.path("OTA.zip")).unwrap());

            let inspected = workshop.ok(&["payload", "inspect", "OTA.zip", "--json"]).stdout;
            let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
            assert_eq!(inspected["metadata_sha256"], made["payload"]["metadata_sha256"]);
            workshop.ok(&["payload", "apply", "OTA.zip", "--from", "old", "--out", "made"]);
            workshop.ok(&["payload", "verify", "OTA.zip", "--from", "old", "--images", "new"]);
            let read = |name: &str| fs::read(workshop.path(name)).unwrap();
            assert!(read("made/system.img") == read("new/system.img"));
            let properties = workshop.ok(&["payload", "properties", "OTA.zip"]).stdout;
            assert!(properties.contains(&format!("FILE_SIZE={}\n", inside.len())));
            assert!(
                zip.windows(properties.len())
                    .any(|bytes| bytes == properties.as_bytes())
            );
        }
    }
    let said = run(&workshop, "full.payload", &["--json"]);
    assert_eq!(made(&said.stdout)["signature"], serde_json::Value::Null);
    assert!(said.stderr.contains("unsigned"), "{}", said.stderr);
}

#[test]
fn keys_that_cannot_sign_are_refused_by_name() {
    let workshop = payloads();
    let refused = |file: &str, words: &[&str]| {
        let arguments = zip("full.payload", &["--key", file]);
        let words = [&[file], words].concat();
        workshop.refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &words);
        assert!(!workshop.path("OTA.zip").exists());
    };
    for (name, words) in [
        ("test-p256-encrypted.pem", ["encrypted", "openssl pkey -in"]),
        ("test-p256-sec1.pem", ["older form", "openssl pkey -in"]),
        ("test-p256.pub.pem", ["public key", "private key"]),
        ("test-p256.x509.pem", ["certificate", "private key"]),
        ("test-rsa3072.pem", ["RSA key of 3072 bits", "openssl genpkey"]),
        ("test-p384.pem", ["another curve", "openssl genpkey"]),
    ] {
        refused(&key(&workshop, name), &words);
    }
    workshop.ok(&["key", "new", "builds1", "--no-passphrase"]);
    refused("builds1.key", &["ed25519", "RSA-2048", "openssl genpkey"]);
    refused("nowhere.pem", &["cannot read"]);
    key(&workshop, "test-p256.pem");
    fs::set_permissions(workshop.path("test-p256.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    refused("test-p256.pem", &["mode 644", "chmod 600"]);
    for (name, bytes) in [
        ("noise.pk8", &noise(3, 100)[..]),
        ("text.pem", b"-----BEGIN TEXT-----\n"),
    ] {
        workshop.write(name, bytes);
        fs::set_permissions(workshop.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        refused(name, &["no private key"]);
    }
}

#[test]
fn a_build_says_itself_what_phones_check() {
    let workshop = payloads();
    workshop.write(
        "new.prop",
        b"# begin\nro.product.device=rubik\nro.system.build.fingerprint=acme/rubik/rubik:16/V6.11.20/8:user/release-keys\n\
          ro.build.version.incremental = 8\nro.build.date.utc=1795000000\nro.build.version.sdk=36\n\
          ro.build.version.security_patch=2026-11-05\n",
    );
    workshop.write(
        "old.prop",
        b"ro.build.fingerprint=acme/rubik/rubik:16/V6.11.13/7:user/release-keys\n",
    );
    let ok = [
        "payload",
        "zip",
        "delta.payload",
        "--out",
        "OTA.zip",
        "--build-prop",
        "new.prop",
        "--from-build-prop",
        "old.prop",
    ];
    workshop.ok(&ok);
    let zip = fs::read(workshop.path("OTA.zip")).unwrap();
    for line in [
        "post-build=acme/rubik/rubik:16/V6.11.20/8:user/release-keys\npost-build-incremental=8\npost-sdk-level=36\n\
         post-security-patch-level=2026-11-05\npost-timestamp=1795000000\n",
        "pre-build=acme/rubik/rubik:16/V6.11.13/7:user/release-keys\npre-device=rubik\n",
    ] {
        assert!(
            zip.windows(line.len()).any(|bytes| bytes == line.as_bytes()),
            "{line}"
        );
    }
    for (left_out, option) in [(5, "--device"), (7, "--from-fingerprint")] {
        let without = ok
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != left_out && *at != left_out + 1);
        let without: Vec<_> = without.map(|(_, argument)| *argument).collect();
        let finished = workshop.run(&without);
        assert_eq!(finished.code, 2, "{}", finished.stderr);
        assert!(finished.stderr.contains(option), "{}", finished.stderr);
    }
    workshop.write(
        "dynamic_partitions_info.txt",
        b"super_partition_groups=main\nsuper_main_group_size=1000000\nsuper_main_partition_list=system\nvirtual_ab=true\n",
    );
    let hint = "--dynamic-partitions";
    assert!(workshop.ok(&ok).stderr.contains(hint));
    let dynamic = [&ok[..], &[hint, "dynamic_partitions_info.txt"]].concat();
    assert!(!workshop.ok(&dynamic).stderr.contains(hint));
    workshop.write(
        "dynamic_partitions_info.txt",
        b"super_partition_groups=main\nsuper_main_group_size=1000000\nsuper_main_partition_list=system vendor\n",
    );
    workshop.refused(
        &dynamic,
        &["dynamic_partitions_info.txt", "group main holds vendor"],
    );
    workshop.write("dynamic_partitions_info.txt", b"virtual_ab=true\n");
    workshop.refused(
        &dynamic,
        &["dynamic_partitions_info.txt", "super_partition_groups"],
    );

    workshop.write("new.prop", b"ro.product.device=rubik\nro.build.date.utc=today\n");
    workshop.refused(&ok, &["ro.build.date.utc", "not a number of seconds"]);
}

#[test]
fn what_holds_no_payload_or_a_broken_one_is_refused() {
    let workshop = payloads();
    let refused = |payload: &str, words: &[&str]| {
        let arguments = zip(payload, &[]);
        workshop.refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words);
        assert!(!workshop.path("OTA.zip").exists());
        let left = fs::read_dir(workshop.path(".")).unwrap();
        let left = left.filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with(".millet-")
        });
        assert_eq!(left.count(), 0);
    };
    let mut payload = fs::read(workshop.path("full.payload")).unwrap();
    *payload.last_mut().unwrap() ^= 1;
    workshop.write("flipped.payload", &payload);
    refused(
        "flipped.payload",
        &["flipped.payload", "system has another SHA-256"],
    );
    workshop.write("empty.zip", b"PK\x03\x04 and no more");
    refused("empty.zip", &["empty.zip"]);
    refused("new/system.img", &["not a payload"]);
    refused("nowhere", &["nowhere"]);
}
