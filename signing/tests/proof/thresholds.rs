//! Up to four keys, every threshold from one to four, every set of signers, and every key once more under a second identifier:
//! accepted exactly when the different keys that signed are as many as the threshold.

use millet_signing::metadata::{Root, Targets};
use millet_signing::{
    Ed25519Key, FormError, Limits, Signer, TrustError, TrustedSet, canonical, verify, verify_first_root,
};
use serde_json::{Map, Value, json};

use crate::long;
use crate::maker::{Repository, key, now, sign_json, signed_part};

/// A role's keys: each of the first `keys` by its identifier, and those in `aliased` by another one too.
struct Listing {
    keys: usize,
    aliased: usize,
    threshold: u64,
}

/// One identifier that a role lists, and whose key it stands for.
struct Listed {
    keyid: String,
    key: usize,
    /// The alias spells the key in capitals: another object, the same key.
    object: Value,
}

impl Listing {
    fn all() -> impl Iterator<Item = Self> {
        (1..=4).flat_map(|keys| {
            (0..1 << keys).flat_map(move |aliased| {
                (1..=4).map(move |threshold| Self {
                    keys,
                    aliased,
                    threshold,
                })
            })
        })
    }

    fn listed(&self, all: &[Ed25519Key]) -> Vec<Listed> {
        let once = (0..self.keys).map(|key| Listed {
            keyid: all[key].public_key().id().to_string(),
            key,
            object: serde_json::to_value(all[key].public_key()).unwrap(),
        });
        let again = (0..self.keys).filter(|key| self.aliased >> key & 1 == 1);
        let again = again.map(|key| {
            let mut object = serde_json::to_value(all[key].public_key()).unwrap();
            let public = object["keyval"]["public"].as_str().unwrap().to_uppercase();
            object["keyval"]["public"] = public.into();
            Listed {
                keyid: format!("alias{key}"),
                key,
                object,
            }
        });
        once.chain(again).collect()
    }

    fn role(&self, listed: &[Listed]) -> Value {
        let keyids: Vec<&str> = listed.iter().map(|listed| listed.keyid.as_str()).collect();
        json!({"keyids": keyids, "threshold": self.threshold})
    }
}

fn objects(listed: &[Listed]) -> Map<String, Value> {
    listed
        .iter()
        .map(|listed| (listed.keyid.clone(), listed.object.clone()))
        .collect()
}

fn keys() -> Vec<Ed25519Key> {
    (1..=4).map(key).collect()
}

/// What stands in the place of an identifier's signature.
const ABSENT: u32 = 0;
const VALID: u32 = 1;

/// Absent, valid or forged; among four keys only with time.
fn kinds(keys: usize) -> u32 {
    if keys < 4 || long() { 3 } else { 2 }
}

/// Offers `signed` with every choice of signatures to `verdict`, and counts the cases.
fn judge(
    listing: &Listing,
    listed: &[Listed],
    all: &[Ed25519Key],
    signed: &Value,
    verdict: &dyn Fn(&[u8]) -> Result<(), TrustError>,
) -> Count {
    let message = canonical::to_vec(signed).unwrap();
    let valid: Vec<String> = all
        .iter()
        .map(|key| hex::encode(key.sign(&message).unwrap()))
        .collect();
    let stranger = hex::encode(key(99).sign(&message).unwrap());
    let kinds = kinds(listing.keys);
    let mut count = Count::default();
    for choice in 0..kinds.pow(u32::try_from(listed.len()).unwrap()) {
        let kind = |index: usize| choice / kinds.pow(u32::try_from(index).unwrap()) % kinds;
        // A stranger signs every file, and never counts.
        let mut signatures = vec![json!({"keyid": "stranger", "sig": stranger})];
        let mut signed_by = [false; 4];
        for (index, listed) in listed.iter().enumerate() {
            let sig = match kind(index) {
                ABSENT => continue,
                VALID => {
                    signed_by[listed.key] = true;
                    &valid[listed.key]
                }
                _ => &stranger,
            };
            signatures.push(json!({"keyid": listed.keyid, "sig": sig}));
        }
        let different = signed_by.into_iter().filter(|signed| *signed).count() as u64;
        let file = |signatures: &[Value]| {
            serde_json::to_vec(&json!({"signatures": signatures, "signed": signed})).unwrap()
        };
        let accepted = match verdict(&file(&signatures)) {
            Ok(()) => true,
            Err(TrustError::Signatures { valid, threshold, .. }) => {
                assert_eq!((valid, threshold), (different, listing.threshold));
                false
            }
            Err(other) => panic!("{other}: {other:?}"),
        };
        assert_eq!(
            accepted,
            different >= listing.threshold,
            "{} keys, aliases {:04b}, threshold {}, signatures {choice}",
            listing.keys,
            listing.aliased,
            listing.threshold
        );
        count.add(accepted);
        // One identifier twice in a file is refused, whatever else has signed.
        if let Some(last) = signatures.last().filter(|_| signatures.len() > 1).cloned() {
            signatures.push(last);
            assert!(matches!(
                verdict(&file(&signatures)),
                Err(TrustError::Form {
                    source: FormError::Twice(_),
                    ..
                })
            ));
            count.doubled += 1;
        }
    }
    count
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    accepted: u64,
    refused: u64,
    doubled: u64,
}

