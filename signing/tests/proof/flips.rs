//! One byte of a complete signed set of metadata is changed: it is refused, or says exactly what its signers said, with their
//! threshold met.

use std::collections::BTreeSet;

use ed25519_dalek::{Signature, VerifyingKey};
use millet_signing::{Ed25519Key, Limits, Signer, TrustError, TrustedSet, canonical};
use serde_json::Value;

use crate::long;
use crate::maker::{Repository, key, now, public};

const BUILDS: &str = "builds.rubik";

/// A file of the set, and the state in which it is due.
struct Due {
    name: &'static str,
    bytes: Vec<u8>,
    before: Option<TrustedSet>,
    after: Option<TrustedSet>,
    /// Who may sign it, and how many of them must; a root needs the old keys and its own.
    signers: &'static [(&'static [u8], usize)],
}

impl Due {
    fn take(&self, bytes: &[u8]) -> Result<TrustedSet, TrustError> {
        let Some(before) = &self.before else {
            return TrustedSet::new(bytes, Limits::default(), now());
        };
        let mut set = before.clone();
        match self.name {
            "2.root.json" => {
                set.update_root(bytes)?;
                set.end_root_chain()?;
            }
            "timestamp.json" => {
                set.update_timestamp(bytes)?;
            }
            "1.snapshot.json" => set.update_snapshot(bytes)?,
            "1.targets.json" => set.update_targets(bytes)?,
            _ => set.update_delegated(BUILDS, "targets", bytes)?,
        }
        Ok(set)
    }

    /// Whether what was understood of a changed file is what the signers meant.
    fn check_content(&self, after: &TrustedSet) {
        let meant = self.after.as_ref().unwrap();
        assert_eq!(after.root(), meant.root());
        assert_eq!(after.timestamp(), meant.timestamp());
        assert_eq!(after.snapshot(), meant.snapshot());
        assert_eq!(after.targets(), meant.targets());
        assert_eq!(after.delegated(BUILDS), meant.delegated(BUILDS));
    }

    /// Whether a file that was taken says what the signers said, and enough of them have signed it: told by other means than
    /// the verifier's.
    fn check_file(&self, changed: &[u8]) {
        let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let (original, changed) = (parse(&self.bytes), parse(changed));
        let message = canonical::to_vec(&changed["signed"]).unwrap();
        assert_eq!(message, canonical::to_vec(&original["signed"]).unwrap());
        for (seeds, threshold) in self.signers {
            let signed: BTreeSet<[u8; 32]> = (seeds.iter())
                .map(|seed| public_bytes(&key(*seed)))
                .filter(|key| {
                    let signatures = changed["signatures"].as_array().unwrap();
                    signatures
                        .iter()
                        .any(|signature| holds(key, &message, &signature["sig"]))
                })
                .collect();
            assert!(signed.len() >= *threshold, "{}", self.name);
        }
    }
}

fn holds(key: &[u8; 32], message: &[u8], signature: &Value) -> bool {
    let bytes = hex::decode(signature.as_str().unwrap_or_default()).ok();
    let signature = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
    let key = VerifyingKey::from_bytes(key).unwrap();
    signature.is_some_and(|signature| key.verify_strict(message, &signature).is_ok())
}

fn public_bytes(key: &Ed25519Key) -> [u8; 32] {
    let object = serde_json::to_value(key.public_key()).unwrap();
    let mut bytes = [0; 32];
    hex::decode_to_slice(object["keyval"]["public"].as_str().unwrap(), &mut bytes).unwrap();
    bytes
}

/// The whole set, from the first root on. With `bare` only signatures and versions protect what follows the timestamp.
fn set(bare: bool) -> Vec<Due> {
    let mut repository = Repository::of(&[("rubik", 31)]);
    repository.bare = bare;
    repository.publish();
    repository.rotate(|repository| {
        repository.root_keys = vec![key(2), key(3), key(4)];
        let keys = public(&repository.root_keys);
        repository.root.set_role("root", &keys, 2).unwrap();
    });
    let due = |name, signers| Due {
        name,
        bytes: repository.published[name].clone(),
        before: None,
        after: None,
        signers,
    };
    let mut set = vec![
        due("1.root.json", &[(&[1, 2, 3], 2)]),
        due("2.root.json", &[(&[1, 2, 3], 2), (&[2, 3, 4], 2)]),
        due("timestamp.json", &[(&[22], 1)]),
        due("1.snapshot.json", &[(&[21], 1)]),
        due("1.targets.json", &[(&[11, 12], 2)]),
        due("1.builds.rubik.json", &[(&[31], 1)]),
    ];
    let mut before = None;
    for due in &mut set {
        due.before = before;
        due.after = Some(due.take(&due.bytes).unwrap());
        before = due.after.clone();
    }
    set
}

/// Every bit of a byte by itself; with time, all 255 other values.
fn flips() -> Vec<u8> {
    if long() {
        (1..=255).collect()
    } else {
        (0..8).map(|bit| 1 << bit).collect()
    }
}

/// Tries every byte of one file, and counts the changed files that were taken: they say the same.
fn flip(name: &str, bare: bool) -> usize {
    let set = set(bare);
    let due = set.iter().find(|due| due.name == name).unwrap();
    let flips = flips();
    let mut kept = 0;
    for at in 0..due.bytes.len() {
        for flip in &flips {
            let mut changed = due.bytes.clone();
            changed[at] ^= flip;
            if let Ok(after) = due.take(&changed) {
                due.check_file(&changed);
                due.check_content(&after);
                kept += 1;
            }
        }
    }
    let length = due.bytes.len();
    println!(
        "{name}: {length} bytes, {} changes of each, {kept} say the same",
        flips.len()
    );
    // A file that signs with one key has 64 bytes of signature, one with many has more to say.
    assert!((400..4_000).contains(&length));
    kept
}

/// What the file of a first root or a rotation needs is one signature less than it has: any change there is one too few.
#[test]
fn the_first_root() {
    assert!(flip("1.root.json", true) > 1_000);
}

#[test]
fn the_next_root() {
    assert!(flip("2.root.json", true) > 1_000);
}

/// Of a file whose signatures are all needed, hexadecimal digits may be capitals, and nothing else.
#[test]
fn the_timestamp() {
    assert!((20..128).contains(&flip("timestamp.json", true)));
}

#[test]
fn the_snapshot() {
    assert!((20..128).contains(&flip("1.snapshot.json", true)));
}

#[test]
fn targets() {
    assert!((40..256).contains(&flip("1.targets.json", true)));
}

#[test]
fn a_delegated_role() {
    assert!((20..128).contains(&flip("1.builds.rubik.json", true)));
}

/// Where length and hash are listed, nothing at all may change.
#[test]
fn files_that_are_listed_with_their_hash() {
    for name in ["1.snapshot.json", "1.targets.json", "1.builds.rubik.json"] {
        assert_eq!(flip(name, false), 0);
    }
}
