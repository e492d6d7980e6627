use jiff::Timestamp;
use millet_protocol::api::PublishedFeedback;
use millet_protocol::{Build, EntryId, Feedback, Model, Report, Sha256Digest, SignedMessage, Vote};
use millet_rollout::Ballot;
use sha2::{Digest as _, Sha256};

use super::{During, Store, StoreError, column, instant, json, parsed, signed, text};

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

impl Store {
    /// Counts a report: the latest of a device and build.
    pub async fn put_report(&self, report: &Report, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO report (model, build, pseudonym, channel, outcome, from_build, error, payload, install_seconds, \
             received_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (model, build, pseudonym) DO UPDATE SET channel = excluded.channel, outcome = excluded.outcome, \
             from_build = excluded.from_build, error = excluded.error, payload = excluded.payload, \
             install_seconds = excluded.install_seconds, received_ms = excluded.received_ms",
        )
        .bind(report.model.as_str())
        .bind(report.to.as_str())
        .bind(report.pseudonym.as_str())
        .bind(report.channel.as_str())
        .bind(word(&report.outcome)?)
        .bind(report.from.as_ref().map(Build::as_str))
        .bind(report.error.as_ref().map(word).transpose()?)
        .bind(report.payload.as_ref().map(word).transpose()?)
        .bind(report.install_seconds.map(signed))
        .bind(now.as_millisecond())
        .execute(&self.pool)
        .await
        .during("store a report")?;
        Ok(())
    }

    /// Keeps a feedback and enrols its key. The same message twice is one message.
    pub async fn put_feedback(&self, row: &FeedbackRow, now: Timestamp) -> Result<(), StoreError> {
        let operation = "store a feedback";
        let mut transaction = self.pool.begin().await.during(operation)?;
        enrol(&mut transaction, &row.message.key, now).await?;
        sqlx::query(
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
        transaction.commit().await.during(operation)
    }

    /// Keeps a ballot and enrols its key. False when the key has cast another one at that moment or later.
    pub async fn put_ballot(&self, row: &BallotRow, now: Timestamp) -> Result<bool, StoreError> {
        let operation = "store a ballot";
        let mut transaction = self.pool.begin().await.during(operation)?;
        enrol(&mut transaction, &row.message.key, now).await?;
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

    /// Feedback of a build, newest first, at most `most`.
    pub async fn feedback(
        &self,
        model: &Model,
        build: &Build,
        most: u32,
    ) -> Result<Vec<PublishedFeedback>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, body, received_ms FROM feedback WHERE model = $1 AND build = $2 \
             ORDER BY received_ms DESC, body_sha256 LIMIT $3",
        )
        .bind(model.as_str())
        .bind(build.as_str())
        .bind(i64::from(most))
        .fetch_all(&self.pool)
        .await
        .during("read the feedback of a build")?;
        rows.iter()
            .map(|row| {
                let feedback: Feedback = json(row, "body")?;
                Ok(PublishedFeedback {
                    received: instant(row, "received_ms")?,
                    text: feedback.text,
                    entry: feedback.entry,
                    device: device_name(&column::<String>(row, "key")?),
                })
            })
            .collect()
    }

    /// The latest ballot of each key, by key.
    pub async fn ballots(
        &self,
        model: &Model,
        build: &Build,
    ) -> Result<Vec<(SignedMessage, Ballot)>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, entry, cast_ms, body, signature FROM ballot WHERE model = $1 AND build = $2 ORDER BY key",
        )
        .bind(model.as_str())
        .bind(build.as_str())
        .fetch_all(&self.pool)
        .await
        .during("read the ballots of a build")?;
        rows.iter()
            .map(|row| {
                let message = SignedMessage {
                    body: column(row, "body")?,
                    key: column(row, "key")?,
                    signature: column(row, "signature")?,
                };
                let ballot = Ballot {
                    key: message.key.clone(),
                    entry: text::<EntryId>(row, "entry")?,
                    cast_at: instant(row, "cast_ms")?,
                };
                Ok((message, ballot))
            })
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

/// The name that people see of a device: enough to recognise the same one, no more.
fn device_name(key: &str) -> String {
    let digest = match hex::decode(key) {
        Ok(key) => Sha256Digest(Sha256::digest(key).into()),
        Err(_) => Sha256Digest(Sha256::digest(key).into()),
    };
    digest.to_string().chars().take(8).collect()
}

async fn enrol(connection: &mut sqlx::AnyConnection, key: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO device (key, first_seen_ms) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
        .bind(key)
        .bind(now.as_millisecond())
        .execute(connection)
        .await
        .during("enrol a device key")?;
    Ok(())
}

/// The word that stands for an enum's variant on the wire, which is also how it is stored.
fn word(value: &impl serde::Serialize) -> Result<String, StoreError> {
    match parsed("word", serde_json::to_value(value))? {
        serde_json::Value::String(word) => Ok(word),
        other => parsed("word", Err(format!("{other} is not a word"))),
    }
}