impl Count {
    fn add(&mut self, accepted: bool) {
        *(if accepted {
            &mut self.accepted
        } else {
            &mut self.refused
        }) += 1;
    }

    fn sum(counts: impl Iterator<Item = Self>) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            accepted: sum.accepted + count.accepted,
            refused: sum.refused + count.refused,
            doubled: sum.doubled + count.doubled,
        })
    }

    /// Every role must see the same cases.
    fn check(&self, role: &str) {
        println!("{role}: {self:?}");
        // With a aliases among n keys there are k^(n + a) choices of k kinds, four thresholds each; only the choice of no
        // signature at all cannot be doubled.
        let choices = |keys: u32| {
            let kinds = u64::from(kinds(keys as usize));
            (kinds * (kinds + 1)).pow(keys)
        };
        let choices: u64 = (1..=4).map(choices).sum();
        let listings = 2 + 4 + 8 + 16;
        assert_eq!(self.accepted + self.refused, 4 * choices);
        assert_eq!(self.doubled, 4 * (choices - listings));
        assert_eq!(self.accepted, (1..=4).map(accepted).sum::<u64>());
    }
}

/// Cases in which `keys` keys meet a threshold. A key under one identifier or two has k + k² choices of k kinds, of which
/// (k − 1) + (k − 1)² leave it without a valid signature. When j keys have signed, j of the four thresholds are met.
fn accepted(keys: u32) -> u64 {
    let kinds = u64::from(kinds(keys as usize));
    let without = (kinds - 1) + (kinds - 1).pow(2);
    let with = kinds + kinds.pow(2) - without;
    (0..1_u32 << keys)
        .map(|signed| {
            let signed = signed.count_ones();
            with.pow(signed) * without.pow(keys - signed) * u64::from(signed)
        })
        .sum()
}

#[test]
fn top_level_targets() {
    let all = keys();
    let repository = Repository::of(&[("rubik", 31)]);
    let root = signed_part(&repository.first_root());
    let signed = signed_part(&repository.published["1.targets.json"]);
    let count = Listing::all().map(|listing| {
        let listed = listing.listed(&all);
        let mut root = root.clone();
        root["keys"].as_object_mut().unwrap().extend(objects(&listed));
        root["roles"]["targets"] = listing.role(&listed);
        let root: Root = serde_json::from_value(root).unwrap();
        let authority = root.authority("targets").unwrap();
        judge(&listing, &listed, &all, &signed, &|bytes| {
            verify::<Targets>(bytes, &authority).map(|_| ())
        })
    });
    Count::sum(count).check("targets");
}

