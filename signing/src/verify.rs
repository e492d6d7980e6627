use std::collections::{BTreeMap, BTreeSet};

use crate::envelope::Envelope;
use crate::error::TrustError;
use crate::metadata::{Role, Root};
use crate::{KeyId, PublicKey};

/// The keys that sign for one role, and how many of them are needed.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    role: &'a str,
    keys: &'a BTreeMap<KeyId, PublicKey>,
    keyids: &'a [KeyId],
    threshold: u64,
}

impl<'a> Authority<'a> {
    pub(crate) fn new(
        role: &'a str,
        keys: &'a BTreeMap<KeyId, PublicKey>,
        keyids: &'a [KeyId],
        threshold: u64,
    ) -> Self {
        Self {
            role,
            keys,
            keyids,
            threshold,
        }
    }

    /// The role's name.
    pub fn role(&self) -> &'a str {
        self.role
    }

    /// Identifiers of its keys.
    pub fn keyids(&self) -> &'a [KeyId] {
        self.keyids
    }

    /// How many different keys must sign.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Its keys, as far as the metadata holds them.
    pub fn keys(&self) -> impl Iterator<Item = &'a PublicKey> {
        let keys = self.keys;
        self.keyids.iter().filter_map(move |keyid| keys.get(keyid))
    }

    /// One of its keys.
    pub(crate) fn key(&self, keyid: &KeyId) -> Option<&'a PublicKey> {
        self.keys.get(keyid)
    }

    /// Whether `key` is one of them, in whatever spelling.
    pub fn has(&self, key: &PublicKey) -> bool {
        key.material()
            .is_some_and(|wanted| self.keys().any(|own| own.material().as_ref() == Some(&wanted)))
    }

    /// Whether exactly these keys sign for it, at this threshold.
    pub fn is(&self, keys: &[PublicKey], threshold: u64) -> bool {
        self.threshold == threshold && self.keyids.len() == keys.len() && keys.iter().all(|key| self.has(key))
    }

    /// Whether two roles are signed by the same keys at the same threshold.
    pub fn same_keys(&self, other: &Authority<'_>) -> bool {
        let materials = |authority: &Authority<'_>| -> BTreeSet<_> {
            authority.keys().filter_map(PublicKey::material).collect()
        };
        self.threshold == other.threshold && materials(self) == materials(other)
    }

    /// 4.2.1: a threshold of different keys has signed. One key counts once, under however many identifiers it is listed.
    ///
    /// Only signatures of the role's own keys are checked, and none after the threshold is met.
    fn check(&self, envelope: &Envelope) -> Result<(), TrustError> {
        let mut signed = BTreeSet::new();
        for keyid in self.keyids {
            let Some(signature) = envelope.signatures.get(keyid) else {
                continue;
            };
            let Some(key) = self.keys.get(keyid).and_then(PublicKey::material) else {
                continue;
            };
            if !signed.contains(&key) && key.verify(&envelope.message, signature) {
                signed.insert(key);
            }
            if u64::try_from(signed.len()) == Ok(self.threshold) {
                return Ok(());
            }
        }
        Err(TrustError::Signatures {
            role: self.role.to_owned(),
            valid: u64::try_from(signed.len()).unwrap_or(u64::MAX),
            threshold: self.threshold,
        })
    }
}

/// Checks a file's form and signatures, neither its expiry nor its version: for a repository, which compares with
/// what it holds. The caller bounds the length.
pub fn verify<R: Role>(bytes: &[u8], authority: &Authority<'_>) -> Result<R, TrustError> {
    let form = |source| TrustError::Form {
        role: authority.role.to_owned(),
        source,
    };
    let envelope = Envelope::parse(bytes).map_err(form)?;
    authority.check(&envelope)?;
    envelope.role().map_err(form)
}

/// A root that is trusted for another reason than its signatures: it came with the system, or begins a repository.
/// It must still be signed by its own threshold.
pub fn verify_first_root(bytes: &[u8]) -> Result<Root, TrustError> {
    let envelope = Envelope::parse(bytes).map_err(root_form)?;
    signed_by_itself(&envelope)
}

/// The root that follows `current` (5.3.4, 5.3.5): its version is one more, and thresholds of both the old and the new
/// keys have signed it.
pub fn verify_next_root(bytes: &[u8], current: &Root) -> Result<Root, TrustError> {
    let envelope = Envelope::parse(bytes).map_err(root_form)?;
    current.top_level("root").check(&envelope)?;
    let next = signed_by_itself(&envelope)?;
    let expected = current.version.checked_add(1);
    if Some(next.version) != expected {
        return Err(TrustError::Version {
            role: "root".to_owned(),
            expected: expected.unwrap_or(u64::MAX),
            actual: next.version,
        });
    }
    Ok(next)
}

