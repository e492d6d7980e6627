//! The objects: every payload and document under its SHA-256. What is stored is never changed.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use millet_protocol::Sha256Digest;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    GetOptions, GetResult, GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};
use tokio_util::io::StreamReader;

/// The object store.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

/// What went wrong between us and the objects.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The directory cannot be used.
    #[error("objects: open {path}")]
    Open {
        /// The directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store refused or could not.
    #[error("objects: {operation} {sha256}")]
    Store {
        /// What was asked.
        operation: &'static str,
        /// The object.
        sha256: Sha256Digest,
        /// The store's answer.
        source: object_store::Error,
    },
    /// It is not there.
    #[error("there is no object {0}")]
    Missing(Sha256Digest),
    /// The bytes stopped coming or cannot be kept.
    #[error("objects: receive {sha256}")]
    Receive {
        /// The object.
        sha256: Sha256Digest,
        /// Why they stopped.
        source: std::io::Error,
    },
    /// Other bytes than their name says.
    #[error("the bytes sent as {expected} have the SHA-256 {actual}")]
    Hash {
        /// The name.
        expected: Sha256Digest,
        /// What came.
        actual: Sha256Digest,
    },
    /// More than anyone may store under one name.
    #[error("{sha256} is longer than {limit} bytes")]
    TooLong {
        /// The object.
        sha256: Sha256Digest,
        /// The limit in bytes.
        limit: u64,
    },
}

impl ObjectError {
    /// Whether the disk under the objects is full.
    pub fn is_full(&self) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
                if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
                    return true;
                }
            }
            next = error.source();
        }
        false
    }
}

/// The largest object, in bytes: a full payload of a device with every partition filled is below it.
pub const LARGEST: u64 = 64 << 30;

/// Bytes of one part of an upload: S3 takes no smaller ones than 5 MiB.
const PART: usize = 8 << 20;

/// Bytes that a file is read by.
const FILE_BUFFER: usize = 256 * 1024;

impl Objects {
    /// A directory as an object store, made when it is not there. Parts of uploads that never ended are removed.
    pub async fn in_directory(path: &Path) -> Result<Self, ObjectError> {
        let open = |source| ObjectError::Open {
            path: path.display().to_string(),
            source,
        };
        tokio::fs::create_dir_all(path).await.map_err(open)?;
        sweep(path).await.map_err(open)?;
        let store = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| open(error.into()))?
            // A publication must not name bytes that a power cut can take away again.
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Bytes of an object; nothing when it is not there.
    pub async fn size(&self, sha256: Sha256Digest) -> Result<Option<u64>, ObjectError> {
        match self.store.head(&key(sha256)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(ObjectError::Store {
                operation: "look up",
                sha256,
                source,
            }),
        }
    }

    /// Stores what `bytes` yields, if that has the SHA-256 it is named by. Nothing can be seen before it is complete.
    pub async fn receive(
        &self,
        sha256: Sha256Digest,
        bytes: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), ObjectError> {
        let store = |source| ObjectError::Store {
            operation: "store",
            sha256,
            source,
        };
        let upload = self.store.put_multipart(&key(sha256)).await.map_err(store)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        match receive_parts(&mut upload, sha256, bytes).await {
            Ok(()) => upload.finish().await.map(drop).map_err(store),
            Err(error) => {
                // The reason for giving up is worth more than a failure to tidy, which the next start repeats.
                drop(upload.abort().await);
                Err(error)
            }
        }
    }

    /// Stores a small object and says its name.
    pub async fn put(&self, bytes: Vec<u8>) -> Result<Sha256Digest, ObjectError> {
        let sha256 = Sha256Digest(Sha256::digest(&bytes).into());
        if self.size(sha256).await?.is_none() {
            let stored = self.store.put(&key(sha256), PutPayload::from(bytes)).await;
            stored.map_err(|source| ObjectError::Store {
                operation: "store",
                sha256,
                source,
            })?;
        }
        Ok(sha256)
    }

    /// Opens an object, or a range of its bytes, for reading.
    pub async fn open(
        &self,
        sha256: Sha256Digest,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, ObjectError> {
        let result = self.get(sha256, range).await?;
        let range = result.range.clone();
        match result.payload {
            // The store's own stream of a file goes to another thread for every 8 KiB.
            GetResultPayload::File(file, _) => {
                let mut file = tokio::fs::File::from_std(file);
                file.set_max_buf_size(FILE_BUFFER);
                let start = file.seek(SeekFrom::Start(range.start)).await;
                start.map_err(|source| ObjectError::Receive { sha256, source })?;
                Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
            }
            GetResultPayload::Stream(stream) => Ok(Box::new(StreamReader::new(stream))),
        }
    }

    /// A small object, or a small range of one. The caller bounds it.
    pub async fn read(
        &self,
        sha256: Sha256Digest,
        range: Option<Range<u64>>,
    ) -> Result<Vec<u8>, ObjectError> {
        let bytes = self.get(sha256, range).await?.bytes().await;
        let bytes = bytes.map_err(|source| ObjectError::Store {
            operation: "read",
            sha256,
            source,
        })?;
        Ok(bytes.to_vec())
    }

    async fn get(&self, sha256: Sha256Digest, range: Option<Range<u64>>) -> Result<GetResult, ObjectError> {
        let options = GetOptions {
            range: range.map(Into::into),
            ..GetOptions::default()
        };
        match self.store.get_opts(&key(sha256), options).await {
            Ok(result) => Ok(result),
            Err(object_store::Error::NotFound { .. }) => Err(ObjectError::Missing(sha256)),
            Err(source) => Err(ObjectError::Store {
                operation: "read",
                sha256,
                source,
            }),
        }
    }

    /// Whether the store answers: looking up what is not there is an answer.
    pub async fn ping(&self) -> Result<(), ObjectError> {
        self.size(Sha256Digest([0; 32])).await.map(drop)
    }
}

async fn receive_parts(
    upload: &mut WriteMultipart,
    sha256: Sha256Digest,
    bytes: &mut (impl AsyncRead + Unpin),
) -> Result<(), ObjectError> {
    let mut hasher = Sha256::new();
    let mut length = 0_u64;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let received = |source| ObjectError::Receive { sha256, source };
        let count = bytes.read(&mut buffer).await.map_err(received)?;
        if count == 0 {
            break;
        }
        length = length.saturating_add(count as u64);
        if length > LARGEST {
            return Err(ObjectError::TooLong {
                sha256,
                limit: LARGEST,
            });
        }
        hasher.update(&buffer[..count]);
        // Two parts in flight bound the memory of one upload to three parts.
        upload
            .wait_for_capacity(2)
            .await
            .map_err(|source| ObjectError::Store {
                operation: "store",
                sha256,
                source,
            })?;
        upload.write(&buffer[..count]);
    }
    let actual = Sha256Digest(hasher.finalize().into());
    if actual != sha256 {
        return Err(ObjectError::Hash {
            expected: sha256,
            actual,
        });
    }
    Ok(())
}

/// Two digits of folder: directories of a hundred thousand files are slow to list and to back up.
fn key(sha256: Sha256Digest) -> Key {
    let name = sha256.to_string();
    Key::from_iter(["blobs", name.get(..2).unwrap_or_default(), name.as_str()])
}

/// Removes the staging files (`<name>#<n>`) that a killed process left.
async fn sweep(path: &Path) -> std::io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries = tokio::fs::read_dir(&folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_type().await?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains('#') {
                tokio::fs::remove_file(entry.path()).await?;
            }
        }
    }
    Ok(())
}
