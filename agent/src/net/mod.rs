//! HTTP: small files with patience, large ones in pieces.

mod backoff;
mod body;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::edge::Edge;
use crate::error::{Error, HttpError};

pub use backoff::Backoff;
pub use body::Body;
pub use pace::Pace;

/// Bytes that wait in a connection: what bounds the size of one piece of a body.
const BUFFER: usize = 64 * 1024;

/// Bytes of an error's own words that are read.
const LONGEST_PROBLEM: u64 = 4096;

/// Asks servers. It sends no name of itself: a check shows an address and a time.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    edge: Arc<dyn Edge>,
    tries: u32,
    pace: Pace,
}

/// The answer to a conditional request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its entity tag (RFC 9110, section 8.8.3).
        etag: Option<String>,
    },
    /// It is as it was.
    NotModified,
    /// There is none.
    NotFound,
}

impl Client {
    /// A client that waits and draws with `edge`.
    pub fn new(edge: Arc<dyn Edge>) -> Self {
        let pace = Pace::default();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(pace.silence));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let pool = Pool::builder(TokioExecutor::new())
            .http1_max_buf_size(BUFFER)
            .build(connector);
        Self {
            pool,
            edge,
            tries: backoff::TRIES,
            pace,
        }
    }

    /// The same client, which gives up where another would wait and try again: for somebody who looks on.
    #[must_use]
    pub fn impatient(self) -> Self {
        Self { tries: 1, ..self }
    }

    /// The same client, which lets servers be as slow as `pace` says.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Gets a small file, trying again when the network fails; `etag` makes the request conditional.
    pub async fn get(&self, url: &str, max_length: u64, etag: Option<&str>) -> Result<Fetched, Error> {
        let mut backoff = self.backoff();
        loop {
            match self.get_once(url, max_length, etag).await {
                Ok(fetched) => return Ok(fetched),
                Err(failed) => backoff.wait(failed).await.map_err(error("get", url))?,
            }
        }
    }

    /// Opens `length` bytes of a file from `offset` on, as one range (RFC 9110, section 14.2). It does not try again.
    pub async fn open_range(&self, url: &str, offset: u64, length: u64) -> Result<Body, Failed> {
        let last = offset.saturating_add(length).saturating_sub(1);
        let range = format!("bytes={offset}-{last}");
        let response = self
            .send(Method::GET, url, &[(RANGE, &range)], Bytes::new())
            .await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let header = response.headers().get(CONTENT_RANGE);
                let given = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
                if given.starts_with(&format!("bytes {offset}-{last}/")) {
                    Ok(Body::new(response.into_body(), self.pace, 0, length))
                } else {
                    Err(HttpError::Range(given.chars().take(80).collect()).into())
                }
            }
            // A server without ranges sends everything: what comes before is passed over.
            StatusCode::OK => Ok(Body::new(response.into_body(), self.pace, offset, length)),
            _ => Err(refusal(response, self.pace).await),
        }
    }

    /// Sends a JSON text once.
    pub async fn post_json(&self, url: &str, json: &str) -> Result<(), Error> {
        let body = Bytes::copy_from_slice(json.as_bytes());
        let sent = self
            .send(Method::POST, url, &[(CONTENT_TYPE, "application/json")], body)
            .await;
        let response = sent.map_err(|failed| error("post to", url)(failed.error))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(error("post to", url)(refusal(response, self.pace).await.error))
    }

    async fn get_once(&self, url: &str, max_length: u64, etag: Option<&str>) -> Result<Fetched, Failed> {
        let condition: Vec<(HeaderName, &str)> = etag.map(|etag| (IF_NONE_MATCH, etag)).into_iter().collect();
        let response = self.send(Method::GET, url, &condition, Bytes::new()).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::NotModified),
            StatusCode::NOT_FOUND => return Ok(Fetched::NotFound),
            _ => return Err(refusal(response, self.pace).await),
        }
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let bytes = body::read_whole(response.into_body(), self.pace, max_length).await?;
        Ok(Fetched::File { bytes, etag })
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, Failed> {
        let uri: Uri = url.parse().map_err(|_| HttpError::Address)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(HttpError::Address.into());
        }
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| HttpError::Address)?;
        let answer = tokio::time::timeout(self.pace.silence, self.pool.request(request));
        match answer.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(HttpError::Connection(error.into()).into()),
            Err(_) => Err(HttpError::TimedOut(self.pace.silence).into()),
        }
    }

    /// For callers that try again by themselves.
    pub fn backoff(&self) -> Backoff<'_> {
        Backoff::new(&*self.edge, self.tries, self.pace.bytes)
    }
}

/// A request that failed, and how long the server asked to be left alone.
#[derive(Debug)]
pub struct Failed {
    /// What happened.
    pub error: HttpError,
    /// `Retry-After` (RFC 9110, section 10.2.3).
    pub retry_after: Option<RetryAfter>,
}

/// When to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so long.
    Delay(Duration),
    /// At a moment.
    At(jiff::Timestamp),
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

/// Names the request of an error.
pub fn error(operation: &'static str, url: &str) -> impl FnOnce(HttpError) -> Error {
    let url = url.to_owned();
    move |source| Error::Http {
        operation,
        url,
        source,
    }
}

async fn refusal(response: Response<Incoming>, pace: Pace) -> Failed {
    let header = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(retry_after);
    let status = response.status().as_u16();
    let words = body::read_whole(response.into_body(), pace, LONGEST_PROBLEM)
        .await
        .unwrap_or_default();
    let problem: Option<millet_protocol::api::Problem> = serde_json::from_slice(&words).ok();
    let detail = problem.map(|problem| {
        let line = match problem.detail {
            Some(detail) => format!("{} ({detail})", problem.title),
            None => problem.title,
        };
        line.chars()
            .filter(|letter| !letter.is_control())
            .take(300)
            .collect()
    });
    Failed {
        error: HttpError::Status { status, detail },
        retry_after,
    }
}

fn retry_after(value: &str) -> Option<RetryAfter> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(RetryAfter::Delay(Duration::from_secs(seconds)));
    }
    let moment = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value.trim())
        .ok()?;
    Some(RetryAfter::At(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_spellings() {
        assert_eq!(
            retry_after("120"),
            Some(RetryAfter::Delay(Duration::from_secs(120)))
        );
        let moment = "2026-11-20T12:00:00Z".parse().unwrap();
        assert_eq!(
            retry_after("Fri, 20 Nov 2026 12:00:00 GMT"),
            Some(RetryAfter::At(moment))
        );
        assert_eq!(retry_after("soon"), None);
    }
}
