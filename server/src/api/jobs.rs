use std::sync::Arc;

use axum::extract::State;
use millet_protocol::api::Jobs;

use super::ApiError;
use super::json::Answer;
use crate::store::JobRow;

/// `GET /jobs`: the newest hundred.
pub async fn list(State(state): State<Arc<crate::State>>) -> Result<Answer<Jobs>, ApiError> {
    let jobs = state.store.jobs(100).await?;
    Ok(Answer(Jobs {
        jobs: jobs.iter().map(JobRow::to_message).collect(),
    }))
}