#[test]
fn delegations() {
    let all = keys();
    let repository = Repository::of(&[("rubik", 31)]);
    let targets = signed_part(&repository.published["1.targets.json"]);
    let signed = signed_part(&repository.published["1.builds.rubik.json"]);
    let count = Listing::all().map(|listing| {
        let listed = listing.listed(&all);
        let mut targets = targets.clone();
        let delegations = &mut targets["delegations"];
        delegations["keys"]
            .as_object_mut()
            .unwrap()
            .extend(objects(&listed));
        let role = delegations["roles"][0].as_object_mut().unwrap();
        assert_eq!(role["name"], "builds.rubik");
        role.extend(listing.role(&listed).as_object().unwrap().clone());
        let targets: Targets = serde_json::from_value(targets).unwrap();
        let authority = targets.authority("builds.rubik").unwrap();
        judge(&listing, &listed, &all, &signed, &|bytes| {
            verify::<Targets>(bytes, &authority).map(|_| ())
        })
    });
    Count::sum(count).check("a delegation");
}

#[test]
fn a_root_that_signs_itself() {
    let all = keys();
    let root = signed_part(&Repository::of(&[("rubik", 31)]).first_root());
    let count = Listing::all().map(|listing| {
        let listed = listing.listed(&all);
        let mut root = root.clone();
        root["keys"].as_object_mut().unwrap().extend(objects(&listed));
        root["roles"]["root"] = listing.role(&listed);
        judge(&listing, &listed, &all, &root, &|bytes| {
            verify_first_root(bytes).map(|_| ())
        })
    });
    Count::sum(count).check("root");
}

/// Old roots with the first keys, new ones with the last, so that all ways to overlap occur; every threshold of both; every
/// set of signers.
#[test]
fn a_root_that_follows_another() {
    let all = keys();
    let ids: Vec<String> = all.iter().map(|key| key.public_key().id().to_string()).collect();
    let base = signed_part(&Repository::of(&[("rubik", 31)]).first_root());
    let root = |version: u64, own: std::ops::Range<usize>, threshold: usize| {
        let mut root = base.clone();
        root["version"] = version.into();
        for index in own.clone() {
            root["keys"][&ids[index]] = serde_json::to_value(all[index].public_key()).unwrap();
        }
        root["roles"]["root"] = json!({"keyids": ids[own], "threshold": threshold});
        root
    };
    let mut count = Count::default();
    for (old, old_threshold) in (1..=4).flat_map(|keys| (1..=keys).map(move |threshold| (keys, threshold))) {
        let every: Vec<_> = ids.iter().map(String::as_str).zip(&all).collect();
        let first = sign_json(&root(1, 0..old, old_threshold), &every);
        let set = TrustedSet::new(&first, Limits::default(), now()).unwrap();
        for (new, new_threshold) in (1..=4).flat_map(|keys| (1..=4).map(move |threshold| (keys, threshold))) {
            let next = root(2, 4 - new..4, new_threshold);
            for chosen in 0..16_usize {
                let signs = |index: usize| chosen >> index & 1 == 1;
                let signatures: Vec<_> = (0..4)
                    .filter(|index| signs(*index))
                    .map(|index| every[index])
                    .collect();
                let both = (0..old).filter(|index| signs(*index)).count() >= old_threshold
                    && (4 - new..4).filter(|index| signs(*index)).count() >= new_threshold;
                let mut set = set.clone();
                let accepted = set.update_root(&sign_json(&next, &signatures)).is_ok();
                assert_eq!(
                    accepted, both,
                    "{old_threshold} of {old}, then {new_threshold} of {new}: {chosen:04b}"
                );
                // What is refused changes nothing.
                assert_eq!(set.root().version, if both { 2 } else { 1 });
                count.add(accepted);
            }
        }
    }
    println!("root chain: {count:?}");
    assert_eq!(count.accepted + count.refused, 10 * 16 * 16);
    assert!(count.accepted > 100);
}

#[test]
fn a_role_that_lists_one_identifier_twice_is_refused() {
    let all = keys();
    let id = all[0].public_key().id().to_string();
    let mut root = signed_part(&Repository::of(&[("rubik", 31)]).first_root());
    root["roles"]["timestamp"] = json!({"keyids": [id, id], "threshold": 2});
    root["roles"]["root"] = json!({"keyids": [id], "threshold": 1});
    root["keys"][&id] = serde_json::to_value(all[0].public_key()).unwrap();
    assert!(matches!(
        verify_first_root(&sign_json(&root, &[(&id, &all[0])])),
        Err(TrustError::Form {
            source: FormError::Twice(_),
            ..
        })
    ));
}
