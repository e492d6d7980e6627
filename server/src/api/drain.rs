//! Reads what a handler left of a request's body, so that a refusal arrives: a connection that is closed while the
//! client still sends is reset, and the client sees a broken pipe instead of the reason.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::patience::Patience;

/// As much as a publication; a longer upload is better looked up first.
const MOST: usize = super::LONGEST_PUBLICATION;

/// The middleware.
pub async fn drain(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let patience = parts.extensions.get::<Patience>().copied().unwrap_or_default();
    let (give_back, rest) = oneshot::channel();
    let lent = Lent {
        body: Some(body),
        give_back: Some(give_back),
    };
    let response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    // Whoever was too slow to be read to the end is not waited for again.
    let waiting = response.status() != StatusCode::REQUEST_TIMEOUT;
    if waiting && let Ok(rest) = rest.await {
        // Whether it could be read makes no difference to the answer.
        drop(tokio::time::timeout(patience.message, read_away(rest)).await);
    }
    response
}

async fn read_away(mut body: Body) {
    let mut read = 0_usize;
    while read < MOST && !body.is_end_stream() {
        let Some(Ok(frame)) = body.frame().await else {
            return;
        };
        read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// A body that comes back when the handler is done with it.
struct Lent {
    body: Option<Body>,
    give_back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(give_back)) = (self.body.take(), self.give_back.take()) {
            // Nobody waits for it when the connection has gone.
            drop(give_back.send(body));
        }
    }
}
