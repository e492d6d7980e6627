use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::envelope::Envelope;
use crate::error::FormError;
use crate::metadata::Role;
use crate::{Authority, KeyId, SignError, Signer};

/// A file whose signatures come one by one, from machines that do not trust each other.
///
/// Its signatures are whatever was handed in; [`Collected::valid`] says which of them count.
#[derive(Debug)]
pub struct Collected {
    envelope: Envelope,
}

/// Two files that should have been one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the two files do not sign the same bytes")]
pub struct Different;

impl Collected {
    /// Reads the form of a file, with any number of signatures, also none.
    pub fn parse(file: &[u8]) -> Result<Self, FormError> {
        Envelope::parse(file).map(|envelope| Self { envelope })
    }

    /// The exact bytes that are signed: the canonical form of what stands under `signed`.
    pub fn message(&self) -> &[u8] {
        &self.envelope.message
    }

    /// What is signed, which nobody may have vouched for yet.
    pub fn role<R: Role>(&self) -> Result<R, FormError> {
        self.envelope.role()
    }

    /// The keys of a role whose signatures hold, each once (4.2.1).
    pub fn valid(&self, authority: &Authority<'_>) -> Vec<KeyId> {
        let mut counted = BTreeSet::new();
        let mut valid = Vec::new();
        for keyid in authority.keyids() {
            let Some(key) = authority.key(keyid) else { continue };
            let signature = self.envelope.signatures.get(keyid);
            let holds = signature.is_some_and(|signature| key.verify(&self.envelope.message, signature));
            if holds && counted.insert(key.material()) {
                valid.push(keyid.clone());
            }
        }
        valid
    }

