use jiff::Timestamp;
use millet_protocol::api::{DeltaJob, JobState};
use millet_protocol::{Build, Model, Sha256Digest, targets};
use sqlx::any::AnyRow;

use super::{During, Store, StoreError, column, parsed, signed, text, unsigned};

/// Which delta.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobKey {
    /// The model.
    pub model: Model,
    /// The source build.
    pub from: Build,
    /// The build it makes.
    pub to: Build,
}

/// A delta job and where it stands.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Which delta.
    pub key: JobKey,
    /// Where it stands.
    pub state: JobState,
    /// How often a worker has begun it.
    pub attempts: u64,
    /// Grows whenever a worker takes it.
    pub fence: u64,
    /// What went wrong the last time.
    pub error: Option<String>,
    /// The delta, when done.
    pub finished: Option<FinishedDelta>,
}

/// A delta that was made, applied once as a proof, and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedDelta {
    /// Bytes of the payload.
    pub size: u64,
    /// SHA-256 of the payload.
    pub sha256: Sha256Digest,
    /// Bytes of its head.
    pub metadata_size: u64,
    /// SHA-256 of its head.
    pub metadata_sha256: Sha256Digest,
}

impl JobKey {
    /// The TUF target path of the delta.
    pub fn path(&self) -> String {
        targets::delta_payload(&self.model, &self.from, &self.to)
    }
}

impl JobRow {
    /// The job as the API shows it.
    pub fn to_message(&self) -> DeltaJob {
        DeltaJob {
            model: self.key.model.clone(),
            from: self.key.from.clone(),
            to: self.key.to.clone(),
            state: self.state,
            size: self.finished.map(|delta| delta.size),
            error: self.error.clone(),
        }
    }
}

const COLUMNS: &str = "SELECT model, from_build, to_build, state, attempts, fence, error, size, sha256, \
                       metadata_size, metadata_sha256 FROM delta ";

impl Store {
    /// The newest jobs of all models, at most `most`.
    pub async fn jobs(&self, most: u32) -> Result<Vec<JobRow>, StoreError> {
        let query = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} ORDER BY created_ms DESC, to_build, from_build LIMIT $1"
        ));
        let rows = sqlx::query(query)
            .bind(i64::from(most))
            .fetch_all(&self.pool)
            .await
            .during("read the delta jobs")?;
        rows.iter().map(job_row).collect()
    }

    /// Every job of a model, newest first.
    pub async fn jobs_of(&self, model: &Model) -> Result<Vec<JobRow>, StoreError> {
        let query = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE model = $1 ORDER BY created_ms DESC, to_build, from_build"
        ));
        let rows = sqlx::query(query)
            .bind(model.as_str())
            .fetch_all(&self.pool)
            .await
            .during("read the delta jobs of a model")?;
        rows.iter().map(job_row).collect()
    }

    /// Takes the oldest job that waits, or whose worker has fallen silent.
    pub async fn take_job(
        &self,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<JobRow>, StoreError> {
        // A worker that comes back after a kill has the same name, and does not wait for its own lease to run out.
        let waiting = sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE (state = 'queued' AND not_before_ms <= $1) \
             OR (state = 'running' AND (until_ms < $1 OR holder = $2)) ORDER BY created_ms LIMIT 1"
        ));
        let Some(row) = sqlx::query(waiting)
            .bind(now.as_millisecond())
            .bind(holder)
            .fetch_optional(&self.pool)
            .await
            .during("look for a delta job")?
        else {
            return Ok(None);
        };
        let mut job = job_row(&row)?;
        let taken = sqlx::query(
            "UPDATE delta SET state = 'running', holder = $1, until_ms = $2, attempts = attempts + 1, fence = fence + 1 \
             WHERE model = $3 AND from_build = $4 AND to_build = $5 AND fence = $6",
        )
        .bind(holder)
        .bind(until.as_millisecond())
        .bind(job.key.model.as_str())
        .bind(job.key.from.as_str())
        .bind(job.key.to.as_str())
        .bind(signed(job.fence))
        .execute(&self.pool)
        .await
        .during("take a delta job")?;
        if taken.rows_affected() == 0 {
            return Ok(None);
        }
        job.attempts = job.attempts.saturating_add(1);
        job.fence = job.fence.saturating_add(1);
        Ok(Some(job))
    }

    /// Keeps a job. False when another worker has it now.
    pub async fn keep_job(&self, job: &JobRow, until: Timestamp) -> Result<bool, StoreError> {
        let kept = sqlx::query(
            "UPDATE delta SET until_ms = $1 WHERE model = $2 AND from_build = $3 AND to_build = $4 AND fence = $5 \
             AND state = 'running'",
        )
        .bind(until.as_millisecond())
        .bind(job.key.model.as_str())
        .bind(job.key.from.as_str())
        .bind(job.key.to.as_str())
        .bind(signed(job.fence))
        .execute(&self.pool)
        .await
        .during("keep a delta job")?;
        Ok(kept.rows_affected() == 1)
    }

    /// Gives a job back: to be tried again from `again`, or failed for good when that is nothing.
    pub async fn give_up_job(
        &self,
        job: &JobRow,
        error: &str,
        again: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let state = if again.is_some() { "queued" } else { "failed" };
        sqlx::query(
            "UPDATE delta SET state = $1, error = $2, not_before_ms = $3 \
             WHERE model = $4 AND from_build = $5 AND to_build = $6 AND fence = $7 AND state = 'running'",
        )
        .bind(state)
        .bind(error)
        .bind(again.map_or(0, Timestamp::as_millisecond))
        .bind(job.key.model.as_str())
        .bind(job.key.from.as_str())
        .bind(job.key.to.as_str())
        .bind(signed(job.fence))
        .execute(&self.pool)
        .await
        .during("give a delta job back")?;
        Ok(())
    }
}

fn job_row(row: &AnyRow) -> Result<JobRow, StoreError> {
    let state = match column::<String>(row, "state")?.as_str() {
        "queued" => Ok(JobState::Queued),
        "running" => Ok(JobState::Running),
        "done" => Ok(JobState::Done),
        "failed" => Ok(JobState::Failed),
        other => Err(format!("{other:?} is not a job state")),
    };
    let finished = match column::<Option<i64>>(row, "size")? {
        None => None,
        Some(_) => Some(FinishedDelta {
            size: unsigned(row, "size")?,
            sha256: text(row, "sha256")?,
            metadata_size: unsigned(row, "metadata_size")?,
            metadata_sha256: text(row, "metadata_sha256")?,
        }),
    };
    Ok(JobRow {
        key: JobKey {
            model: text(row, "model")?,
            from: text(row, "from_build")?,
            to: text(row, "to_build")?,
        },
        state: parsed("state", state)?,
        attempts: unsigned(row, "attempts")?,
        fence: unsigned(row, "fence")?,
        error: column(row, "error")?,
        finished,
    })
}
