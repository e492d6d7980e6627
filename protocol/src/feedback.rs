use serde::{Deserialize, Serialize};

use crate::{Build, EntryId, Model};

/// What kind of message a device key signs. Its label goes under the signature, so that one kind never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A [`Feedback`].
    Feedback,
    /// A [`Vote`].
    Vote,
}

impl MessageKind {
    fn label(self) -> &'static str {
        match self {
            Self::Feedback => "millet-feedback-v1\n",
            Self::Vote => "millet-vote-v1\n",
        }
    }

    /// The longest body that a server takes, in bytes. A ballot of the longest names has about 400; all of them are
    /// public and kept, so none has room for anything else.
    pub fn longest_body(self) -> usize {
        match self {
            Self::Feedback => SignedMessage::LONGEST_BODY,
            Self::Vote => 1024,
        }
    }
}

/// The exact bytes of a message and an ed25519 signature by the device's key.
///
/// The body travels as text, so that what was previewed is what was signed and what is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedMessage {
    /// JSON text of a [`Feedback`] or [`Vote`].
    pub body: String,
    /// The device's ed25519 public key, 64 hexadecimal digits.
    pub key: String,
    /// Signature over [`SignedMessage::signed_bytes`], 128 hexadecimal digits.
    pub signature: String,
}

impl SignedMessage {
    /// The longest body that anyone accepts, in bytes.
    pub const LONGEST_BODY: usize = 16 * 1024;

    /// The bytes under the signature: the kind's label, then the body.
    pub fn signed_bytes(kind: MessageKind, body: &str) -> Vec<u8> {
        [kind.label().as_bytes(), body.as_bytes()].concat()
    }
}

/// What a person says of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// The device type.
    pub model: Model,
    /// The build it is about.
    pub build: Build,
    /// The person's words.
    pub text: String,
    /// The entry it is about, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryId>,
}

/// A ballot: this device runs the build, confirmed, and its owner likes this entry best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// The device type.
    pub model: Model,
    /// The build that the device confirmed.
    pub build: Build,
    /// The entry voted for.
    pub entry: EntryId,
    /// When the device confirmed the build.
    pub confirmed_at: jiff::Timestamp,
    /// When the ballot was cast. The latest of a key counts, and ballots are public, so the order is signed: an old one
    /// sent again changes nothing.
    pub cast_at: jiff::Timestamp,
}
