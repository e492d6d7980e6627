use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower_http::trace::TraceLayer;

use crate::bounds::Bounds;
use crate::data_folder::{self, DataError, Found};
use crate::deltas::{Worker, chain};
use crate::edge::{Clock, Random};
use crate::keys::{KeysError, OnlineKeys, UntrustedKeys};
use crate::metadata_writer::{MetadataWriter, WriteError};
use crate::objects::{ObjectError, Objects};
use crate::secret_file::{SecretError, read_or_make};
use crate::store::{Store, StoreError};
use crate::{api, repo, rollouts, site};

/// What a server is given.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds everything: its own, made on first start.
    pub data: PathBuf,
    /// The zone that people see times in.
    pub zone: TimeZone,
    /// The time.
    pub clock: Clock,
    /// Where secrets come from.
    pub random: Random,
    /// How much strangers may leave.
    pub bounds: Bounds,
    /// Bytes that the data folder's disk must still take, or the server says that it is not well.
    pub least_room: u64,
}

/// A server that is open: it serves when its router is run and works when its background is.
#[derive(Debug)]
pub struct Server {
    state: Arc<State>,
    worker: Arc<Worker>,
    made: Made,
    untrusted: Option<UntrustedKeys>,
    /// Held while the process lives.
    _lock: File,
}

/// What a start made because it was not there.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// The data folder.
    pub folder: bool,
    /// The publisher's token.
    pub token: bool,
    /// The online keys.
    pub keys: bool,
}

/// What every request and task shares.
#[derive(Debug)]
pub struct State {
    /// The database.
    pub store: Store,
    /// The objects.
    pub objects: Objects,
    /// The writer of the metadata.
    pub writer: Arc<MetadataWriter>,
    /// Rung when a delta may have to be made.
    pub bell: Arc<Notify>,
    /// The time.
    pub clock: Clock,
    /// How much strangers may leave.
    pub bounds: Bounds,
    /// The folder that holds everything.
    pub data: PathBuf,
    /// Bytes that its disk must still take.
    pub least_room: u64,
    /// The zone that people see times in.
    pub zone: TimeZone,
    /// What publishers show.
    pub token: api::Token,
    /// Where the token is.
    pub token_path: PathBuf,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] DataError),
    /// A token.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The metadata could not be renewed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Server {
    /// Opens a data folder, making on first start what a server needs, and renews what expired meanwhile.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let Config {
            data,
            zone,
            clock,
            random,
            bounds,
            least_room,
        } = config;
        let (found, lock) = data_folder::take(&data)?;
        let instance_path = data.join(data_folder::INSTANCE);
        let (instance, _) = read_or_make(&instance_path, || random_hex::<8>(&random, &instance_path))?;
        let instance = instance.trim().to_owned();
        let work = data.join("work");
        data_folder::make_empty(&work)?;
        let token_path = data.join("publish.token");
        let (token, made_token) = read_or_make(&token_path, || random_hex::<32>(&random, &token_path))?;
        let keys_folder = data.join(data_folder::KEYS);
        data_folder::make(&keys_folder)?;
        let (keys, made_keys) = OnlineKeys::open(&keys_folder, &random)?;
        let store = Store::open(&data.join(data_folder::DATABASE)).await?;
        let objects = Objects::in_directory(&data.join("objects")).await?;
        let writer = Arc::new(MetadataWriter::new(
            store.clone(),
            objects.clone(),
            keys,
            instance.clone(),
            clock.clone(),
        ));
        let renewed = writer.renew().await?;
        if !renewed.is_empty() {
            tracing::info!(roles = renewed.join(", "), "signed anew");
        }
        let untrusted = match writer.check_keys().await {
            Err(WriteError::Keys(untrusted)) => Some(untrusted),
            checked => checked.map(|()| None)?,
        };
        let bell = Arc::new(Notify::new());
        let worker = Worker {
            store: store.clone(),
            objects: objects.clone(),
            writer: writer.clone(),
            holder: instance,
            work,
            bell: bell.clone(),
        };
        let state = State {
            store,
            objects,
            writer,
            bell,
            clock,
            bounds,
            data,
            least_room,
            zone,
            token: api::Token::new(token.trim()),
            token_path,
        };
        Ok(Self {
            state: Arc::new(state),
            worker: Arc::new(worker),
            made: Made {
                folder: found == Found::New,
                token: made_token,
                keys: made_keys,
            },
            untrusted,
            _lock: lock,
        })
    }

    /// What this start made.
    pub fn made(&self) -> Made {
        self.made
    }

    /// The keys that kept it from writing when it was opened.
    pub fn untrusted(&self) -> Option<&UntrustedKeys> {
        self.untrusted.as_ref()
    }

    /// What its requests share.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Its delta worker, for whoever wants a job done now.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// Everything it answers.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(site::routes())
            .nest("/api/v1", api::routes())
            .merge(api::health_routes())
            .nest("/repo", repo::routes())
            .fallback(api::not_found)
            .layer(TraceLayer::new_for_http())
            .with_state(self.state.clone())
    }

    /// Makes deltas, moves rollouts and renews signatures until told to stop.
    pub async fn run_background(&self, stop: CancellationToken) {
        let work = async {
            tokio::join!(self.worker.run(), drive(&self.state), renew(&self.state));
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
        }
    }

    /// Closes the database after the last request.
    pub async fn close(self) {
        self.state.store.close().await;
    }
}

/// Rollouts are looked at this often: devices ask every ten minutes, tests every second.
const TICK: Duration = Duration::from_secs(1);
const RENEWAL: Duration = Duration::from_secs(60);

async fn drive(state: &State) {
    let mut said = None;
    loop {
        let moved = rollouts::tick(&state.writer, &state.store).await;
        let reason = moved.err().map(|error| chain(&error));
        // Once, not every second until somebody mends it.
        if let Some(reason) = reason.as_ref().filter(|_| reason != said) {
            tracing::error!(reason, "the rollouts could not be moved");
        }
        said = reason;
        tokio::time::sleep(TICK).await;
    }
}

async fn renew(state: &State) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        match state.writer.renew().await {
            Ok(roles) if roles.is_empty() => {}
            Ok(roles) => tracing::info!(roles = roles.join(", "), "signed anew"),
            Err(error) => tracing::error!(reason = %chain(&error), "the metadata could not be renewed"),
        }
    }
}

fn random_hex<const N: usize>(random: &Random, path: &Path) -> Result<String, SecretError> {
    let bytes = random.bytes::<N>().map_err(|source| SecretError::Io {
        operation: "find randomness for",
        path: path.to_owned(),
        source,
    })?;
    Ok(hex::encode(bytes) + "\n")
}
