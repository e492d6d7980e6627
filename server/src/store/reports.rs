use jiff::Timestamp;
use millet_protocol::{Build, Report};
use sqlx::AnyConnection;

use super::{During, Store, StoreError, parsed, recent, signed};
use crate::bounds::Bounds;

const NEW: &str = "INSERT INTO report (model, build, pseudonym, channel, outcome, from_build, error, payload, \
                   install_seconds, received_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                   ON CONFLICT (model, build, pseudonym) DO NOTHING";
const AGAIN: &str = "UPDATE report SET channel = $4, outcome = $5, from_build = $6, error = $7, payload = $8, \
                     install_seconds = $9, received_ms = $10 WHERE model = $1 AND build = $2 AND pseudonym = $3";

impl Store {
    /// Counts a report: the latest of a device and build.
    pub async fn put_report(
        &self,
        report: &Report,
        bounds: &Bounds,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let operation = "store a report";
        let mut transaction = self.pool.begin().await.during(operation)?;
        if write(&mut transaction, NEW, report, now).await? == 0 {
            write(&mut transaction, AGAIN, report, now).await?;
        } else {
            // With those that said something anew: an hour's rows are all that can be counted without a date more.
            let query =
                "SELECT COUNT(*) AS recent FROM report WHERE received_ms > $1 AND model = $2 AND build = $3";
            let names = [report.model.as_str(), report.to.as_str()];
            if recent(&mut transaction, query, &names, now).await? > bounds.reporters.into() {
                return Err(StoreError::Crowded(
                    "devices report of this build for the first time",
                ));
            }
        }
        transaction.commit().await.during(operation)
    }
}

/// How many rows it wrote.
async fn write(
    connection: &mut AnyConnection,
    query: &'static str,
    report: &Report,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let written = sqlx::query(query)
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
        .execute(connection)
        .await
        .during("store a report")?;
    Ok(written.rows_affected())
}

/// The word that stands for an enum's variant on the wire, which is also how it is stored.
fn word(value: &impl serde::Serialize) -> Result<String, StoreError> {
    match parsed("word", serde_json::to_value(value))? {
        serde_json::Value::String(word) => Ok(word),
        other => parsed("word", Err(format!("{other} is not a word"))),
    }
}