    /// Adds a key's signature for every role of `authorities` that lists the key and has none of it that holds; says
    /// whether there was one. Signatures that hold for none of them go.
    pub fn sign(&mut self, signer: &dyn Signer, authorities: &[Authority<'_>]) -> Result<bool, SignError> {
        self.keep_valid(authorities);
        let mut lacking = BTreeSet::new();
        for authority in authorities
            .iter()
            .filter(|authority| authority.has(signer.public_key()))
        {
            let valid = self.valid(authority);
            let own = |keyid: &&KeyId| {
                let key = authority.key(keyid).and_then(|key| key.material());
                key.is_some() && key == signer.public_key().material()
            };
            if !valid.iter().any(|keyid| own(&keyid)) {
                lacking.extend(authority.keyids().iter().find(own).cloned());
            }
        }
        if lacking.is_empty() {
            return Ok(false);
        }
        let signature = signer.sign(&self.envelope.message)?;
        for keyid in lacking {
            self.put(keyid, signature.clone());
        }
        Ok(true)
    }

    /// Takes over the signatures of another copy of the file that hold for any of `authorities`; others go, of both, so
    /// that a copy full of broken signatures does no harm.
    pub fn merge(&mut self, other: &Self, authorities: &[Authority<'_>]) -> Result<(), Different> {
        if self.envelope.message != other.envelope.message {
            return Err(Different);
        }
        self.keep_valid(authorities);
        for keyid in authorities.iter().flat_map(|authority| other.valid(authority)) {
            if let Some(signature) = other.envelope.signatures.get(&keyid) {
                self.put(keyid, signature.clone());
            }
        }
        Ok(())
    }

    fn keep_valid(&mut self, authorities: &[Authority<'_>]) {
        let valid: BTreeSet<KeyId> = (authorities.iter())
            .flat_map(|authority| self.valid(authority))
            .collect();
        self.envelope.signatures.retain(|keyid, _| valid.contains(keyid));
    }

    /// The file with the signatures that it has.
    pub fn to_vec(&self) -> Result<Vec<u8>, serde_json::Error> {
        let signatures: Vec<Value> = (self.envelope.signatures.iter())
            .map(|(keyid, signature)| json!({"keyid": keyid.as_str(), "sig": hex::encode(signature)}))
            .collect();
        serde_json::to_vec(&json!({"signatures": signatures, "signed": self.envelope.signed}))
    }

    fn put(&mut self, keyid: KeyId, signature: Vec<u8>) {
        self.envelope.signatures.insert(keyid, signature);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::metadata::{Root, Targets};
    use crate::{Ed25519Key, sign, verify};

    fn key(seed: u8) -> Ed25519Key {
        Ed25519Key::from_seed(&[seed; 32])
    }

    fn root() -> Root {
        let mut root = Root::new(Timestamp::UNIX_EPOCH);
        let public = [key(1), key(2), key(3)].map(|key| key.public_key().clone());
        for role in ["root", "timestamp", "snapshot", "targets"] {
            root.set_role(role, &public, 2).unwrap();
        }
        root
    }

    fn asked() -> Collected {
        Collected::parse(&sign(&Targets::new(Timestamp::UNIX_EPOCH), &[]).unwrap()).unwrap()
    }

    #[test]
    fn signatures_come_in_any_order_from_copies() {
        let root = root();
        let authority = root.authority("targets").unwrap();
        let (mut one, mut two) = (asked(), asked());
        assert!(one.sign(&key(3), &[authority]).unwrap());
        assert!(!one.sign(&key(3), &[authority]).unwrap());
        assert!(!one.sign(&key(9), &[authority]).unwrap());
        assert!(two.sign(&key(1), &[authority]).unwrap());
        assert_eq!(one.valid(&authority).len(), 1);
        assert!(verify::<Targets>(&one.to_vec().unwrap(), &authority).is_err());
        one.merge(&two, &[authority]).unwrap();
        one.merge(&two, &[authority]).unwrap();
        assert_eq!(one.valid(&authority).len(), 2);
        assert!(verify::<Targets>(&one.to_vec().unwrap(), &authority).is_ok());
    }

    #[test]
    fn a_stranger_does_not_count_and_a_broken_signature_spoils_nothing() {
        let root = root();
        let authority = root.authority("targets").unwrap();
        let (mut good, mut bad) = (asked(), asked());
        good.sign(&key(1), &[authority]).unwrap();
        bad.put(key(9).public_key().id(), key(9).sign(bad.message()).unwrap());
        bad.put(key(1).public_key().id(), vec![0; 64]);
        good.merge(&bad, &[authority]).unwrap();
        assert_eq!(good.valid(&authority), [key(1).public_key().id()]);
        bad.merge(&good, &[authority]).unwrap();
        assert_eq!(bad.valid(&authority), [key(1).public_key().id()]);
        assert_eq!(bad.to_vec().unwrap(), good.to_vec().unwrap());
    }

    #[test]
    fn a_copy_with_as_many_signatures_as_may_be_leaves_a_file_that_can_be_read() {
        let root = root();
        let authority = root.authority("targets").unwrap();
        let mut full = asked();
        for seed in 10..138 {
            full.put(key(seed).public_key().id(), vec![0; 64]);
        }
        let full = Collected::parse(&full.to_vec().unwrap()).unwrap();
        let mut good = asked();
        good.sign(&key(1), &[authority]).unwrap();
        good.merge(&full, &[authority]).unwrap();
        let mut handed_in = Collected::parse(&full.to_vec().unwrap()).unwrap();
        handed_in.sign(&key(2), &[authority]).unwrap();
        for (file, signer) in [(good, 1), (handed_in, 2)] {
            let read = Collected::parse(&file.to_vec().unwrap()).unwrap();
            assert_eq!(read.valid(&authority), [key(signer).public_key().id()]);
        }
    }

    #[test]
    fn copies_of_different_content_are_never_merged() {
        let root = root();
        let authority = root.authority("targets").unwrap();
        let other = sign(
            &Targets::new(Timestamp::UNIX_EPOCH).next(Timestamp::UNIX_EPOCH),
            &[],
        )
        .unwrap();
        let other = Collected::parse(&other).unwrap();
        assert_eq!(asked().merge(&other, &[authority]), Err(Different));
    }
}
