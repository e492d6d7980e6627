//! The database: what is current, what waits, and who may write. One text for every query, whatever the engine.

mod builds;
mod commit;
mod community;
mod jobs;
mod lease;
mod metadata;
mod reports;
mod rollouts;

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, Decode, Row, Type};

pub use builds::BuildRow;
pub use commit::{Commit, TargetRow};
pub use community::{BallotRow, FeedbackPlace, FeedbackRow};
pub use jobs::{FinishedDelta, JobKey, JobRow};
pub use metadata::SignedFile;
pub use rollouts::RolloutRow;

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
}

/// What went wrong between us and the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not.
    #[error("database: {operation}")]
    Database {
        /// What was asked.
        operation: &'static str,
        /// The engine's answer.
        source: sqlx::Error,
    },
    /// A row that this version did not write.
    #[error("database: {operation}: a stored value cannot be read")]
    Value {
        /// What was asked.
        operation: &'static str,
        /// Why it cannot be read.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another writer took over before the commit.
    #[error("another process took over writing the metadata; nothing was changed")]
    Fenced,
    /// Strangers have left as much within the hour as is kept ([`crate::bounds`]).
    #[error("too many {0} within the hour; nothing was kept")]
    Crowded(&'static str),
}

impl StoreError {
    /// Whether the disk under the database is full.
    pub fn is_full(&self) -> bool {
        // SQLITE_FULL is 13, SQLITE_IOERR_WRITE 778: https://www.sqlite.org/rescode.html
        match self {
            Self::Database { source, .. } => source
                .as_database_error()
                .and_then(|error| error.code())
                .is_some_and(|code| code == "13" || code == "778"),
            _ => false,
        }
    }
}

const SCHEMA: &str = include_str!("schema.sql");

impl Store {
    /// Opens the SQLite file at `path`, making it and its tables when they are not there.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let opening = |source| StoreError::Database {
            operation: "open",
            source,
        };
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // WAL: readers never wait for a writer. FULL: a commit that was answered survives a power cut.
                    sqlx::raw_sql("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
                        .execute(&mut *connection)
                        .await?;
                    Ok(())
                })
            })
            .connect(&sqlite_url(path))
            .await
            .map_err(opening)?;
        // One commit waits for the disk once. IMMEDIATE, so that the second of two first starts waits for the other: who has
        // begun to read cannot write any more once somebody else has (https://www.sqlite.org/rescode.html#busy_snapshot).
        let mut tables = pool.begin_with("BEGIN IMMEDIATE").await.map_err(opening)?;
        sqlx::raw_sql(SCHEMA)
            .execute(&mut *tables)
            .await
            .map_err(opening)?;
        tables.commit().await.map_err(opening)?;
        Ok(Self { pool })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let answer = sqlx::query("SELECT name FROM setting LIMIT 1");
        answer.fetch_optional(&self.pool).await.during("ping")?;
        Ok(())
    }

    /// Closes every connection, so that SQLite folds its log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A part of a list, and where the next part begins.
#[derive(Debug)]
pub struct Page<T, P> {
    /// The part.
    pub rows: Vec<T>,
    /// What it ended with, when there is more.
    pub next: Option<P>,
}

impl<T, P> Page<T, P> {
    /// The first `most` of `rows`, of which one more was asked for.
    fn of(
        rows: &[AnyRow],
        most: u32,
        read: impl Fn(&AnyRow) -> Result<T, StoreError>,
        place: impl Fn(&AnyRow) -> Result<P, StoreError>,
    ) -> Result<Self, StoreError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let shown = rows.get(..most).unwrap_or(rows);
        let last = shown.last().filter(|_| rows.len() > shown.len());
        Ok(Self {
            rows: shown.iter().map(read).collect::<Result<_, _>>()?,
            next: last.map(place).transpose()?,
        })
    }
}

/// How many rows came within the hour before `now`: what `query` counts as `recent` above the milliseconds `$1`, of the
/// names that follow.
async fn recent(
    connection: &mut AnyConnection,
    query: &'static str,
    names: &[&str],
    now: Timestamp,
) -> Result<u64, StoreError> {
    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    let since = now.saturating_sub(HOUR).unwrap_or(Timestamp::MIN);
    let mut counting = sqlx::query(query).bind(since.as_millisecond());
    for name in names {
        counting = counting.bind(*name);
    }
    let operation = "count what came within the hour";
    let row = counting.fetch_one(connection).await.during(operation)?;
    unsigned(&row, "recent")
}

/// Every byte that could mean something in a URL is escaped, so that any path opens.
fn sqlite_url(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                url.push(char::from(*byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    url.push_str("?mode=rwc");
    url
}

/// Says which operation a database error belongs to.
trait During<T> {
    fn during(self, operation: &'static str) -> Result<T, StoreError>;
}

impl<T> During<T> for Result<T, sqlx::Error> {
    fn during(self, operation: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Database { operation, source })
    }
}

/// Reads one column of a row.
fn column<'r, T>(row: &'r AnyRow, name: &'static str) -> Result<T, StoreError>
where
    T: Decode<'r, sqlx::Any> + Type<sqlx::Any>,
{
    row.try_get(name).during(name)
}

/// Reads a column through a fallible conversion.
fn parsed<T, E>(operation: &'static str, value: Result<T, E>) -> Result<T, StoreError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    value.map_err(|error| StoreError::Value {
        operation,
        source: error.into(),
    })
}

fn text<T>(row: &AnyRow, name: &'static str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    parsed(name, column::<String>(row, name)?.parse())
}

fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, name: &'static str) -> Result<T, StoreError> {
    parsed(name, serde_json::from_str(&column::<String>(row, name)?))
}

fn instant(row: &AnyRow, name: &'static str) -> Result<Timestamp, StoreError> {
    parsed(name, Timestamp::from_millisecond(column(row, name)?))
}

fn unsigned(row: &AnyRow, name: &'static str) -> Result<u64, StoreError> {
    parsed(name, u64::try_from(column::<i64>(row, name)?))
}

/// The database's integers are signed; no count, size or sequence comes near 2^63, and one that does stays the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open_four_times(path: &Path) {
        let opening: Vec<_> = (0..4)
            .map(|_| {
                let path = path.to_owned();
                tokio::spawn(async move { Store::open(&path).await })
            })
            .collect();
        for store in opening {
            store.await.unwrap().unwrap().close().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn several_servers_may_start_on_one_database_at_once() {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("shared.db");
            open_four_times(&path).await;
            // An earlier version left it so.
            let store = Store::open(&path).await.unwrap();
            for index in ["DROP INDEX ballot_entry", "DROP INDEX device_first_seen"] {
                sqlx::raw_sql(index).execute(&store.pool).await.unwrap();
            }
            store.close().await;
            open_four_times(&path).await;
        }
    }
}
