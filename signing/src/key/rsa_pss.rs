//! RSASSA-PSS with SHA-256 (RFC 8017, section 8.1), for repositories of others.

use std::ops::RangeInclusive;

use p256::ecdsa::signature::Verifier;
use rsa::RsaPublicKey;
use rsa::pkcs8::{DecodePublicKey, EncodePublicKey};
use rsa::pss::{Signature, VerifyingKey};
use rsa::traits::PublicKeyParts;
use sha2::Sha256;

/// Bits of a modulus: below, it can be factored; above, one check costs more than a signature is worth. The library
/// bounds the exponent below 2^33 for the same reason.
const BITS: RangeInclusive<u32> = 2048..=8192;

/// The one DER form of a key that is given as SubjectPublicKeyInfo in PEM; `None` when it is not such a key.
pub fn der(pem: &str) -> Option<Vec<u8>> {
    let key = RsaPublicKey::from_public_key_pem(pem).ok()?;
    let key = Some(key).filter(|key| BITS.contains(&key.n().bits()))?;
    key.to_public_key_der().ok().map(|der| der.into_vec())
}

/// Whether `signature` is the key's over `message`, with MGF1 over SHA-256. The salt may have any length, as in
/// securesystemslib's verifier; its signer makes one as long as the digest.
pub fn verify(der: &[u8], message: &[u8], signature: &[u8]) -> bool {
    RsaPublicKey::from_public_key_der(der).is_ok_and(|key| {
        let key = VerifyingKey::<Sha256>::new_with_auto_salt_len(key);
        Signature::try_from(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    })
}

#[cfg(test)]
mod tests;
