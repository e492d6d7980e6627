//! `/repo`: the TUF repository as static files. Devices ask the same two questions for weeks, so the answers are small
//! and may be cached by anyone: what is named by version or digest never changes.

mod conditional;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Extract};
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use millet_protocol::Sha256Digest;
use tokio_util::io::ReaderStream;

use crate::State;
use crate::api::ApiError;
use crate::store::SignedFile;
use conditional::{Reply, reply};

/// The routes below `/repo`.
pub fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/metadata/{file}", get(metadata))
        .route("/targets/{*path}", get(target))
}

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// May be kept, must be asked about each time.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Bytes read at a time from an object.
const CHUNK: usize = 256 * 1024;

/// `timestamp.json`, or `N.ROLE.json` of any other role.
async fn metadata(
    Extract(state): Extract<Arc<State>>,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, ApiError> {
    let (found, cache) = match FileName::parse(&file).ok_or(ApiError::NotFound)? {
        FileName::Timestamp => (state.store.latest_metadata("timestamp").await?, NO_CACHE),
        FileName::Versioned { version, role } => (state.store.metadata(role, version).await?, IMMUTABLE),
    };
    let SignedFile { sha256, body, .. } = found.ok_or(ApiError::NotFound)?;
    let length = body.len() as u64;
    let (reply, headers) = head(&method, &headers, sha256, length, cache, "application/json");
    Ok(match reply {
        Reply::Whole => (headers, body).into_response(),
        Reply::Part(range) => {
            let bounds = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok());
            let part = bounds
                .and_then(|(start, end)| body.get(start..end))
                .unwrap_or_default()
                .to_vec();
            (StatusCode::PARTIAL_CONTENT, headers, part).into_response()
        }
        other => (bodiless(other), headers).into_response(),
    })
}

/// `DIR/SHA256.NAME` of a file that published metadata has named.
async fn target(
    Extract(state): Extract<Arc<State>>,
    method: Method,
    headers: HeaderMap,
    Path(path): Path<String>,
) -> Result<Response, ApiError> {
    let (path, sha256) = target_of(&path).ok_or(ApiError::NotFound)?;
    let length = state
        .store
        .published_target(&path, sha256)
        .await?
        .ok_or(ApiError::NotFound)?;
    let media = if path.ends_with(".json") {
        "application/json"
    } else {
        "application/octet-stream"
    };
    let (reply, headers) = head(&method, &headers, sha256, length, IMMUTABLE, media);
    let (status, range) = match reply {
        Reply::Whole => (StatusCode::OK, None),
        Reply::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        other => return Ok((bodiless(other), headers).into_response()),
    };
    if method == Method::HEAD {
        return Ok((status, headers).into_response());
    }
    let bytes = state.objects.open(sha256, range).await?;
    let body = Body::from_stream(ReaderStream::with_capacity(bytes, CHUNK));
    Ok((status, headers, body).into_response())
}

enum FileName<'a> {
    Timestamp,
    Versioned { version: u64, role: &'a str },
}

impl<'a> FileName<'a> {
    fn parse(file: &'a str) -> Option<Self> {
        if file == "timestamp.json" {
            return Some(Self::Timestamp);
        }
        let (version, role) = file.strip_suffix(".json")?.split_once('.')?;
        // One spelling for each version, so that a cache holds it once.
        let digits = !version.starts_with('0') && version.bytes().all(|byte| byte.is_ascii_digit());
        let version = version.parse().ok().filter(|_| digits)?;
        // The timestamp has no versioned name: a client that asks for one is confused.
        (role != "timestamp").then_some(Self::Versioned { version, role })
    }
}

/// The TUF path and digest of a consistent snapshot's file name.
fn target_of(path: &str) -> Option<(String, Sha256Digest)> {
    let (folder, file) = path.rsplit_once('/')?;
    let (digest, name) = file.split_once('.')?;
    Some((format!("{folder}/{name}"), digest.parse().ok()?))
}

fn head(
    method: &Method,
    request: &HeaderMap,
    sha256: Sha256Digest,
    length: u64,
    cache: HeaderValue,
    media: &'static str,
) -> (Reply, HeaderMap) {
    let etag = format!("\"{sha256}\"");
    let reply = reply(method, request, &etag, length);
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(ETAG, etag);
    set(ACCEPT_RANGES, "bytes".to_owned());
    match &reply {
        Reply::Whole => set(CONTENT_LENGTH, length.to_string()),
        Reply::Part(range) => {
            set(CONTENT_LENGTH, range.end.saturating_sub(range.start).to_string());
            let last = range.end.saturating_sub(1);
            set(CONTENT_RANGE, format!("bytes {}-{last}/{length}", range.start));
        }
        Reply::Unsatisfiable => set(CONTENT_RANGE, format!("bytes */{length}")),
        Reply::NotModified | Reply::PreconditionFailed => {}
    }
    // A refusal is about the request, not about the file.
    let refused = matches!(reply, Reply::PreconditionFailed | Reply::Unsatisfiable);
    headers.insert(CACHE_CONTROL, if refused { NO_STORE } else { cache });
    if matches!(reply, Reply::Whole | Reply::Part(_)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    }
    (reply, headers)
}

fn bodiless(reply: Reply) -> StatusCode {
    match reply {
        Reply::NotModified => StatusCode::NOT_MODIFIED,
        Reply::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Reply::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        Reply::Whole => StatusCode::OK,
        Reply::Part(_) => StatusCode::PARTIAL_CONTENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let parse = |file| match FileName::parse(file) {
            Some(FileName::Timestamp) => Some((0, "timestamp".to_owned())),
            Some(FileName::Versioned { version, role }) => Some((version, role.to_owned())),
            None => None,
        };
        assert_eq!(parse("timestamp.json"), Some((0, "timestamp".into())));
        assert_eq!(parse("12.builds.rubik.json"), Some((12, "builds.rubik".into())));
        for wrong in [
            "1.timestamp.json",
            "01.root.json",
            "+1.root.json",
            "root.json",
            "1.root",
            "x.root.json",
            "",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_of_targets() {
        let digest = Sha256Digest([7; 32]);
        let path = format!("rubik/deltas/{digest}.V1-V2.payload");
        assert_eq!(
            target_of(&path),
            Some(("rubik/deltas/V1-V2.payload".into(), digest))
        );
        for wrong in [
            "x",
            "rubik/V1.payload",
            &format!("{digest}.x"),
            &format!("a/{digest}"),
        ] {
            assert_eq!(target_of(wrong), None, "{wrong}");
        }
    }
}
