//! The page at `/`: this week's builds as the people who run them want to see them. It needs no script.

mod chart;
mod view;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State as Extract;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::State;
use crate::api::ApiError;

const STYLE: &str = include_str!("style.css");

/// The routes of the page.
pub fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(page))
        .route("/style.css", get(style))
}

async fn page(Extract(state): Extract<Arc<State>>) -> Result<Response, ApiError> {
    let page = view::Page::read(&state).await?;
    let html = page.render().map_err(ApiError::Page)?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok((headers, html).into_response())
}

async fn style() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, STYLE).into_response()
}
