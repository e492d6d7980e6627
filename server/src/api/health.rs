use std::sync::Arc;

use axum::extract::State;

use super::ApiError;

/// `GET /healthz`: 200 when the database and the objects answer.
pub async fn check(State(state): State<Arc<crate::State>>) -> Result<&'static str, ApiError> {
    state.store.ping().await?;
    state.objects.ping().await?;
    Ok("ok\n")
}
