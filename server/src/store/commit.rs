use jiff::Timestamp;
use millet_protocol::Sha256Digest;
use millet_protocol::api::RolloutStage;
use sqlx::AnyConnection;

use super::{
    BuildRow, During, FinishedDelta, JobKey, JobRow, RolloutRow, SignedFile, Store, StoreError, parsed,
    signed,
};

/// A change of the repository, made in memory and written in one transaction.
#[derive(Debug, Default)]
pub struct Commit {
    /// New versions of signed files, `timestamp` among them.
    pub files: Vec<SignedFile>,
    /// Target files that they name.
    pub targets: Vec<TargetRow>,
    /// Builds that are new, or whose manifest or listing has changed.
    pub builds: Vec<BuildRow>,
    /// Deltas to make. One that exists already stays as it is.
    pub queued: Vec<JobKey>,
    /// Deltas that are done.
    pub finished: Vec<(JobRow, FinishedDelta)>,
    /// Rollouts that are new or have changed.
    pub rollouts: Vec<RolloutRow>,
    /// Rollouts that were asked for and never opened, because a newer one was asked for.
    pub forgotten: Vec<RolloutRow>,
}

/// A target file that metadata names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    /// TUF target path.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// Its bytes.
    pub length: u64,
}

const OPERATION: &str = "commit a change of the repository";

impl Store {
    /// Writes a change, whole or not at all, and gives the lease `name` back. [`StoreError::Fenced`] when `fence` is no
    /// longer ours.
    pub async fn commit(
        &self,
        name: &str,
        fence: u64,
        now: Timestamp,
        commit: &Commit,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await.during(OPERATION)?;
        // First of all a write: it takes the database's write lock before anything is read, and no reader upgrades later.
        let held = sqlx::query("UPDATE lease SET until_ms = 0 WHERE name = $1 AND fence = $2")
            .bind(name)
            .bind(signed(fence))
            .execute(&mut *transaction)
            .await
            .during(OPERATION)?;
        if held.rows_affected() != 1 {
            return Err(StoreError::Fenced);
        }
        for target in &commit.targets {
            put_target(&mut transaction, target).await?;
        }
        for build in &commit.builds {
            put_build(&mut transaction, build).await?;
        }
        for key in &commit.queued {
            queue(&mut transaction, key, now).await?;
        }
        for (job, delta) in &commit.finished {
            finish(&mut transaction, job, delta).await?;
        }
        for rollout in &commit.forgotten {
            forget(&mut transaction, rollout).await?;
        }
        for rollout in &commit.rollouts {
            put_rollout(&mut transaction, rollout).await?;
        }
        for file in &commit.files {
            put_file(&mut transaction, file, now).await?;
        }
        transaction.commit().await.during(OPERATION)
    }
}

async fn put_target(connection: &mut AnyConnection, target: &TargetRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO target (path, sha256, length) VALUES ($1, $2, $3) ON CONFLICT (path, sha256) DO NOTHING",
    )
    .bind(target.path.as_str())
    .bind(target.sha256.to_string())
    .bind(signed(target.length))
    .execute(connection)
    .await
    .during(OPERATION)?;
    Ok(())
}

async fn put_build(connection: &mut AnyConnection, build: &BuildRow) -> Result<(), StoreError> {
    let manifest = &build.manifest;
    sqlx::query(
        "INSERT INTO build (model, build, sequence, manifest, manifest_sha256, payload_sha256, payload_size, listed, \
         published_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (model, build) DO UPDATE SET manifest = excluded.manifest, \
         manifest_sha256 = excluded.manifest_sha256, listed = excluded.listed",
    )
    .bind(manifest.model.as_str())
    .bind(manifest.build.as_str())
    .bind(signed(manifest.sequence.0))
    .bind(parsed(OPERATION, serde_json::to_string(manifest))?)
    .bind(build.manifest_sha256.to_string())
    .bind(build.payload_sha256.to_string())
    .bind(signed(build.payload_size))
    .bind(i64::from(build.listed))
    .bind(build.published.as_millisecond())
    .execute(connection)
    .await
    .during(OPERATION)?;
    Ok(())
}