fn signed_by_itself(envelope: &Envelope) -> Result<Root, TrustError> {
    let root: Root = envelope.role().map_err(root_form)?;
    root.top_level("root").check(envelope)?;
    Ok(root)
}

fn root_form(source: crate::FormError) -> TrustError {
    TrustError::Form {
        role: "root".to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::metadata::Targets;
    use crate::{Ed25519Key, Signer, sign};

    fn key(seed: u8) -> Ed25519Key {
        Ed25519Key::from_seed(&[seed; 32])
    }

    fn root_of(keys: &[&Ed25519Key], threshold: u64) -> Root {
        let public: Vec<PublicKey> = keys.iter().map(|key| key.public_key().clone()).collect();
        let mut root = Root::new(Timestamp::UNIX_EPOCH);
        for role in ["root", "timestamp", "snapshot", "targets"] {
            root.set_role(role, &public, threshold).unwrap();
        }
        root
    }

    #[test]
    fn an_authority_says_who_may_sign() {
        let root = root_of(&[&key(1), &key(2)], 2);
        let authority = root.authority("targets").unwrap();
        assert_eq!((authority.role(), authority.threshold()), ("targets", 2));
        assert_eq!(authority.keyids().len(), authority.keys().count());
        assert!(authority.has(key(2).public_key()) && !authority.has(key(3).public_key()));
        // Other keys or another threshold are another authority.
        assert!(authority.same_keys(&root.authority("root").unwrap()));
        for other in [root_of(&[&key(1), &key(2)], 1), root_of(&[&key(1), &key(3)], 2)] {
            assert!(!authority.same_keys(&other.authority("targets").unwrap()));
        }
    }

    #[test]
    fn one_key_under_two_identifiers_counts_once() {
        let only = key(1);
        let root = root_of(&[&only, &key(2)], 2);
        let mut value = serde_json::to_value(&root).unwrap();
        let object = serde_json::to_value(only.public_key()).unwrap();
        value["keys"]["alias"] = object;
        value["roles"]["targets"]["keyids"] = json!([only.public_key().id(), "alias"]);
        let root: Root = serde_json::from_value(value).unwrap();
        let bytes = sign(&Targets::new(Timestamp::UNIX_EPOCH), &[&only as &dyn Signer]).unwrap();
        let mut file: Value = serde_json::from_slice(&bytes).unwrap();
        let mut second = file["signatures"][0].clone();
        second["keyid"] = "alias".into();
        file["signatures"].as_array_mut().unwrap().push(second);
        let verdict = verify::<Targets>(
            &serde_json::to_vec(&file).unwrap(),
            &root.authority("targets").unwrap(),
        );
        assert!(matches!(
            verdict,
            Err(TrustError::Signatures {
                valid: 1,
                threshold: 2,
                ..
            })
        ));
    }

    #[test]
    fn unknown_fields_are_kept_and_stay_under_the_signature() {
        let key = key(1);
        let root = root_of(&[&key], 1);
        let mut targets = Targets::new(Timestamp::UNIX_EPOCH);
        targets.other.insert("x_future".into(), json!({"a": [1]}));
        let bytes = sign(&targets, &[&key as &dyn Signer]).unwrap();
        let authority = root.authority("targets").unwrap();
        let read: Targets = verify(&bytes, &authority).unwrap();
        assert_eq!(read.next(read.expires).other, targets.other);
        let tampered = String::from_utf8(bytes).unwrap().replace("x_future", "x_furtue");
        assert!(matches!(
            verify::<Targets>(tampered.as_bytes(), &authority),
            Err(TrustError::Signatures { valid: 0, .. })
        ));
    }

    #[test]
    fn a_root_follows_only_with_both_thresholds_and_the_next_version() {
        let (old, new) = (key(1), key(2));
        let first = root_of(&[&old], 1);
        let mut second = root_of(&[&new], 1);
        second.version = 2;
        let by = |signers: &[&dyn Signer]| verify_next_root(&sign(&second, signers).unwrap(), &first);
        assert!(by(&[&old, &new]).is_ok());
        assert!(matches!(by(&[&old]), Err(TrustError::Signatures { .. })));
        assert!(matches!(by(&[&new]), Err(TrustError::Signatures { .. })));
        for version in [1, 3] {
            second.version = version;
            let bytes = sign(&second, &[&old as &dyn Signer, &new]).unwrap();
            let verdict = verify_next_root(&bytes, &first);
            assert!(matches!(verdict, Err(TrustError::Version { expected: 2, .. })));
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = verify_first_root(&bytes);
        }
    }
}
