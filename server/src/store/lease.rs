use jiff::Timestamp;
use sqlx::Row;

use super::{During, Store, StoreError};

impl Store {
    /// Takes or renews a lease. The fencing number when it is ours now; nothing when another holder has it.
    ///
    /// A holder always gets its own lease back, so that a process that was killed goes on at once after its restart.
    pub async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO lease (name, holder, fence, until_ms) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = lease.fence + 1, until_ms = excluded.until_ms \
             WHERE lease.holder = excluded.holder OR lease.until_ms < $4 \
             RETURNING fence",
        )
        .bind(name)
        .bind(holder)
        .bind(until.as_millisecond())
        .bind(now.as_millisecond())
        .fetch_optional(&self.pool)
        .await
        .during("take a lease")?;
        taken
            .map(|row| {
                row.try_get::<i64, _>("fence")
                    .during("take a lease")
                    .map(i64::cast_unsigned)
            })
            .transpose()
    }
}
