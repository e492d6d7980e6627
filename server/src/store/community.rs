use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use millet_protocol::api::PublishedFeedback;
use millet_protocol::{Build, EntryId, Feedback, Model, Sha256Digest, SignedMessage, Vote};
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;

use super::{During, Page, Store, StoreError, column, instant, json, recent, text, unsigned};
use crate::bounds::Bounds;

/// A feedback whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackRow {
    /// What was sent.
    pub message: SignedMessage,
    /// What its body says.
    pub feedback: Feedback,
}

/// A ballot whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BallotRow {
    /// What was sent.
    pub message: SignedMessage,
    /// What its body says.
    pub vote: Vote,
}

/// Where a listing of feedback goes on. Two devices that say the same in the same millisecond may be listed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackPlace {
    received_ms: i64,
    body_sha256: Sha256Digest,
}

impl fmt::Display for FeedbackPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.received_ms, self.body_sha256)
    }
}

impl FromStr for FeedbackPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.split_once('.').and_then(|(received, body)| {
            Some(Self {
                received_ms: received.parse().ok()?,
                body_sha256: body.parse().ok()?,
            })
        });
        place.ok_or("a listing goes on at the address that its page before names")
    }
}

impl Store {
    /// Keeps a feedback and enrols its key. The same message twice is one message.
    pub async fn put_feedback(
        &self,
        row: &FeedbackRow,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let operation = "store a feedback";
        let mut transaction = self.pool.begin().await.during(operation)?;
        enrol(&mut transaction, &row.message.key, bounds, now).await?;
        let stored = sqlx::query(
            "INSERT INTO feedback (model, build, key, body_sha256, body, signature, received_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (model, build, key, body_sha256) DO NOTHING",
        )
        .bind(row.feedback.model.as_str())
        .bind(row.feedback.build.as_str())
        .bind(row.message.key.as_str())
        .bind(hex::encode(Sha256::digest(&row.message.body)))
        .bind(row.message.body.as_str())
        .bind(row.message.signature.as_str())
        .bind(now.as_millisecond())
        .execute(&mut *transaction)
        .await
        .during(operation)?;
        if stored.rows_affected() == 1 {
            let query = "SELECT COUNT(*) AS recent FROM feedback WHERE received_ms > $1";
            if recent(&mut transaction, query, &[], now).await? > bounds.feedback.into() {
                return Err(StoreError::Crowded("messages of feedback came"));
            }
            let query = "SELECT COUNT(*) AS recent FROM feedback WHERE received_ms > $1 AND key = $2";
            let said = recent(&mut transaction, query, &[&row.message.key], now).await?;
            if said > bounds.feedback_of_a_key.into() {
                return Err(StoreError::Crowded("messages of feedback came from this device"));
            }
        }
        transaction.commit().await.during(operation)
    }

    /// Keeps a ballot and enrols its key. False when the key has cast another one at that moment or later.
    pub async fn put_ballot(
        &self,
        row: &BallotRow,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let operation = "store a ballot";
        let mut transaction = self.pool.begin().await.during(operation)?;
        enrol(&mut transaction, &row.message.key, bounds, now).await?;
        let stored = sqlx::query(
            "INSERT INTO ballot (model, build, key, entry, cast_ms, body, signature, received_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (model, build, key) DO UPDATE SET entry = excluded.entry, cast_ms = excluded.cast_ms, \
             body = excluded.body, signature = excluded.signature, received_ms = excluded.received_ms \
             WHERE excluded.cast_ms > ballot.cast_ms OR excluded.body = ballot.body",
        )
        .bind(row.vote.model.as_str())
        .bind(row.vote.build.as_str())
        .bind(row.message.key.as_str())
        .bind(row.vote.entry.as_str())
        .bind(row.vote.cast_at.as_millisecond())
        .bind(row.message.body.as_str())
        .bind(row.message.signature.as_str())
        .bind(now.as_millisecond())
        .execute(&mut *transaction)
        .await
        .during(operation)?;
        transaction.commit().await.during(operation)?;
        Ok(stored.rows_affected() == 1)
    }

