//! Who has signed.

use std::fs;

use millet_signing::metadata::{Root, Targets};
use millet_signing::{Ed25519Key, FormError, PublicKey, Signer, TrustError, verify, verify_first_root};
use serde_json::{Value, json};

use crate::BUILDS;
use crate::maker::{Repository, key, sign_json, sign_json_by, signed_part};

/// One key's signature, given twice or under two identifiers, is one signature: for top-level roles and for delegations.
///
/// Red with a number counted up in place of the set `signed` (`Authority::check`), and without `if decoded.contains_key(&keyid)`
/// (`Envelope::parse`).
#[test]
fn l01_duplicate_signatures_and_keyids_never_count_twice() {
    let repository = Repository::of(&[("rubik", 31)]);
    let twice = |keys: &mut Value, role: &mut Value| {
        let id = role["keyids"][0].as_str().unwrap().to_owned();
        keys["alias"] = keys[&id].clone();
        role["keyids"] = json!([id, "alias"]);
        role["threshold"] = 2.into();
        id
    };
    let mut root = signed_part(&repository.first_root());
    let mut parts = (root["keys"].take(), root["roles"]["timestamp"].take());
    let id = twice(&mut parts.0, &mut parts.1);
    (root["keys"], root["roles"]["timestamp"]) = parts;
    let root: Root = serde_json::from_value(root).unwrap();
    let timestamp = signed_part(&repository.published["timestamp.json"]);
    let by = |ids: [&str; 2], signed: &Value, key: &Ed25519Key| sign_json(signed, &ids.map(|id| (id, key)));
    let authority = root.authority("timestamp").unwrap();
    let verdict = verify::<millet_signing::metadata::Timestamp>;
    let refused = verdict(&by([&id, "alias"], &timestamp, &key(22)), &authority);
    assert!(matches!(refused, Err(TrustError::Signatures { valid: 1, .. })));
    let refused = verdict(&by([&id, &id], &timestamp, &key(22)), &authority);
    assert!(matches!(
        refused,
        Err(TrustError::Form {
            source: FormError::Twice(_),
            ..
        })
    ));

    let mut targets = signed_part(&repository.published["1.targets.json"]);
    let mut keys = targets["delegations"]["keys"].take();
    let id = twice(&mut keys, &mut targets["delegations"]["roles"][0]);
    targets["delegations"]["keys"] = keys;
    let targets: Targets = serde_json::from_value(targets).unwrap();
    let authority = targets.authority(BUILDS).unwrap();
    let builds = signed_part(&repository.published["1.builds.rubik.json"]);
    let refused = verify::<Targets>(&by([&id, "alias"], &builds, &key(31)), &authority);
    assert!(matches!(refused, Err(TrustError::Signatures { valid: 1, .. })));
    let refused = verify::<Targets>(&by([&id, &id], &builds, &key(31)), &authority);
    assert!(matches!(
        refused,
        Err(TrustError::Form {
            source: FormError::Twice(_),
            ..
        })
    ));
}

/// A hundred thousand signatures that hold for nothing cost no more than it costs to read them, and as many keys in a role are
/// refused.
///
/// Red without `signatures.len() > MOST_SIGNATURES` (`Envelope::parse`) and without `keyids.len() > MOST_KEYS`
/// (`check_keyids`).
#[test]
fn l09_a_hundred_thousand_bogus_signatures_cost_bounded_cpu() {
    const MANY: usize = 100_000;
    let repository = Repository::of(&[("rubik", 31)]);
    let authority = repository.root.authority("targets").unwrap();
    let file = &repository.published["1.targets.json"];
    let bogus = |count: usize| {
        let mut file: Value = serde_json::from_slice(file).unwrap();
        let signatures = file["signatures"].as_array_mut().unwrap();
        let sig = signatures[0]["sig"].clone();
        // Before the real ones, since those end the work.
        let more = (0..count).map(|index| json!({"keyid": format!("{index:x}"), "sig": sig}));
        signatures.splice(0..0, more);
        serde_json::to_vec(&file).unwrap()
    };
    let refused = verify::<Targets>(&bogus(MANY), &authority);
    assert!(matches!(
        refused,
        Err(TrustError::Form { source: FormError::TooMany { count, limit: 128, .. }, .. }) if count == MANY + 2
    ));
    // As many as are read at most, among which two are the role's.
    verify::<Targets>(&bogus(126), &authority).unwrap();

    // Reading so many costs as much where they are no signatures.
    let with_bogus = bogus(MANY);
    let mut other: Value = serde_json::from_slice(&with_bogus).unwrap();
    other["x_other"] = other["signatures"].take();
    other["signatures"] = json!([]);
    let without = serde_json::to_vec(&other).unwrap();
    let cost = |file: &[u8]| cpu(|| drop(verify::<Targets>(file, &authority).unwrap_err()));
    let (with_bogus, without) = (cost(&with_bogus), cost(&without));
    println!("{MANY} bogus signatures: {with_bogus} ns; as many other values: {without} ns");
    assert!(with_bogus < 4 * without);

    let mut targets = signed_part(file);
    let keyids: Vec<String> = (0..MANY).map(|index| format!("{index:x}")).collect();
    targets["delegations"]["roles"][0]["keyids"] = json!(keyids);
    let many_keys = sign_json_by(&targets, &repository.targets_keys);
    assert!(matches!(
        verify::<Targets>(&many_keys, &authority),
        Err(TrustError::Form {
            source: FormError::TooMany { count: MANY, .. },
            ..
        })
    ));
}

