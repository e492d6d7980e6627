use std::sync::Arc;

use axum::extract::State;
use millet_protocol::api::{Publication, Published};

use super::ApiError;
use super::json::{Answer, Body};
use super::token::Publisher;

/// `POST /publications`.
pub async fn publish(
    State(state): State<Arc<crate::State>>,
    _: Publisher,
    Body(publication): Body<Publication>,
) -> Result<Answer<Published>, ApiError> {
    let published =
        crate::publish::publish(&state.writer, &state.store, &state.objects, &publication).await?;
    state.bell.notify_one();
    Ok(Answer(published))
}
