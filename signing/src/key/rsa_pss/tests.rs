//! Keys and signatures of the text `message`, made by OpenSSL 3.0:
//!
//! ```text
//! openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key; openssl pkey -in key -pubout
//! openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign key message | xxd -p
//! ```
//!
//! `exponent.pem` has the exponent 2^33 + 1 (`-pkeyopt rsa_keygen_pubexp:8589934593`).

use serde_json::json;

use crate::PublicKey;

const KEY: &str = include_str!("openssl/2048.pem");
const SALT_32: &str = include_str!("openssl/2048.salt-32");

fn key(pem: &str) -> PublicKey {
    let object = json!({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": pem}});
    serde_json::from_value(object).unwrap()
}

fn signature(hexadecimal: &str) -> Vec<u8> {
    hex::decode(hexadecimal.trim()).unwrap()
}

#[test]
fn signatures_of_openssl_hold_whatever_their_salt() {
    for text in [
        SALT_32,
        include_str!("openssl/2048.salt-0"),
        include_str!("openssl/2048.salt-longest"),
    ] {
        assert!(key(KEY).verify(b"message", &signature(text)));
        assert!(!key(KEY).verify(b"massage", &signature(text)));
    }
    let long = key(include_str!("openssl/4096.pem"));
    let by_long = signature(include_str!("openssl/4096.salt-32"));
    assert!(long.verify(b"message", &by_long));
    assert!(!key(KEY).verify(b"message", &by_long));
}

#[test]
fn other_padding_and_other_lengths_do_not_hold() {
    let key = key(KEY);
    assert!(!key.verify(b"message", &signature(include_str!("openssl/2048.pkcs1v15"))));
    let mut longer = signature(SALT_32);
    longer.insert(0, 0);
    assert!(!key.verify(b"message", &longer));
    assert!(!key.verify(b"message", &longer[2..]));
    for bytes in [&[][..], &[0; 256], &[0xff; 256], &[1; 100_000]] {
        assert!(!key.verify(b"message", bytes));
    }
}

#[test]
fn short_moduli_and_large_exponents_are_no_keys() {
    let short = key(include_str!("openssl/1024.pem"));
    assert!(!short.is_supported());
    assert!(!short.verify(b"message", &signature(include_str!("openssl/1024.salt-32"))));
    assert!(!key(include_str!("openssl/exponent.pem")).is_supported());
    assert!(!key("not PEM").is_supported());
}

#[test]
fn another_scheme_is_another_key() {
    let object = json!({"keytype": "rsa", "scheme": "rsa-pkcs1v15-sha256", "keyval": {"public": KEY}});
    let other: PublicKey = serde_json::from_value(object).unwrap();
    assert!(!other.is_supported());
}

#[test]
fn one_key_in_two_spellings_is_one_key() {
    let other = key(&KEY.replace('\n', "\r\n"));
    assert!(other.is_supported());
    assert_ne!(other.id(), key(KEY).id());
    assert_eq!(other.material(), key(KEY).material());
}
