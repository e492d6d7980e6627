//! Publishing: extract what was sent, decide whether it may stand, write it in one transaction, say what it did.

mod builds;
mod error;
mod roles;

use std::collections::BTreeSet;

use millet_protocol::api::{BuildName, DeltaJob, JobState, Publication, Published, RolloutStage};
use millet_protocol::{RolloutState, targets};
use millet_rollout::{PublishedBuild, delta_sources};

use crate::metadata_writer::{MetadataWriter, Turn};
use crate::objects::Objects;
use crate::store::{BuildRow, Commit, JobKey, Store};

pub use error::PublishError;

/// Publishes signed offline metadata, all or nothing. The same again changes nothing and says so.
pub async fn publish(
    writer: &MetadataWriter,
    store: &Store,
    objects: &Objects,
    publication: &Publication,
) -> Result<Published, PublishError> {
    let turn = writer.begin().await?;
    let offline = roles::check(&turn.held, publication, writer.keys(), turn.now)?;
    let mut commit = Commit::default();
    let mut queued = Vec::new();
    let mut added = Vec::new();
    for (model, list) in offline.new_builds() {
        let known = store.builds(model).await?;
        let on_offer = on_offer(store, model).await?;
        let listed = builds::examine(objects, model, list, &known).await?;
        let changes = builds::decide(list, &known, listed, &on_offer, turn.now)?;
        let all: Vec<_> = overlay(&known, &changes.rows).iter().map(published).collect();
        for row in &changes.rows {
            if changes.added.contains(&row.manifest.build) {
                added.push(BuildName {
                    model: model.clone(),
                    build: row.manifest.build.clone(),
                });
            }
            if row.listed {
                for from in delta_sources(&published(row), &all) {
                    queued.push(JobKey {
                        model: model.clone(),
                        from,
                        to: row.manifest.build.clone(),
                    });
                }
            }
        }
        commit.targets.extend(changes.targets);
        commit.builds.extend(changes.rows);
    }
    commit.files = offline.into_files();
    if commit.files.is_empty() {
        return Ok(unchanged(&turn));
    }
    let delta_jobs = new_jobs(store, &queued).await?;
    commit.queued = queued;
    let snapshot_version = turn.commit(commit, &[]).await?;
    Ok(Published {
        snapshot_version,
        builds: added,
        delta_jobs,
    })
}

fn unchanged(turn: &Turn<'_>) -> Published {
    Published {
        snapshot_version: turn.held.version("snapshot"),
        builds: Vec::new(),
        delta_jobs: Vec::new(),
    }
}

/// The builds that a rollout offers or waits to offer: these cannot be dropped. A halted one can: devices have gone back
/// from it, and a stolen build must be able to go.
async fn on_offer(
    store: &Store,
    model: &millet_protocol::Model,
) -> Result<BTreeSet<millet_protocol::Build>, PublishError> {
    let rollouts = store.rollouts(model).await?;
    let visible = crate::rollouts::visible(&rollouts)
        .filter(|row| row.stage != RolloutStage::Open(RolloutState::Halted))
        .map(|row| row.build.clone());
    let waiting = rollouts
        .iter()
        .filter(|row| row.stage == RolloutStage::Approved)
        .map(|row| row.build.clone());
    Ok(visible.chain(waiting).collect())
}

/// The queued jobs that did not exist before.
async fn new_jobs(store: &Store, queued: &[JobKey]) -> Result<Vec<DeltaJob>, PublishError> {
    let mut known = BTreeSet::new();
    for model in queued.iter().map(|key| &key.model).collect::<BTreeSet<_>>() {
        known.extend(store.jobs_of(model).await?.into_iter().map(|job| job.key));
    }
    let job = |key: &JobKey| DeltaJob {
        model: key.model.clone(),
        from: key.from.clone(),
        to: key.to.clone(),
        state: JobState::Queued,
        size: None,
        error: None,
    };
    Ok(queued
        .iter()
        .filter(|key| !known.contains(key))
        .map(job)
        .collect())
}

fn overlay(known: &[BuildRow], changed: &[BuildRow]) -> Vec<BuildRow> {
    let same = |row: &BuildRow| changed.iter().any(|new| new.manifest.build == row.manifest.build);
    let mut rows: Vec<_> = known.iter().filter(|row| !same(row)).cloned().collect();
    rows.extend(changed.iter().cloned());
    rows.retain(|row| row.listed);
    rows
}

fn published(row: &BuildRow) -> PublishedBuild {
    PublishedBuild {
        build: row.manifest.build.clone(),
        sequence: row.manifest.sequence,
        channels: row.manifest.channels.clone(),
        min_sequence: row
            .manifest
            .requires
            .as_ref()
            .map(|requires| requires.min_sequence),
    }
}

/// The role whose file names a model's builds.
fn role_of(model: &millet_protocol::Model) -> String {
    targets::builds_role(model)
}
