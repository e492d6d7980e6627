use std::sync::Arc;

use axum::extract::State;

use super::ApiError;

/// `GET /healthz`: 200 when the database and the objects answer and the repository names our keys.
pub async fn check(State(state): State<Arc<crate::State>>) -> Result<&'static str, ApiError> {
    state.store.ping().await?;
    state.objects.ping().await?;
    state.writer.check_keys().await?;
    Ok("ok\n")
}
