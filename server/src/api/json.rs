use axum::RequestExt as _;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ApiError;
use crate::patience::Patience;

/// A body as JSON: what is wrong with it is said as a problem, with line and column.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let said = request.extensions().get::<Patience>().copied();
        let announced = request.body().size_hint().lower();
        let request = request.with_limited_body();
        // A length costs nothing to announce, and what is waited for grows with it.
        if let Some(most) = request.body().size_hint().upper()
            && announced > most
        {
            return Err(ApiError::Long { announced, most });
        }
        let patience = said.unwrap_or_default().of_message(announced);
        let bytes = tokio::time::timeout(patience, Bytes::from_request(request, state))
            .await
            .map_err(|_| ApiError::Slow)?
            .map_err(ApiError::Body)?;
        serde_json::from_slice(&bytes).map(Self).map_err(ApiError::Json)
    }
}

/// An answer as JSON.
#[derive(Debug)]
pub struct Answer<T>(pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => {
                let json = HeaderValue::from_static("application/json");
                ([(CONTENT_TYPE, json)], bytes).into_response()
            }
            Err(error) => ApiError::Answer(error).into_response(),
        }
    }
}
