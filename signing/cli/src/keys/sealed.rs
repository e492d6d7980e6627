//! Key files encrypted by a passphrase, in the age format, version 1 (age-encryption.org/v1).

use age::secrecy::SecretString;
use age::{DecryptError, scrypt};
use anyhow::{Context, anyhow};
use zeroize::Zeroizing;

use super::secret::Secret;

/// scrypt's work factor of what is written, as age's own command has it: 2^18 rounds of 1 KiB (section "The scrypt
/// recipient type": r = 8, p = 1), which is 256 MiB and about a second.
const WORK: u8 = 18;

/// The highest work factor that is read: 1 GiB and some seconds. A file that asks for more is not worked on.
const MOST_WORK: u8 = 20;

/// Whether a file is encrypted, by its first bytes.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") || bytes.starts_with(b"age-encryption.org/")
}

/// Encrypts a text under a passphrase, in age's ASCII armor.
pub fn seal(text: &str, passphrase: &Secret) -> anyhow::Result<String> {
    seal_with(text, passphrase, WORK)
}

/// Decrypts what [`seal`] or `age --passphrase` made, armored or not; `None` when the passphrase is wrong.
///
/// # Errors
/// When the file is damaged, is encrypted to something else than a passphrase, wants more work than 2^20, or does not
/// hold text.
pub fn unseal(bytes: &[u8], passphrase: &Secret) -> anyhow::Result<Option<Zeroizing<String>>> {
    let mut identity = scrypt::Identity::new(secret_string(passphrase));
    identity.set_max_work_factor(MOST_WORK);
    match age::decrypt(&identity, bytes) {
        Ok(plain) => {
            let plain = Zeroizing::new(plain);
            let text = std::str::from_utf8(&plain).context("what is encrypted is not text")?;
            Ok(Some(Zeroizing::new(text.to_owned())))
        }
        Err(DecryptError::DecryptionFailed) => Ok(None),
        Err(DecryptError::ExcessiveWork { required, .. }) => Err(anyhow!(
            "it asks for scrypt's work factor {required}, and {MOST_WORK} is the most that is worked on"
        )),
        Err(DecryptError::NoMatchingKeys) => Err(anyhow!("it is encrypted to keys, not to a passphrase")),
        Err(error) => Err(error).context("it is damaged"),
    }
}

fn seal_with(text: &str, passphrase: &Secret, work: u8) -> anyhow::Result<String> {
    let mut recipient = scrypt::Recipient::new(secret_string(passphrase));
    recipient.set_work_factor(work);
    age::encrypt_and_armor(&recipient, text.as_bytes()).context("cannot encrypt")
}

fn secret_string(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn only_the_passphrase_opens() {
        let sealed = seal_with("text", &secret("friday evening"), 2).unwrap();
        assert!(is_sealed(sealed.as_bytes()));
        let open = |passphrase| unseal(sealed.as_bytes(), &secret(passphrase)).unwrap();
        assert_eq!(open("friday evening").unwrap().as_str(), "text");
        assert!(open("friday morning").is_none() && open("").is_none());
    }

    #[test]
    fn every_changed_letter_is_refused_or_changes_nothing() {
        let sealed = seal_with("text", &secret("friday evening"), 2).unwrap();
        for at in 0..sealed.len() {
            let mut bent = sealed.clone().into_bytes();
            bent[at] ^= 1;
            if let Ok(Some(text)) = unseal(&bent, &secret("friday evening")) {
                // The armor ignores white space at its ends.
                assert_eq!(text.as_str(), "text", "{at}");
            }
        }
        for end in 0..sealed.trim_end().len() {
            let cut = unseal(&sealed.as_bytes()[..end], &secret("friday evening"));
            assert!(!matches!(cut, Ok(Some(_))), "{end}");
        }
    }
}
