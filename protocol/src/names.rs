use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that breaks its rule of form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: {rule}")]
pub struct NameError {
    kind: &'static str,
    rule: &'static str,
    text: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    let text = text.chars().take(80).collect();
                    Err(NameError { kind: $kind, rule: $rule, text })
                }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }
    };
}

name!(
    /// A device type.
    Model,
    "model",
    "1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
    |text| shaped(text, 64, lower_or_digit, |byte| lower_or_digit(byte) || b"._-".contains(&byte))
);

name!(
    /// One ROM of a model. It has no `-`, so that `<from>-<to>` names a delta without doubt.
    Build,
    "build",
    "1 to 64 of A-Z a-z 0-9 . _, beginning with a letter or digit",
    |text| shaped(text, 64, |byte| byte.is_ascii_alphanumeric(), |byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
);

name!(
    /// Who a build is offered to: `stable`, `beta`, or a closed channel.
    Channel,
    "channel",
    "1 to 32 of a-z 0-9 -, beginning with a letter",
    |text| shaped(text, 32, |byte| byte.is_ascii_lowercase(), |byte| lower_or_digit(byte) || byte == b'-')
);

name!(
    /// A partition without its slot suffix.
    PartitionName,
    "partition",
    "1 to 32 of a-z 0-9 _, not ending in _a or _b, and neither misc nor userdata",
    |text| shaped(text, 32, partition_byte, partition_byte)
        && !text.ends_with("_a")
        && !text.ends_with("_b")
        && text != "misc"
        && text != "userdata"
);

name!(
    /// One feature that a build's manifest names and testers vote on.
    EntryId,
    "entry",
    "1 to 64 of a-z 0-9 -, beginning with a letter or digit",
    |text| shaped(text, 64, lower_or_digit, |byte| lower_or_digit(byte) || byte == b'-')
);

fn shaped(text: &str, longest: usize, first: fn(u8) -> bool, rest: fn(u8) -> bool) -> bool {
    text.len() <= longest && text.bytes().next().is_some_and(first) && text.bytes().skip(1).all(rest)
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn partition_byte(byte: u8) -> bool {
    lower_or_digit(byte) || byte == b'_'
}

/// One of the two copies of every partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// Slot 0, suffix `_a`.
    A,
    /// Slot 1, suffix `_b`.
    B,
}

impl Slot {
    /// The slot that is not this one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The slot's number in boot control: 0 or 1.
    pub fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// `_a` or `_b`, as Android's bootloaders and partition tables write it.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::A => "_a",
            Self::B => "_b",
        }
    }

    /// The slot of a suffix `_a` or `_b`.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        match suffix {
            "_a" => Some(Self::A),
            "_b" => Some(Self::B),
            _ => None,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert!("rubik-2.beta_x".parse::<Model>().is_ok());
        assert!("Rubik".parse::<Model>().is_err());
        assert!(".hidden".parse::<Model>().is_err());
        assert!("a".repeat(64).parse::<Model>().is_ok());
        assert!("a".repeat(65).parse::<Model>().is_err());
        assert!("V6.11.20".parse::<Build>().is_ok());
        assert!("V6-11".parse::<Build>().is_err());
        assert!("../x".parse::<Build>().is_err());
        assert!("beta".parse::<Channel>().is_ok());
        assert!("1beta".parse::<Channel>().is_err());
        assert!("system".parse::<PartitionName>().is_ok());
        for refused in ["system_a", "system_b", "misc", "userdata", "", "System", "a/b"] {
            assert!(refused.parse::<PartitionName>().is_err(), "{refused}");
        }
    }

    #[test]
    fn an_error_says_the_rule_and_stays_short() {
        let error = "X".repeat(10_000).parse::<Model>().unwrap_err().to_string();
        assert!(error.contains("is no model"), "{error}");
        assert!(error.len() < 250, "{}", error.len());
    }

    #[test]
    fn serde_refuses_what_parse_refuses() {
        assert!(serde_json::from_str::<Build>("\"a-b\"").is_err());
        assert_eq!(serde_json::to_string(&Slot::A).unwrap(), "\"a\"");
    }
}