    /// Feedback of a build, newest first: at most `most` behind a place. What cannot be read is left out.
    pub async fn feedback(
        &self,
        model: &Model,
        build: &Build,
        after: Option<FeedbackPlace>,
        most: u32,
    ) -> Result<Page<PublishedFeedback, FeedbackPlace>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, body, body_sha256, received_ms FROM feedback WHERE model = $1 AND build = $2 \
             AND received_ms <= $3 AND (received_ms < $3 OR body_sha256 > $4) \
             ORDER BY received_ms DESC, body_sha256 LIMIT $5",
        )
        .bind(model.as_str())
        .bind(build.as_str())
        .bind(after.map_or(i64::MAX, |place| place.received_ms))
        .bind(after.map_or(String::new(), |place| place.body_sha256.to_string()))
        .bind(i64::from(most).saturating_add(1))
        .fetch_all(&self.pool)
        .await
        .during("read the feedback of a build")?;
        let read = |row: &AnyRow| {
            let said: Said = match json(row, "body") {
                Err(StoreError::Value { source, .. }) => {
                    tracing::warn!(%model, %build, reason = %source, "a stored feedback is not shown");
                    return Ok(None);
                }
                said => said?,
            };
            Ok(Some(PublishedFeedback {
                received: instant(row, "received_ms")?,
                text: said.text,
                entry: said.entry,
                device: device_name(&column::<String>(row, "key")?),
            }))
        };
        let place = |row: &AnyRow| {
            Ok(FeedbackPlace {
                received_ms: column(row, "received_ms")?,
                body_sha256: text(row, "body_sha256")?,
            })
        };
        let page = Page::of(&rows, most, read, place)?;
        Ok(Page {
            rows: page.rows.into_iter().flatten().collect(),
            next: page.next,
        })
    }

    /// The latest ballot of each key, by key: at most `most` behind a key.
    pub async fn ballots(
        &self,
        model: &Model,
        build: &Build,
        after: Option<&str>,
        most: u32,
    ) -> Result<Page<SignedMessage, String>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, body, signature FROM ballot WHERE model = $1 AND build = $2 AND key > $3 \
             ORDER BY key LIMIT $4",
        )
        .bind(model.as_str())
        .bind(build.as_str())
        .bind(after.unwrap_or_default())
        .bind(i64::from(most).saturating_add(1))
        .fetch_all(&self.pool)
        .await
        .during("read the ballots of a build")?;
        let read = |row: &AnyRow| {
            Ok(SignedMessage {
                body: column(row, "body")?,
                key: column(row, "key")?,
                signature: column(row, "signature")?,
            })
        };
        Page::of(&rows, most, read, |row: &AnyRow| column(row, "key"))
    }

    /// The votes of a build by entry: one for each key, since only its latest ballot is kept.
    pub async fn votes(&self, model: &Model, build: &Build) -> Result<BTreeMap<EntryId, u64>, StoreError> {
        let rows = sqlx::query(
            "SELECT entry, COUNT(*) AS votes FROM ballot WHERE model = $1 AND build = $2 GROUP BY entry",
        )
        .bind(model.as_str())
        .bind(build.as_str())
        .fetch_all(&self.pool)
        .await
        .during("count the votes of a build")?;
        rows.iter()
            .map(|row| Ok((text(row, "entry")?, unsigned(row, "votes")?)))
            .collect()
    }

    /// When a device key was first seen.
    pub async fn enrolled(&self, key: &str) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("SELECT first_seen_ms FROM device WHERE key = $1")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .during("look up a device key")?;
        row.as_ref().map(|row| instant(row, "first_seen_ms")).transpose()
    }
}

/// What is shown of a stored feedback. Rows outlive the versions that took them: only what arrives must hold nothing else.
#[derive(serde::Deserialize)]
struct Said {
    text: String,
    #[serde(default)]
    entry: Option<EntryId>,
}

/// The name that people see of a device: enough to recognise the same one, no more.
fn device_name(key: &str) -> String {
    let digest = match hex::decode(key) {
        Ok(key) => Sha256Digest(Sha256::digest(key).into()),
        Err(_) => Sha256Digest(Sha256::digest(key).into()),
    };
    digest.to_string().chars().take(8).collect()
}

async fn enrol(
    connection: &mut sqlx::AnyConnection,
    key: &str,
    bounds: &Bounds,
    now: Timestamp,
) -> Result<(), StoreError> {
    let enrolled =
        sqlx::query("INSERT INTO device (key, first_seen_ms) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
            .bind(key)
            .bind(now.as_millisecond())
            .execute(&mut *connection)
            .await
            .during("enrol a device key")?;
    let query = "SELECT COUNT(*) AS recent FROM device WHERE first_seen_ms > $1";
    if enrolled.rows_affected() == 1 && recent(connection, query, &[], now).await? > bounds.keys.into() {
        return Err(StoreError::Crowded("devices enrolled"));
    }
    Ok(())
}