async fn queue(connection: &mut AnyConnection, key: &JobKey, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO delta (model, from_build, to_build, state, created_ms, not_before_ms, attempts, holder, fence, \
         until_ms) VALUES ($1, $2, $3, 'queued', $4, 0, 0, '', 0, 0) \
         ON CONFLICT (model, from_build, to_build) DO NOTHING",
    )
    .bind(key.model.as_str())
    .bind(key.from.as_str())
    .bind(key.to.as_str())
    .bind(now.as_millisecond())
    .execute(connection)
    .await
    .during(OPERATION)?;
    Ok(())
}

async fn finish(
    connection: &mut AnyConnection,
    job: &JobRow,
    delta: &FinishedDelta,
) -> Result<(), StoreError> {
    let finished = sqlx::query(
        "UPDATE delta SET state = 'done', error = NULL, size = $1, sha256 = $2, metadata_size = $3, metadata_sha256 = $4 \
         WHERE model = $5 AND from_build = $6 AND to_build = $7 AND fence = $8 AND state = 'running'",
    )
    .bind(signed(delta.size))
    .bind(delta.sha256.to_string())
    .bind(signed(delta.metadata_size))
    .bind(delta.metadata_sha256.to_string())
    .bind(job.key.model.as_str())
    .bind(job.key.from.as_str())
    .bind(job.key.to.as_str())
    .bind(signed(job.fence))
    .execute(connection)
    .await
    .during(OPERATION)?;
    if finished.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::Fenced)
    }
}

async fn forget(connection: &mut AnyConnection, rollout: &RolloutRow) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM rollout WHERE model = $1 AND channel = $2 AND build = $3 AND opened_ms IS NULL")
        .bind(rollout.model.as_str())
        .bind(rollout.channel.as_str())
        .bind(rollout.build.as_str())
        .execute(connection)
        .await
        .during(OPERATION)?;
    Ok(())
}

async fn put_rollout(connection: &mut AnyConnection, rollout: &RolloutRow) -> Result<(), StoreError> {
    let stage = match rollout.stage {
        RolloutStage::Approved => "approved".to_owned(),
        RolloutStage::Open(state) => state.to_string(),
    };
    let document = rollout.document.as_ref().map(serde_json::to_string).transpose();
    sqlx::query(
        "INSERT INTO rollout (model, channel, build, sequence, stage, reason, over_seconds, polls_seconds, ramp, \
         created_ms, opened_ms, document) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (model, channel, build) DO UPDATE SET stage = excluded.stage, reason = excluded.reason, \
         over_seconds = excluded.over_seconds, polls_seconds = excluded.polls_seconds, ramp = excluded.ramp, \
         opened_ms = excluded.opened_ms, document = excluded.document",
    )
    .bind(rollout.model.as_str())
    .bind(rollout.channel.as_str())
    .bind(rollout.build.as_str())
    .bind(signed(rollout.sequence.0))
    .bind(stage)
    .bind(rollout.reason.as_deref())
    .bind(signed(rollout.over_seconds))
    .bind(i64::from(rollout.polls_seconds))
    .bind(parsed(OPERATION, serde_json::to_string(&rollout.ramp))?)
    .bind(rollout.created.as_millisecond())
    .bind(rollout.opened.map(Timestamp::as_millisecond))
    .bind(parsed(OPERATION, document)?)
    .execute(connection)
    .await
    .during(OPERATION)?;
    Ok(())
}

async fn put_file(
    connection: &mut AnyConnection,
    file: &SignedFile,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO metadata (role, version, expires_ms, created_ms, sha256, body) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(file.role.as_str())
    .bind(signed(file.version))
    .bind(file.expires.as_millisecond())
    .bind(now.as_millisecond())
    .bind(file.sha256.to_string())
    .bind(file.body.clone())
    .execute(connection)
    .await
    .during(OPERATION)?;
    Ok(())
}
