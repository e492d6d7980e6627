//! `/api/v1`: what release engineers and devices ask of the server.

mod blobs;
mod builds;
mod drain;
mod health;
mod jobs;
mod json;
mod messages;
mod name;
mod online_keys;
mod page;
mod problem;
mod publications;
mod reports;
mod rollouts;
mod token;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};

use crate::State;

pub use problem::{ApiError, not_found};
pub use token::Token;

/// Offline metadata of every model together; a list of a year's builds of one model is about 60 KB.
const LONGEST_PUBLICATION: usize = 64 << 20;
/// A report, a feedback or a ballot.
const LONGEST_MESSAGE: usize = 64 << 10;

/// The routes below `/api/v1`.
pub fn routes() -> Router<Arc<State>> {
    let publishing = Router::new()
        .route("/publications", post(publications::publish))
        .layer(DefaultBodyLimit::max(LONGEST_PUBLICATION));
    let uploads = Router::new()
        .route("/blobs/{sha256}", put(blobs::upload).head(blobs::look_up))
        .layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/online-keys", get(online_keys::show))
        .route("/models/{model}/builds", get(builds::list))
        .route(
            "/models/{model}/builds/{build}/feedback",
            get(messages::list_feedback),
        )
        .route(
            "/models/{model}/builds/{build}/ballots",
            get(messages::list_ballots),
        )
        .route(
            "/models/{model}/channels/{channel}/rollout",
            get(rollouts::show).post(rollouts::start),
        )
        .route(
            "/models/{model}/channels/{channel}/rollout/{verb}",
            post(rollouts::change),
        )
        .route("/jobs", get(jobs::list))
        .route("/reports", post(reports::receive))
        .route("/feedback", post(messages::receive_feedback))
        .route("/votes", post(messages::receive_vote))
        .layer(DefaultBodyLimit::max(LONGEST_MESSAGE))
        .merge(publishing)
        .merge(uploads)
        .layer(axum::middleware::from_fn(drain::drain))
}

/// `/healthz`.
pub fn health_routes() -> Router<Arc<State>> {
    Router::new().route("/healthz", get(health::check))
}
