use std::sync::Arc;

use axum::extract::{Path, State};
use millet_protocol::RolloutState;
use millet_protocol::api::{ChangeRollout, RolloutStatus, StartRollout};

use super::ApiError;
use super::json::{Answer, Body};
use super::name::name;
use super::token::Publisher;
use crate::rollouts;

/// Bytes of a reason: devices show it to their owners.
const LONGEST_REASON: usize = 1000;

/// `GET …/rollout`.
pub async fn show(
    State(state): State<Arc<crate::State>>,
    Path((model, channel)): Path<(String, String)>,
) -> Result<Answer<RolloutStatus>, ApiError> {
    let now = state.clock.now();
    let status = rollouts::status(&state.store, &name(&model)?, &name(&channel)?, now).await?;
    Ok(Answer(status))
}

/// `POST …/rollout`.
pub async fn start(
    State(state): State<Arc<crate::State>>,
    _: Publisher,
    Path((model, channel)): Path<(String, String)>,
    Body(request): Body<StartRollout>,
) -> Result<Answer<RolloutStatus>, ApiError> {
    let (model, channel) = (name(&model)?, name(&channel)?);
    let status = rollouts::start(&state.writer, &state.store, &model, &channel, &request).await?;
    Ok(Answer(status))
}

/// `POST …/rollout/pause`, `…/resume` and `…/halt`.
pub async fn change(
    State(state): State<Arc<crate::State>>,
    _: Publisher,
    Path((model, channel, verb)): Path<(String, String, String)>,
    Body(request): Body<ChangeRollout>,
) -> Result<Answer<RolloutStatus>, ApiError> {
    let (model, channel) = (name(&model)?, name(&channel)?);
    let wanted = match verb.as_str() {
        "pause" => RolloutState::Paused,
        "resume" => RolloutState::Running,
        "halt" => RolloutState::Halted,
        _ => return Err(ApiError::NotFound),
    };
    if request
        .reason
        .as_ref()
        .is_some_and(|reason| reason.len() > LONGEST_REASON)
    {
        return Err(ApiError::Message(format!(
            "a reason has at most {LONGEST_REASON} bytes"
        )));
    }
    let status = rollouts::change(&state.writer, &state.store, &model, &channel, wanted, &request).await?;
    Ok(Answer(status))
}
