//! sigstore-tuf, with ring for its cryptography, without a network.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Waker};

use sigstore_crypto::{CryptoProvider, HashContext, SigningScheme, install_default_provider};
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, MemoryStore, Repository, Updater};
use sigstore_types::HashAlgorithm;

use crate::case::{Answer, Case, Said};

/// Its answer; `panicked` when it does, as with a root of the highest version where overflow is checked.
pub fn judge(case: &Case) -> Answer {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| assert!(install_default_provider(&Ring).is_ok()));
    std::panic::catch_unwind(AssertUnwindSafe(|| refresh(case))).unwrap_or_else(|_| {
        vec![Said {
            refresh: "panicked".to_owned(),
            targets: Vec::new(),
        }]
    })
}

fn refresh(case: &Case) -> Answer {
    let store = Arc::new(MemoryStore::new());
    let mut answer = Answer::new();
    for step in &case.steps {
        let Ok(updater) = Updater::new(Served(step.files.clone()), &case.first_root) else {
            answer.push(Said::no_root());
            break;
        };
        let mut updater = updater.with_store(Arc::clone(&store));
        let outcome = now(updater.refresh(step.now));
        let set = updater.trusted();
        let version = set.root().version;
        let mut said = match (
            outcome,
            set.timestamp(),
            set.snapshot(),
            set.targets_role("targets"),
        ) {
            (Ok(()), Some(timestamp), Some(snapshot), Some(targets)) => Said {
                refresh: format!(
                    "ok r{version} t{} s{} g{}",
                    timestamp.version, snapshot.version, targets.version
                ),
                targets: Vec::new(),
            },
            _ => Said::refused(version),
        };
        if said.is_trusted() {
            for path in &step.wanted {
                let found = match now(updater.get_target_info(path, step.now)) {
                    Ok(Some(file)) => {
                        let hashes: Vec<&str> = file.hashes.values().map(String::as_str).collect();
                        format!("{} {}", file.length, hashes.join(" "))
                    }
                    Ok(None) => "none".to_owned(),
                    Err(_) => "refused".to_owned(),
                };
                let ends = found == "refused";
                said.targets.push(found);
                if ends {
                    break;
                }
            }
        }
        answer.push(said);
    }
    answer
}

/// What a server has. Nothing waits, so every future is ready.
struct Served(BTreeMap<String, Vec<u8>>);

impl Repository for Served {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        let found = match self.0.get(name) {
            Some(bytes) if bytes.len() as u64 > max_length => Err(Error::transport("too long")),
            other => Ok(other.cloned()),
        };
        Box::pin(std::future::ready(found))
    }

    fn fetch_target<'a>(&'a self, _: &'a str, _: u64) -> FetchFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nothing here waits"),
    }
}

#[derive(Debug)]
struct Ring;

struct Digest(ring::digest::Context);

impl HashContext for Digest {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> sigstore_crypto::Result<Box<dyn HashContext>> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha2256 => &ring::digest::SHA256,
            HashAlgorithm::Sha2512 => &ring::digest::SHA512,
            other => return Err(sigstore_crypto::Error::UnsupportedAlgorithm(format!("{other:?}"))),
        };
        Ok(Box::new(Digest(ring::digest::Context::new(algorithm))))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> sigstore_crypto::Result<()> {
        let refuse = |what: &str| sigstore_crypto::Error::Verification(what.to_owned());
        match scheme {
            SigningScheme::Ed25519 => ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key)
                .verify(data, signature)
                .map_err(|_| refuse("the signature does not hold")),
            _ => Err(refuse("only ed25519 is tried here")),
        }
    }

    fn verify_prehashed(
        &self,
        _: SigningScheme,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> sigstore_crypto::Result<()> {
        Err(sigstore_crypto::Error::Verification(
            "only ed25519 is tried here".to_owned(),
        ))
    }
}
