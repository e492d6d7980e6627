use millet_protocol::Sha256Digest;
use prost::Message;

use super::PackageError;

/// A key that signs payloads for a phone's update_engine: RSA with PKCS#1 v1.5, or ECDSA over P-256 in DER. Where it
/// lies and how it is held is its owner's business.
pub trait PayloadKey {
    /// Bytes of its longest signature; shorter ones are padded, because the manifest names the size before it is signed.
    fn longest_signature(&self) -> usize;
    /// Signs what has this SHA-256.
    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError>;
}

/// Why a key did not sign, in its owner's words.
pub type SignError = Box<dyn std::error::Error + Send + Sync>;

/// `Signatures` of AOSP's `update_metadata.proto`.
#[derive(Clone, PartialEq, Message)]
struct Signatures {
    #[prost(message, repeated, tag = "1")]
    signatures: Vec<Signature>,
}

#[derive(Clone, PartialEq, Message)]
struct Signature {
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
    #[prost(fixed32, optional, tag = "3")]
    unpadded_signature_size: Option<u32>,
}

/// Bytes of every message that [`sign`] returns for this key.
pub(super) fn size(key: &dyn PayloadKey) -> u64 {
    message(Vec::new(), key.longest_signature()).encoded_len() as u64
}

/// The message around a signature of what has this SHA-256, padded as `payload_signer.cc` does.
pub(super) fn sign(key: &dyn PayloadKey, sha256: &Sha256Digest) -> Result<Vec<u8>, PackageError> {
    let signature = key.sign(sha256).map_err(PackageError::Sign)?;
    let (has, longest) = (signature.len(), key.longest_signature());
    if has > longest {
        return Err(PackageError::LongSignature { has, longest });
    }
    Ok(message(signature, longest).encode_to_vec())
}

fn message(mut data: Vec<u8>, padded: usize) -> Signatures {
    let unpadded_signature_size = u32::try_from(data.len()).ok();
    data.resize(padded, 0);
    let signature = Signature {
        data: Some(data),
        unpadded_signature_size,
    };
    Signatures {
        signatures: vec![signature],
    }
}
