//! A payload on its way: fetched in one range, taken up where it broke off, handed to a thread that reads it.

use std::io::{self, Read};

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::error::{Error, HttpError};
use crate::net::{Client, error};

/// Pieces that wait between the network and the decoder: with the connection's buffer this bounds the memory.
const PIECES: usize = 32;

/// Bytes `offset..offset + length` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The file.
    pub url: String,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// The reading end, for a thread.
#[derive(Debug)]
pub struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let step = self.piece.len().min(buffer.len());
        buffer[..step].copy_from_slice(&self.piece.split_to(step));
        Ok(step)
    }
}

/// Starts a download; it ends by itself when everything came or the reader goes away, and sooner when it is aborted.
pub fn start(client: &Client, part: Part) -> (Pieces, AbortHandle) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let client = client.clone();
    let task = tokio::spawn(async move {
        if let Err(error) = send(&client, part, &sender).await {
            let _ = sender.send(Err(io::Error::other(error))).await;
        }
    });
    let pieces = Pieces {
        receiver,
        piece: Bytes::new(),
    };
    (pieces, task.abort_handle())
}

/// All bytes of a short part.
pub async fn read(client: &Client, part: &Part) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut backoff = client.backoff();
    loop {
        let got = bytes.len() as u64;
        if got >= part.length {
            return Ok(bytes);
        }
        let rest = client.open_range(&part.url, part.offset.saturating_add(got), part.length - got);
        let failed = match rest.await {
            Ok(mut body) => loop {
                match body.next().await {
                    Ok(Some(piece)) => {
                        backoff.progress(piece.len() as u64);
                        bytes.extend_from_slice(&piece);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error.into()),
                }
            },
            Err(failed) => Some(failed),
        };
        if let Some(failed) = failed {
            backoff.wait(failed).await.map_err(error("get", &part.url))?;
        }
    }
}

async fn send(
    client: &Client,
    mut part: Part,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), HttpError> {
    let mut backoff = client.backoff();
    while part.length > 0 {
        let mut body = match client.open_range(&part.url, part.offset, part.length).await {
            Ok(body) => body,
            Err(failed) => {
                backoff.wait(failed).await?;
                continue;
            }
        };
        loop {
            match body.next().await {
                Ok(Some(piece)) => {
                    let length = piece.len() as u64;
                    backoff.progress(length);
                    part.offset = part.offset.saturating_add(length);
                    part.length = part.length.saturating_sub(length);
                    if sender.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    backoff.wait(error.into()).await?;
                    break;
                }
            }
        }
    }
    Ok(())
}
