use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyDataStream;
use tokio_util::io::StreamReader;

use super::ApiError;
use super::name::name;
use super::token::Publisher;
use super::upload::Upload;
use crate::patience::Patience;

/// `PUT /blobs/{sha256}`: 201 when it is new, 200 when it was there.
pub async fn upload(
    State(state): State<Arc<crate::State>>,
    _: Publisher,
    Path(sha256): Path<String>,
    patience: Option<Extension<Patience>>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let sha256 = name(&sha256)?;
    if state.objects.size(sha256).await?.is_some() {
        return Ok(StatusCode::OK);
    }
    let body = BodyDataStream::new(Upload::new(body, patience));
    state
        .objects
        .receive(sha256, &mut StreamReader::new(body))
        .await?;
    Ok(StatusCode::CREATED)
}

/// `HEAD /blobs/{sha256}`: 200 with its length, or 404.
pub async fn look_up(
    State(state): State<Arc<crate::State>>,
    _: Publisher,
    Path(sha256): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let length = state
        .objects
        .size(name(&sha256)?)
        .await?
        .ok_or(ApiError::NotFound)?;
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(length))]);
    Ok((StatusCode::OK, headers))
}
