use std::fmt;

use anyhow::bail;
use zeroize::Zeroizing;

/// A passphrase or a PIN: wiped when dropped, never shown.
pub struct Secret(Zeroizing<String>);

/// Fewest characters of a new passphrase.
const SHORTEST: usize = 8;

impl Secret {
    /// Takes what someone entered.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it may protect a new file: at least eight characters.
    pub fn check_new(&self) -> anyhow::Result<()> {
        if self.0.chars().count() < SHORTEST {
            bail!(
                "a passphrase has at least {SHORTEST} characters; four or five random words are a good one"
            );
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn short_ones_are_refused_by_characters_not_bytes() {
        assert!(secret("12345678").check_new().is_ok());
        assert!(secret("1234567").check_new().is_err());
        assert!(secret("üüüü").check_new().is_err());
        assert!(secret("").check_new().is_err());
    }

    #[test]
    fn it_is_never_shown() {
        assert!(!format!("{:?}", secret("hunter2hunter2")).contains("hunter"));
    }
}
