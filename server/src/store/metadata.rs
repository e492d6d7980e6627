use jiff::Timestamp;
use millet_protocol::Sha256Digest;
use sqlx::any::AnyRow;

use super::{During, Store, StoreError, column, instant, text, unsigned};

/// One version of one role's signed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFile {
    /// The role, such as `root` or `builds.rubik`.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// When clients stop to believe it.
    pub expires: Timestamp,
    /// SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// The file.
    pub body: Vec<u8>,
}

impl Store {
    /// The newest file of every role.
    pub async fn current_metadata(&self) -> Result<Vec<SignedFile>, StoreError> {
        let rows = sqlx::query(
            "SELECT role, version, expires_ms, sha256, body FROM metadata AS file WHERE version = \
             (SELECT MAX(version) FROM metadata AS other WHERE other.role = file.role)",
        )
        .fetch_all(&self.pool)
        .await
        .during("read the current metadata")?;
        rows.iter().map(signed_file).collect()
    }

    /// One version of a role's file.
    pub async fn metadata(&self, role: &str, version: u64) -> Result<Option<SignedFile>, StoreError> {
        let row = sqlx::query(
            "SELECT role, version, expires_ms, sha256, body FROM metadata WHERE role = $1 AND version = $2",
        )
        .bind(role)
        .bind(super::signed(version))
        .fetch_optional(&self.pool)
        .await
        .during("read a metadata file")?;
        row.as_ref().map(signed_file).transpose()
    }

    /// The newest file of a role.
    pub async fn latest_metadata(&self, role: &str) -> Result<Option<SignedFile>, StoreError> {
        let row = sqlx::query(
            "SELECT role, version, expires_ms, sha256, body FROM metadata WHERE role = $1 ORDER BY version DESC LIMIT 1",
        )
        .bind(role)
        .fetch_optional(&self.pool)
        .await
        .during("read the newest metadata file")?;
        row.as_ref().map(signed_file).transpose()
    }

    /// The length of a target file that published metadata has named, if it has.
    pub async fn published_target(
        &self,
        path: &str,
        sha256: Sha256Digest,
    ) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT length FROM target WHERE path = $1 AND sha256 = $2")
            .bind(path)
            .bind(sha256.to_string())
            .fetch_optional(&self.pool)
            .await
            .during("look up a target")?;
        row.as_ref().map(|row| unsigned(row, "length")).transpose()
    }
}

fn signed_file(row: &AnyRow) -> Result<SignedFile, StoreError> {
    Ok(SignedFile {
        role: column(row, "role")?,
        version: unsigned(row, "version")?,
        expires: instant(row, "expires_ms")?,
        sha256: text(row, "sha256")?,
        body: column(row, "body")?,
    })
}
