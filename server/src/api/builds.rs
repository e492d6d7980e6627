use std::sync::Arc;

use axum::extract::{Path, State};
use millet_protocol::Model;
use millet_protocol::api::{BuildSummary, Builds};

use super::ApiError;
use super::json::Answer;
use super::name::name;
use crate::store::{BuildRow, JobRow};

/// `GET /models/{model}/builds`. A model without builds has an empty list.
pub async fn list(
    State(state): State<Arc<crate::State>>,
    Path(model): Path<String>,
) -> Result<Answer<Builds>, ApiError> {
    let model: Model = name(&model)?;
    let builds = state.store.builds(&model).await?;
    let jobs = state.store.jobs_of(&model).await?;
    let listed = builds.into_iter().filter(|row| row.listed);
    Ok(Answer(Builds {
        builds: listed.map(|row| summary(row, &jobs)).collect(),
    }))
}

fn summary(row: BuildRow, jobs: &[JobRow]) -> BuildSummary {
    let towards = jobs.iter().filter(|job| job.key.to == row.manifest.build);
    BuildSummary {
        deltas: towards.map(JobRow::to_message).collect(),
        build: row.manifest.build,
        sequence: row.manifest.sequence,
        train: row.manifest.train,
        channels: row.manifest.channels,
        released: row.manifest.released,
        manifest_sha256: row.manifest_sha256,
        payload_size: row.payload_size,
        entries: row.manifest.entries,
    }
}