/// Nanoseconds that this thread has worked (Linux, Documentation/scheduler/sched-stats.rst).
fn cpu(work: impl FnOnce()) -> u64 {
    let now = || -> u64 {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let before = now();
    work();
    now() - before
}

/// A threshold of 0 or below signs nothing, in a root and in a delegation.
///
/// Red without `if threshold == 0` (`check_keyids`); below 0 there is no number that the field could hold.
#[test]
fn l14_a_threshold_of_zero_or_below_is_refused() {
    let repository = Repository::of(&[("rubik", 31)]);
    for threshold in [json!(0), json!(-1), json!(i64::MIN), json!("1"), Value::Null] {
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let mut root = signed_part(&repository.first_root());
            root["roles"][role]["threshold"] = threshold.clone();
            let refused = verify_first_root(&sign_json_by(&root, &repository.root_keys));
            assert!(
                matches!(refused, Err(TrustError::Form { .. })),
                "{role} {threshold}"
            );
        }
        let mut targets = signed_part(&repository.published["1.targets.json"]);
        targets["delegations"]["roles"][0]["threshold"] = threshold.clone();
        let authority = repository.root.authority("targets").unwrap();
        let refused = verify::<Targets>(&sign_json_by(&targets, &repository.targets_keys), &authority);
        assert!(matches!(refused, Err(TrustError::Form { .. })), "{threshold}");
    }
}

/// Keys of small order sign everything and are taken for nothing; nor is a signature taken in a second form.
///
/// Red with `verify` in place of `verify_strict` (`verify_ed25519`).
#[test]
fn l21_degenerate_ed25519_keys_and_signatures() {
    // The eight points of small order (RFC 7748, section 7, in Edwards form), and other spellings of two of them.
    let small = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let bytes = |text: &str| -> [u8; 32] { hex::decode(text).unwrap().try_into().unwrap() };
    let mut forged = 0;
    for key in small.map(bytes) {
        let public = PublicKey::ed25519(&key);
        for point in small.map(bytes) {
            // With S = 0 such a pair holds for one message in eight, or for all, unless small order is refused.
            let signature = [point, [0; 32]].concat();
            for message in 0..16_u8 {
                forged += 1;
                assert!(!public.verify(&[message], &signature));
            }
        }
    }
    println!("{forged} forgeries");

    // S and S + L are one number to who does not look (RFC 8032, section 5.1.7).
    let honest = key(7);
    let signature = honest.sign(b"message").unwrap();
    assert!(honest.public_key().verify(b"message", &signature));
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut second = signature.clone();
    let mut carry = 0;
    for (byte, add) in second[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert_ne!(second, signature);
    assert!(!honest.public_key().verify(b"message", &second));
    for length in [0, 32, 63, 65, 128] {
        assert!(!honest.public_key().verify(b"message", &vec![0; length]));
    }
    // In metadata: a role whose key is degenerate is a role that nobody can sign.
    let repository = Repository::of(&[("rubik", 31)]);
    let mut root = signed_part(&repository.first_root());
    let id = root["roles"]["timestamp"]["keyids"][0]
        .as_str()
        .unwrap()
        .to_owned();
    root["keys"][&id]["keyval"]["public"] = small[0].into();
    let root: Root = serde_json::from_value(root).unwrap();
    let signed = signed_part(&repository.published["timestamp.json"]);
    let sig = format!("{}{}", small[0], "00".repeat(32));
    let file = json!({"signed": signed, "signatures": [{"keyid": id, "sig": sig}]});
    let refused = verify::<millet_signing::metadata::Timestamp>(
        &serde_json::to_vec(&file).unwrap(),
        &root.authority("timestamp").unwrap(),
    );
    assert!(matches!(refused, Err(TrustError::Signatures { valid: 0, .. })));
}

/// A private key comes with no public key of the caller's: whoever signs with a wrong one gives the private key away.
///
/// Red when `Ed25519Key::from_pkcs8_pem` reads the seed alone, and takes a file whose two keys are no pair.
#[test]
fn l22_no_interface_takes_secret_and_public_key_apart() {
    // PKCS#8 version 2 with a public key (RFC 8410, section 10.3; RFC 5958, section 2).
    let file = |seed: &Ed25519Key, public: &[u8]| {
        let pem = seed.to_pkcs8_pem().unwrap();
        let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = base64(&text);
        assert_eq!(der[..5], [0x30, 0x2e, 0x02, 0x01, 0x00]);
        der[1] += 35;
        der[4] = 1;
        der.extend([0x81, 0x21, 0x00]);
        der.extend(public);
        // Lines of 64 characters (RFC 7468, section 2).
        let mut text = base64_of(&der);
        text.insert(64, '\n');
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    let public_bytes = |key: &Ed25519Key| {
        let object = serde_json::to_value(key.public_key()).unwrap();
        hex::decode(object["keyval"]["public"].as_str().unwrap()).unwrap()
    };
    let pair = Ed25519Key::from_pkcs8_pem(&file(&key(1), &public_bytes(&key(1)))).unwrap();
    assert_eq!(pair.public_key(), key(1).public_key());
    assert!(Ed25519Key::from_pkcs8_pem(&file(&key(1), &public_bytes(&key(2)))).is_err());
    // What is made of a seed alone is a pair too.
    let signature = pair.sign(b"message").unwrap();
    assert!(pair.public_key().verify(b"message", &signature));
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(text: &str) -> Vec<u8> {
    let digits = text
        .bytes()
        .filter_map(|byte| ALPHABET.iter().position(|digit| *digit == byte));
    let bits: Vec<usize> = digits
        .flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1))
        .collect();
    bits.chunks_exact(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8))
        .collect()
}

fn base64_of(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let digits = bits.chunks(6).map(|bits| {
        let digit = bits.iter().fold(0, |digit, bit| digit << 1 | *bit as usize) << (6 - bits.len());
        char::from(ALPHABET[digit])
    });
    let mut text: String = digits.collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
