use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;

use crate::patience::{Pace, Patience, Watch};

/// A body that may be long, but must keep coming.
pub struct Upload {
    body: Body,
    coming: Watch,
}

impl Upload {
    /// A body under the connection's patience, the usual one where none was said.
    pub fn new(body: Body, patience: Option<Extension<Patience>>) -> Self {
        let pace: Pace = patience
            .map_or_else(Patience::default, |Extension(said)| said)
            .pace;
        Self {
            body,
            coming: Watch::new(pace),
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.coming.progress(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.coming.poll_given_up(context));
                let slow = io::Error::new(io::ErrorKind::TimedOut, "it came too slowly");
                Poll::Ready(Some(Err(slow)))
            }
        }
    }
}
