//! How tokens write public keys and signatures. No two makers agree.

use anyhow::{Context, bail};
use millet_signing::PublicKey;
use p256::ecdsa;
use p256::pkcs8::{EncodePublicKey, LineEnding};

/// A curve that Millet signs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    Ed25519,
    P256,
}

/// CKA_EC_PARAMS of P-256: its object identifier (RFC 5480, section 2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// CKA_EC_PARAMS of ed25519: the name `edwards25519` as a PrintableString (PKCS #11 3.1, section 6.3.10), the object
/// identifier of RFC 8410, section 3, and the one of GnuPG's cards.
const ED25519: [&[u8]; 3] = [
    b"\x13\x0cedwards25519",
    &[0x06, 0x03, 0x2b, 0x65, 0x70],
    &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01],
];

impl Curve {
    /// By its CKA_EC_PARAMS.
    pub fn of(parameters: &[u8]) -> anyhow::Result<Self> {
        match parameters {
            P256 => Ok(Self::P256),
            other if ED25519.contains(&other) => Ok(Self::Ed25519),
            _ => bail!("the key is on another curve than ed25519 and P-256"),
        }
    }

    /// The public key of a CKA_EC_POINT.
    pub fn public_key(self, point: &[u8]) -> anyhow::Result<PublicKey> {
        let key = match self {
            Self::Ed25519 => inner(point, 32)
                .and_then(|bytes| bytes.try_into().ok())
                .map(|bytes: &[u8; 32]| PublicKey::ed25519(bytes)),
            Self::P256 => inner(point, 65).and_then(p256_key),
        };
        key.context("the token's public key is not a point of its curve")
    }
}

fn p256_key(point: &[u8]) -> Option<PublicKey> {
    let key = p256::PublicKey::from_sec1_bytes(point).ok()?;
    PublicKey::ecdsa_p256(&key.to_public_key_pem(LineEnding::LF).ok()?)
}

/// The point itself: bare, in a DER OCTET STRING as the standard has it, or in a BIT STRING as it had it for ed25519.
fn inner(point: &[u8], length: u8) -> Option<&[u8]> {
    let exact = |bytes: &[u8]| bytes.len() == usize::from(length);
    match point {
        bare if exact(bare) => Some(bare),
        [0x04, stated, inner @ ..] if *stated == length && exact(inner) => Some(inner),
        [0x03, stated, 0x00, inner @ ..] if stated.checked_sub(1) == Some(length) && exact(inner) => {
            Some(inner)
        }
        _ => None,
    }
}

/// What a token returned, as [`PublicKey::verify`] takes it: tokens write the two numbers of ECDSA side by side (PKCS #11
/// 3.1, section 6.3.1).
pub fn signature(curve: Curve, raw: &[u8]) -> anyhow::Result<Vec<u8>> {
    match curve {
        Curve::Ed25519 => Ok(raw.to_vec()),
        Curve::P256 => {
            let signature = ecdsa::Signature::from_slice(raw)
                .context("what the token returned is no signature of P-256")?;
            Ok(signature.to_der().as_bytes().to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use millet_signing::{Ed25519Key, P256Key, Signer};
    use p256::pkcs8::DecodePrivateKey;

    use super::*;

    #[test]
    fn a_point_in_every_spelling_is_one_key() {
        let ed25519 = Ed25519Key::from_seed(&[1; 32]);
        let hex = serde_json::to_value(ed25519.public_key()).unwrap();
        let bare = hex::decode(hex["keyval"]["public"].as_str().unwrap()).unwrap();
        let octets = [&[0x04, 32], bare.as_slice()].concat();
        let bits = [&[0x03, 33, 0], bare.as_slice()].concat();
        for point in [&bare, &octets, &bits] {
            assert_eq!(Curve::Ed25519.public_key(point).unwrap(), *ed25519.public_key());
        }
        for point in [&bare[1..], &octets[..33], &[0x05, 32], &[]] {
            Curve::Ed25519.public_key(point).unwrap_err();
        }

        let p256 = P256Key::from_scalar(&[1; 32]).unwrap();
        let secret = p256::SecretKey::from_pkcs8_pem(&p256.to_pkcs8_pem().unwrap()).unwrap();
        let bare = secret.public_key().to_sec1_bytes();
        let octets = [&[0x04, 65], &*bare].concat();
        for point in [&*bare, &octets] {
            assert_eq!(Curve::P256.public_key(point).unwrap(), *p256.public_key());
        }
        let off_the_curve = [&[0x04], [7; 64].as_slice()].concat();
        Curve::P256.public_key(&off_the_curve).unwrap_err();
    }

    #[test]
    fn curves() {
        for parameters in ED25519 {
            assert_eq!(Curve::of(parameters).unwrap(), Curve::Ed25519);
        }
        assert_eq!(Curve::of(P256).unwrap(), Curve::P256);
        Curve::of(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]).unwrap_err();
        Curve::of(&[]).unwrap_err();
    }

    #[test]
    fn two_numbers_become_a_signature() {
        let key = P256Key::from_scalar(&[1; 32]).unwrap();
        let der = key.sign(b"message").unwrap();
        let raw = ecdsa::Signature::from_der(&der).unwrap().to_bytes();
        assert_eq!(signature(Curve::P256, &raw).unwrap(), der);
        for bad in [&raw[..63], &[0; 64], &[]] {
            signature(Curve::P256, bad).unwrap_err();
        }
    }
}
