use std::sync::Arc;

use axum::extract::State;

use super::ApiError;
use crate::data_folder::room;

/// `GET /healthz`: 200 when the database and the objects answer, the disk has room for more and the repository names our keys.
pub async fn check(State(state): State<Arc<crate::State>>) -> Result<&'static str, ApiError> {
    state.store.ping().await?;
    state.objects.ping().await?;
    state.writer.check_keys().await?;
    let (room, least) = (room(&state.data).map_err(ApiError::Disk)?, state.least_room);
    if room < least {
        return Err(ApiError::LittleRoom { room, least });
    }
    Ok("ok\n")
}
