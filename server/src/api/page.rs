use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::ApiError;

/// What one page of a listing holds at most: 240 KB of ballots, 3 MB of the longest feedback.
pub const LISTED: u32 = 200;

/// `?after=…`: what the page before ended with.
#[derive(Debug)]
pub struct After(pub Option<String>);

#[derive(serde::Deserialize)]
struct Asked {
    after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for After {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(Asked { after })) => Ok(Self(after)),
            Err(rejection) => Err(ApiError::Name(rejection.body_text())),
        }
    }
}
