//! Takes connections, and lets none hold on to what others need: descriptors and time.

mod paced;

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::patience::Patience;
use paced::Paced;

/// Descriptors that connections leave: some 25 for the database's eight connections, some 50 for the images of a delta
/// that is being made, and the process's own.
const KEPT: u64 = 96;
/// A connection, and the object that it reads or writes.
const EACH: u64 = 2;
const FEWEST: u64 = 16;
/// Each may hold half a megabyte of an answer.
const MOST: u32 = 4096;
/// Bytes that the system holds of an answer without having sent them. Its own measure grows to megabytes, and it wants more
/// only when a third has gone: such a step would look like standing still for a slow reader.
const UNSENT: u32 = 64 << 10;
/// After a connection could not be taken, which the next one most likely cannot either.
const BREATH: Duration = Duration::from_millis(100);

/// The process may not hold enough files open.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process may hold {0} files open and needs {least}: raise the limit with `ulimit -n`, or LimitNOFILE= of its unit",
    least = KEPT + EACH * FEWEST
)]
pub struct TooFewFiles(u64);

/// How many connections a process takes at a time that may hold so many files open; none is no limit.
pub fn connections(files: Option<u64>) -> Result<u32, TooFewFiles> {
    let Some(files) = files else {
        return Ok(MOST);
    };
    let connections = (files.saturating_sub(KEPT) / EACH).min(MOST.into());
    match u32::try_from(connections) {
        Ok(enough) if connections >= FEWEST => Ok(enough),
        _ => Err(TooFewFiles(files)),
    }
}

/// Serves until told to stop, and then until every request that is under way has its answer.
///
/// With all `connections` taken, further ones wait in the system's queue until one ends: those that bring no request do so
/// within the time for a head.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    connections: u32,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(connections as usize));
    let service = TowerToHyperService::new(router.layer(Extension(patience)));
    // The time for a head runs from the answer before, so it ends idle connections too.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head);
    while let Some((stream, place)) = next(&listener, &room, &stop).await {
        let stream = TokioIo::new(Paced::new(stream, patience.pace));
        let connection = builder.serve_connection(stream, service.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
    drop(listener);
    // Every place is free when every connection has ended.
    drop(room.acquire_many(connections).await);
}

/// The next connection and its place; none when there shall be no more.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let accepting = async {
        let place = room.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT) {
                        tracing::warn!(%error, "a connection will move in long steps");
                    }
                    return Some((stream, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = accepting => accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(connections(Some(256)).unwrap(), 80);
        assert_eq!(connections(Some(1024)).unwrap(), 464);
        assert_eq!(connections(Some(1 << 20)).unwrap(), 4096);
        assert_eq!(connections(None).unwrap(), 4096);
        assert_eq!(connections(Some(128)).unwrap(), 16);
        let error = connections(Some(127)).unwrap_err().to_string();
        assert!(error.contains("127 files open and needs 128"), "{error}");
    }
}
