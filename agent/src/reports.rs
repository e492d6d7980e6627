//! What a device tells about its updates: nothing, until its owner turns it on, field by field.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use millet_machine::Draft;
use millet_protocol::{Build, Channel, FORMAT, Model, Report};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::error::Error;
use crate::net::Client;
use crate::state::StateDirectory;

/// What the owner allows. Without `reports` nothing is sent; the others choose what is in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Privacy {
    /// Model, channel, build, outcome and a pseudonym that counts a device within one build.
    pub reports: bool,
    /// The build it came from.
    pub from: bool,
    /// Why it failed.
    pub error: bool,
    /// Full or delta.
    pub payload: bool,
    /// Rounded seconds of download and writing.
    pub duration: bool,
}

/// One switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Any report at all.
    Reports,
    /// The build it came from.
    From,
    /// Why it failed.
    Error,
    /// Full or delta.
    Payload,
    /// Rounded seconds.
    Duration,
}

impl Field {
    /// Every switch.
    pub const ALL: [Self; 5] = [
        Self::Reports,
        Self::From,
        Self::Error,
        Self::Payload,
        Self::Duration,
    ];

    /// What it allows, for its owner.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Reports => "model, channel, build, outcome, and a pseudonym made anew for each build",
            Self::From => "the build that ran before",
            Self::Error => "why an update failed, one of seven words",
            Self::Payload => "whether a full or a delta payload was used",
            Self::Duration => "seconds of download and writing, two digits",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Reports => "reports",
            Self::From => "from",
            Self::Error => "error",
            Self::Payload => "payload",
            Self::Duration => "duration",
        })
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|field| field.to_string() == text)
            .ok_or_else(|| format!("{text:?} is none of reports, from, error, payload, duration"))
    }
}

impl Privacy {
    const FILE: &'static str = "privacy.json";

    /// The owner's choice; everything is off at first.
    pub fn read(state: &StateDirectory) -> Result<Self, Error> {
        Ok(state.read_json(Self::FILE, "a privacy file")?.unwrap_or_default())
    }

    /// Keeps the owner's choice.
    pub fn save(&self, state: &StateDirectory) -> Result<(), Error> {
        state.write_json(Self::FILE, self)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, field: Field) -> bool {
        match field {
            Field::Reports => self.reports,
            Field::From => self.from,
            Field::Error => self.error,
            Field::Payload => self.payload,
            Field::Duration => self.duration,
        }
    }

    /// Turns a switch.
    pub fn set(&mut self, field: Field, on: bool) {
        let switch = match field {
            Field::Reports => &mut self.reports,
            Field::From => &mut self.from,
            Field::Error => &mut self.error,
            Field::Payload => &mut self.payload,
            Field::Duration => &mut self.duration,
        };
        *switch = on;
    }

    /// The report of a draft, as far as the owner allows it; none when reports are off.
    pub fn report(
        &self,
        draft: &Draft,
        model: &Model,
        channel: &Channel,
        secret: &[u8; 32],
    ) -> Option<Report> {
        self.reports.then(|| Report {
            format: FORMAT,
            model: model.clone(),
            channel: channel.clone(),
            to: draft.to.clone(),
            outcome: draft.outcome,
            pseudonym: pseudonym(secret, &draft.to),
            from: draft.from.clone().filter(|_| self.from),
            error: draft.error.filter(|_| self.error),
            payload: draft.payload.filter(|_| self.payload),
            install_seconds: draft.install_seconds.filter(|_| self.duration).map(two_digits),
        })
    }
}

/// One thing that left the device, or was about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// When.
    pub at: Timestamp,
    /// Where to.
    pub to: String,
    /// The exact bytes.
    pub body: String,
}

/// The ledger: what was sent, oldest first.
pub const LEDGER: &str = "ledger.jsonl";

/// Writes a message down, then sends it: the ledger may name what did not arrive, and never leaves out what did.
pub async fn send(
    state: &StateDirectory,
    client: &Client,
    url: &str,
    body: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sent = Sent {
        at: now,
        to: url.to_owned(),
        body: body.to_owned(),
    };
    let line = serde_json::to_string(&sent).map_err(|source| Error::Form {
        path: state.path().join(LEDGER),
        what: "JSON",
        source: source.into(),
    })?;
    state.append(LEDGER, &line)?;
    client.post_json(url, body).await
}

/// HMAC-SHA-256(device secret, build): the same device within a build, another one in every other build.
fn pseudonym(secret: &[u8; 32], build: &Build) -> String {
    // RFC 2104, section 2: a short key is padded with zeros to the hash's block.
    let mut block = [0; 64];
    block[..32].copy_from_slice(secret);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(build.as_str().as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn two_digits(seconds: u64) -> u64 {
    let mut unit = 1;
    while seconds / unit >= 100 {
        unit *= 10;
    }
    (seconds.saturating_add(unit / 2) / unit).saturating_mul(unit)
}

#[cfg(test)]
mod tests {
    use millet_protocol::{ErrorCode, Outcome, PayloadKind};

    use super::*;

    fn draft() -> Draft {
        Draft {
            outcome: Outcome::RolledBack,
            to: "V2".parse().unwrap(),
            from: Some("V1".parse().unwrap()),
            error: Some(ErrorCode::Unhealthy),
            payload: Some(PayloadKind::Delta),
            install_seconds: Some(1234),
        }
    }

    fn report(privacy: Privacy) -> Option<String> {
        let (model, channel) = ("rubik".parse().unwrap(), "beta".parse().unwrap());
        let report = privacy.report(&draft(), &model, &channel, &[7; 32])?;
        Some(serde_json::to_string(&report).unwrap())
    }

    #[test]
    fn nothing_by_default_and_nothing_without_reports() {
        assert_eq!(report(Privacy::default()), None);
        let all_but = Privacy {
            reports: false,
            from: true,
            error: true,
            payload: true,
            duration: true,
        };
        assert_eq!(report(all_but), None);
    }

    #[test]
    fn each_field_by_itself() {
        for (field, name) in [
            (Field::From, "\"from\":\"V1\""),
            (Field::Error, "\"error\":\"unhealthy\""),
            (Field::Payload, "\"payload\":\"delta\""),
            (Field::Duration, "\"install_seconds\":1200"),
        ] {
            let mut privacy = Privacy {
                reports: true,
                ..Privacy::default()
            };
            assert!(!report(privacy).unwrap().contains(name));
            privacy.set(field, true);
            assert!(report(privacy).unwrap().contains(name), "{field}");
        }
    }

    #[test]
    fn pseudonyms_do_not_link_builds() {
        let (one, two) = ("V1".parse().unwrap(), "V2".parse().unwrap());
        assert_ne!(pseudonym(&[7; 32], &one), pseudonym(&[7; 32], &two));
        assert_ne!(pseudonym(&[7; 32], &one), pseudonym(&[8; 32], &one));
        // Python: hmac.new(bytes([7]*32), b"V1", "sha256").hexdigest()
        assert_eq!(
            pseudonym(&[7; 32], &one),
            "83aacadeb8df4942ecce3d58833e3351be95e9eae5fada9f28ce47ad7a29bfa3"
        );
    }

    #[test]
    fn rounding() {
        assert_eq!(
            [7, 99, 104, 1250, 99_999].map(two_digits),
            [7, 99, 100, 1300, 100_000]
        );
        assert_eq!(two_digits(u64::MAX) % 1_000_000, 0);
    }
}
