use jiff::Timestamp;
use millet_protocol::api::RolloutStage;
use millet_protocol::{Build, Channel, Model, Outcome, RampPoint, RolloutDocument, Sequence};
use millet_rollout::Evidence;
use sqlx::any::AnyRow;

use super::{During, Store, StoreError, column, instant, json, parsed, text, unsigned};

/// A rollout, also the part that devices do not see.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutRow {
    /// The model.
    pub model: Model,
    /// The channel.
    pub channel: Channel,
    /// The build on offer.
    pub build: Build,
    /// Its sequence.
    pub sequence: Sequence,
    /// Where it stands.
    pub stage: RolloutStage,
    /// Why it is paused or halted.
    pub reason: Option<String>,
    /// From the first device to the last, in seconds of running time.
    pub over_seconds: u64,
    /// How often devices ask, in seconds.
    pub polls_seconds: u32,
    /// The cleared points.
    pub ramp: Vec<RampPoint>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When devices first saw it.
    pub opened: Option<Timestamp>,
    /// The document that devices see.
    pub document: Option<RolloutDocument>,
}

const COLUMNS: &str = "SELECT model, channel, build, sequence, stage, reason, over_seconds, polls_seconds, ramp, \
                       created_ms, opened_ms, document FROM rollout ";

impl Store {
    /// Every rollout of a model, the latest asked for first.
    pub async fn rollouts(&self, model: &Model) -> Result<Vec<RolloutRow>, StoreError> {
        let query = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE model = $1 ORDER BY created_ms DESC, sequence DESC"
        ));
        let rows = sqlx::query(query)
            .bind(model.as_str())
            .fetch_all(&self.pool)
            .await
            .during("read the rollouts of a model")?;
        rows.iter().map(rollout_row).collect()
    }

    /// The rollouts that something may have to be done about: those that wait, and those that run and that no later one
    /// of their channel hides.
    pub async fn moving_rollouts(&self) -> Result<Vec<RolloutRow>, StoreError> {
        let query = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE stage = 'approved' OR (stage = 'running' AND NOT EXISTS (SELECT 1 FROM rollout AS later \
             WHERE later.model = rollout.model AND later.channel = rollout.channel \
             AND later.opened_ms > rollout.opened_ms)) ORDER BY created_ms"
        ));
        let rows = sqlx::query(query)
            .fetch_all(&self.pool)
            .await
            .during("read the moving rollouts")?;
        rows.iter().map(rollout_row).collect()
    }

    /// What devices of a channel reported of a build since its rollout opened: what was said before says nothing of it.
    pub async fn evidence(
        &self,
        model: &Model,
        channel: &Channel,
        build: &Build,
    ) -> Result<Evidence, StoreError> {
        let rows = sqlx::query(
            "SELECT report.outcome AS outcome, COUNT(*) AS devices FROM report JOIN rollout \
             ON rollout.model = report.model AND rollout.channel = report.channel AND rollout.build = report.build \
             WHERE report.model = $1 AND report.channel = $2 AND report.build = $3 \
             AND report.received_ms >= rollout.opened_ms GROUP BY report.outcome",
        )
        .bind(model.as_str())
        .bind(channel.as_str())
        .bind(build.as_str())
        .fetch_all(&self.pool)
        .await
        .during("count the reports")?;
        let mut evidence = Evidence::default();
        for row in &rows {
            let devices = unsigned(row, "devices")?;
            let outcome = column::<String>(row, "outcome")?;
            match parsed("outcome", serde_json::from_value::<Outcome>(outcome.into()))? {
                Outcome::Trying => evidence.trying = devices,
                Outcome::Confirmed => evidence.confirmed = devices,
                Outcome::RolledBack => evidence.rolled_back = devices,
                Outcome::Failed => evidence.failed = devices,
            }
        }
        Ok(evidence)
    }
}

fn rollout_row(row: &AnyRow) -> Result<RolloutRow, StoreError> {
    let stage = column::<String>(row, "stage")?;
    let opened = match column::<Option<i64>>(row, "opened_ms")? {
        None => None,
        Some(_) => Some(instant(row, "opened_ms")?),
    };
    let document = match column::<Option<String>>(row, "document")? {
        None => None,
        Some(_) => Some(json(row, "document")?),
    };
    Ok(RolloutRow {
        model: text(row, "model")?,
        channel: text(row, "channel")?,
        build: text(row, "build")?,
        sequence: Sequence(unsigned(row, "sequence")?),
        stage: parsed("stage", serde_json::from_value(stage.into()))?,
        reason: column(row, "reason")?,
        over_seconds: unsigned(row, "over_seconds")?,
        polls_seconds: parsed("polls_seconds", u32::try_from(unsigned(row, "polls_seconds")?))?,
        ramp: json(row, "ramp")?,
        created: instant(row, "created_ms")?,
        opened,
        document,
    })
}
