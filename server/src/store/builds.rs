use jiff::Timestamp;
use millet_protocol::{Build, BuildManifest, Model, Sha256Digest};
use sqlx::any::AnyRow;

use super::{During, Store, StoreError, column, instant, json, text, unsigned};

/// A build that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRow {
    /// Its manifest.
    pub manifest: BuildManifest,
    /// SHA-256 of the manifest document.
    pub manifest_sha256: Sha256Digest,
    /// SHA-256 of the full payload.
    pub payload_sha256: Sha256Digest,
    /// Bytes of the full payload.
    pub payload_size: u64,
    /// Whether the current metadata names it. A name that was dropped stays taken.
    pub listed: bool,
    /// When it was first published.
    pub published: Timestamp,
}

impl Store {
    /// Every build of a model, newest first, dropped ones included.
    pub async fn builds(&self, model: &Model) -> Result<Vec<BuildRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT manifest, manifest_sha256, payload_sha256, payload_size, listed, published_ms \
             FROM build WHERE model = $1 ORDER BY sequence DESC",
        )
        .bind(model.as_str())
        .fetch_all(&self.pool)
        .await
        .during("read the builds of a model")?;
        rows.iter().map(build_row).collect()
    }

    /// One build.
    pub async fn build(&self, model: &Model, build: &Build) -> Result<Option<BuildRow>, StoreError> {
        let row = sqlx::query(
            "SELECT manifest, manifest_sha256, payload_sha256, payload_size, listed, published_ms \
             FROM build WHERE model = $1 AND build = $2",
        )
        .bind(model.as_str())
        .bind(build.as_str())
        .fetch_optional(&self.pool)
        .await
        .during("read a build")?;
        row.as_ref().map(build_row).transpose()
    }

    /// The models that have a build, by name.
    pub async fn models(&self) -> Result<Vec<Model>, StoreError> {
        let rows = sqlx::query("SELECT DISTINCT model FROM build ORDER BY model")
            .fetch_all(&self.pool)
            .await
            .during("read the models")?;
        rows.iter().map(|row| text(row, "model")).collect()
    }
}

fn build_row(row: &AnyRow) -> Result<BuildRow, StoreError> {
    Ok(BuildRow {
        manifest: json(row, "manifest")?,
        manifest_sha256: text(row, "manifest_sha256")?,
        payload_sha256: text(row, "payload_sha256")?,
        payload_size: unsigned(row, "payload_size")?,
        listed: column::<i64>(row, "listed")? != 0,
        published: instant(row, "published_ms")?,
    })
}
