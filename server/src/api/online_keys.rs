use std::sync::Arc;

use axum::extract::State;
use millet_protocol::api::OnlineKeys;

use super::ApiError;
use super::json::Answer;

/// `GET /online-keys`.
pub async fn show(State(state): State<Arc<crate::State>>) -> Result<Answer<OnlineKeys>, ApiError> {
    state
        .writer
        .keys()
        .to_message()
        .map(Answer)
        .map_err(ApiError::Answer)
}
