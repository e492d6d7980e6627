//! Drives rollouts: asks `millet-rollout` what may happen, and writes what it answers.

mod status;

use std::collections::BTreeMap;

use jiff::Timestamp;
use millet_protocol::api::{ChangeRollout, JobState, RolloutStage, RolloutStatus, StartRollout};
use millet_protocol::{Build, Channel, FORMAT, Model, RolloutDocument, RolloutError, RolloutState, Sequence};
use millet_rollout::{Decision, Guard, Plan, PublishedBuild, freeze, next, open, stones};

use crate::metadata_writer::{MetadataWriter, Turn, WriteError};
use crate::store::{Commit, JobRow, RolloutRow, Store, StoreError};

pub use status::Facts;

/// Why a rollout was not changed.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// It was not published, or has been dropped.
    #[error("there is no build {build} of {model}")]
    NoBuild {
        /// The model.
        model: Model,
        /// The build.
        build: Build,
    },
    /// Its signers do not allow it there.
    #[error("the signers of {build} allow it on {allowed}, not on {channel}")]
    NotAllowed {
        /// The build.
        build: Build,
        /// The channel.
        channel: Channel,
        /// The channels that they allow.
        allowed: String,
    },
    /// Devices would not take it.
    #[error("{channel} already offers {offered} (sequence {newest}), which is not below {build}")]
    Older {
        /// The channel.
        channel: Channel,
        /// The build that was asked for.
        build: Build,
        /// The build on offer.
        offered: Build,
        /// Its sequence.
        newest: Sequence,
    },
    /// What was halted stays halted: devices have gone back from it.
    #[error("the rollout of {0} was halted and cannot be started again")]
    Halted(Build),
    /// Nothing was ever offered there.
    #[error("there is no rollout of {model} on {channel}")]
    None {
        /// The model.
        model: Model,
        /// The channel.
        channel: Channel,
    },
    /// One build is with devices and another waits, and neither was named.
    #[error("devices have {seen} there, and {waiting} waits: which one is meant?")]
    Two {
        /// The build that devices see.
        seen: Build,
        /// The build that was asked for after it.
        waiting: Build,
    },
    /// How long it takes was settled when it began.
    #[error("the rollout of {build} goes over {over} s already: what has begun keeps its time")]
    Begun {
        /// The build.
        build: Build,
        /// From the first device to the last, in seconds.
        over: u64,
    },
    /// The change does not fit the state.
    #[error("the rollout of {build} is {stage} and cannot be {wanted}")]
    Stage {
        /// The build.
        build: Build,
        /// Where it stands.
        stage: String,
        /// What was asked for.
        wanted: RolloutState,
    },
    /// The document would break its rules.
    #[error("the rollout cannot be begun like that")]
    Document(#[source] RolloutError),
    /// The metadata could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Devices ask this often unless a rollout says otherwise, in seconds.
const POLLS_SECONDS: u32 = 600;

/// The rollouts that devices see: for each channel the one that opened last.
pub fn visible(rows: &[RolloutRow]) -> impl Iterator<Item = &RolloutRow> {
    let mut last: BTreeMap<&Channel, &RolloutRow> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.opened.is_some()) {
        let held = last.entry(&row.channel).or_insert(row);
        if (row.opened, row.sequence) > (held.opened, held.sequence) {
            *held = row;
        }
    }
    last.into_values()
}

impl RolloutRow {
    /// What tells it from other rollouts.
    pub fn key(&self) -> (&Model, &Channel, &Build) {
        (&self.model, &self.channel, &self.build)
    }

    fn plan(&self) -> Plan {
        Plan::over(self.over_seconds)
    }

    fn draft(&self, state: RolloutState, stones: Vec<Build>) -> RolloutDocument {
        RolloutDocument {
            format: FORMAT,
            model: self.model.clone(),
            channel: self.channel.clone(),
            build: self.build.clone(),
            sequence: self.sequence,
            state,
            reason: self.reason.clone(),
            ramp: self.ramp.clone(),
            pilot: None,
            stones,
            polls_seconds: self.polls_seconds,
        }
    }

    /// Moves an open rollout to a state, and its document with it.
    fn set_state(&mut self, state: RolloutState, reason: Option<String>) {
        self.stage = RolloutStage::Open(state);
        self.reason = reason;
        if let Some(held) = self.document.take() {
            self.document = Some(self.draft(state, held.stones));
        }
    }
}

/// Asks for a build to be offered. It opens when its deltas are settled; asking twice is asking once.
pub async fn start(
    writer: &MetadataWriter,
    store: &Store,
    model: &Model,
    channel: &Channel,
    request: &StartRollout,
) -> Result<RolloutStatus, DriveError> {
    let turn = writer.begin().await?;
    let found = store.build(model, &request.build).await?.filter(|row| row.listed);
    let manifest = found.map(|row| row.manifest).ok_or_else(|| DriveError::NoBuild {
        model: model.clone(),
        build: request.build.clone(),
    })?;
    if !manifest.channels.contains(channel) {
        let allowed: Vec<&str> = manifest.channels.iter().map(Channel::as_str).collect();
        return Err(DriveError::NotAllowed {
            build: manifest.build,
            channel: channel.clone(),
            allowed: allowed.join(", "),
        });
    }
    let rows = of_channel(store, model, channel).await?;
    let same = rows.iter().find(|row| row.build == manifest.build);
    let asked = same.is_none_or(|row| row.opened.is_none() && row.stage != RolloutStage::Approved);
    if let Some(row) =
        same.filter(|row| row.stage == RolloutStage::Open(RolloutState::Halted) && row.opened.is_some())
    {
        return Err(DriveError::Halted(row.build.clone()));
    }
    if let Some(row) =
        same.filter(|row| !asked && request.over_seconds.is_some_and(|over| over != row.over_seconds))
    {
        return Err(DriveError::Begun {
            build: row.build.clone(),
            over: row.over_seconds,
        });
    }
    let builds = store.builds(model).await?;
    let listed = |build: &Build| {
        builds
            .iter()
            .any(|row| row.listed && row.manifest.build == *build)
    };
    // One whose build was dropped stands in nobody's way: devices take it from no one any more.
    let alive = |row: &&RolloutRow| {
        (row.opened.is_some() || row.stage == RolloutStage::Approved) && listed(&row.build)
    };
    if let Some(newer) = rows
        .iter()
        .filter(alive)
        .find(|row| row.sequence > manifest.sequence)
    {
        return Err(DriveError::Older {
            channel: channel.clone(),
            build: manifest.build,
            offered: newer.build.clone(),
            newest: newer.sequence,
        });
    }
    if asked {
        let row = RolloutRow {
            model: model.clone(),
            channel: channel.clone(),
            build: manifest.build,
            sequence: manifest.sequence,
            stage: RolloutStage::Approved,
            reason: None,
            over_seconds: request
                .over_seconds
                .unwrap_or_else(|| Plan::default_seconds(channel)),
            polls_seconds: request.polls_seconds.unwrap_or(POLLS_SECONDS),
            ramp: Vec::new(),
            created: turn.now,
            opened: None,
            document: None,
        };
        row.draft(RolloutState::Running, Vec::new())
            .validate()
            .map_err(DriveError::Document)?;
        let commit = Commit {
            forgotten: rows.into_iter().filter(|row| row.opened.is_none()).collect(),
            rollouts: vec![row],
            ..Commit::default()
        };
        turn.commit(commit, &[]).await?;
    } else {
        drop(turn);
    }
    tick(writer, store).await?;
    status::of(store, model, channel, writer.now()).await
}

/// Pauses, resumes or halts a rollout: the one that is named, or else the only one that runs or waits.
pub async fn change(
    writer: &MetadataWriter,
    store: &Store,
    model: &Model,
    channel: &Channel,
    wanted: RolloutState,
    request: &ChangeRollout,
) -> Result<RolloutStatus, DriveError> {
    let turn = writer.begin().await?;
    let mut row = meant(store, model, channel, request.build.as_ref()).await?;
    let now = turn.now;
    let changed = match (row.stage, wanted) {
        (RolloutStage::Open(is), wanted) if is == wanted => false,
        (RolloutStage::Open(RolloutState::Running), RolloutState::Paused)
        | (
            RolloutStage::Open(RolloutState::Running | RolloutState::Paused | RolloutState::Complete),
            RolloutState::Halted,
        ) => {
            row.ramp = freeze(&row.ramp, now);
            row.set_state(wanted, request.reason.clone());
            true
        }
        (RolloutStage::Open(RolloutState::Paused), RolloutState::Running) => {
            row.set_state(wanted, None);
            true
        }
        // Never opened: no device has heard of it, and it may be asked for again.
        (RolloutStage::Approved, RolloutState::Halted) => {
            row.set_state(wanted, request.reason.clone());
            true
        }
        _ => {
            return Err(DriveError::Stage {
                build: row.build,
                stage: status::stage_word(row.stage),
                wanted,
            });
        }
    };
    let build = row.build.clone();
    if changed {
        save(turn, row).await?;
    } else {
        drop(turn);
    }
    tick(writer, store).await?;
    let row = meant(store, model, channel, Some(&build)).await?;
    status::of_row(store, row, writer.now()).await
}

/// Where the rollout stands that was asked for last and not called off.
pub async fn status(
    store: &Store,
    model: &Model,
    channel: &Channel,
    now: Timestamp,
) -> Result<RolloutStatus, DriveError> {
    status::of(store, model, channel, now).await
}

/// Where a given rollout stands.
pub async fn status_of(store: &Store, row: &RolloutRow, now: Timestamp) -> Result<Facts, DriveError> {
    Ok(status::facts(store, row, now).await?)
}

/// Does for every rollout what may be done now.
pub async fn tick(writer: &MetadataWriter, store: &Store) -> Result<(), DriveError> {
    for row in store.moving_rollouts().await? {
        let step = Step::of(store, &row, writer.now()).await?;
        if step.is_none() {
            continue;
        }
        // Looked at again inside the turn: somebody may have paused it meanwhile.
        let turn = writer.begin().await?;
        let Some(mut row) = again(store, &row).await? else {
            continue;
        };
        let Some(step) = Step::of(store, &row, turn.now).await? else {
            continue;
        };
        step.take(&mut row, turn.now);
        let share = row.ramp.last().map_or(0.0, |last| last.percent);
        let stage = status::stage_word(row.stage);
        tracing::info!(model = %row.model, channel = %row.channel, build = %row.build, stage, share, "the rollout moved on");
        save(turn, row).await?;
    }
    Ok(())
}

/// What to do with a rollout that waits or runs.
enum Step {
    Open { stones: Vec<Build> },
    Decided(Decision),
}

impl Step {
    async fn of(store: &Store, row: &RolloutRow, now: Timestamp) -> Result<Option<Self>, StoreError> {
        match row.stage {
            RolloutStage::Approved => {
                let unsettled = deltas_to(store, row).await?.iter().any(is_unsettled);
                if unsettled {
                    return Ok(None);
                }
                Ok(Some(Self::Open {
                    stones: stones_of(store, row).await?,
                }))
            }
            RolloutStage::Open(RolloutState::Running) => {
                let rows = store.rollouts(&row.model).await?;
                if !visible(&rows).any(|shown| shown.key() == row.key()) {
                    return Ok(None);
                }
                let evidence = store.evidence(&row.model, &row.channel, &row.build).await?;
                match next(&row.plan(), &Guard::default(), &row.ramp, &evidence, now) {
                    Decision::Hold(_) => Ok(None),
                    decision => Ok(Some(Self::Decided(decision))),
                }
            }
            RolloutStage::Open(_) => Ok(None),
        }
    }

    fn take(self, row: &mut RolloutRow, now: Timestamp) {
        match self {
            Self::Open { stones } => {
                row.ramp = open(&row.plan(), now);
                row.opened = Some(now);
                row.stage = RolloutStage::Open(RolloutState::Running);
                row.document = Some(row.draft(RolloutState::Running, stones));
            }
            Self::Decided(Decision::Widen(points)) => {
                row.ramp.extend(points);
                row.set_state(RolloutState::Running, None);
            }
            Self::Decided(Decision::Halt(reason)) => {
                row.ramp = freeze(&row.ramp, now);
                row.set_state(RolloutState::Halted, Some(reason.to_string()));
            }
            Self::Decided(Decision::Complete) => row.set_state(RolloutState::Complete, None),
            Self::Decided(Decision::Hold(_)) => {}
        }
    }
}

async fn save(turn: Turn<'_>, row: RolloutRow) -> Result<(), DriveError> {
    let commit = Commit {
        rollouts: vec![row],
        ..Commit::default()
    };
    turn.commit(commit, &[]).await?;
    Ok(())
}

async fn latest(store: &Store, model: &Model, channel: &Channel) -> Result<RolloutRow, DriveError> {
    let rows = of_channel(store, model, channel).await?;
    let called_off = |row: &RolloutRow| row.opened.is_none() && row.stage != RolloutStage::Approved;
    let row = rows.iter().find(|row| !called_off(row)).or(rows.first());
    row.cloned().ok_or_else(|| none(model, channel))
}

/// The rollout that a person means who names a build or none.
async fn meant(
    store: &Store,
    model: &Model,
    channel: &Channel,
    build: Option<&Build>,
) -> Result<RolloutRow, DriveError> {
    let rows = of_channel(store, model, channel).await?;
    let halted = |row: &RolloutRow| row.stage == RolloutStage::Open(RolloutState::Halted);
    let seen = visible(&rows).find(|row| !halted(row));
    let waiting = rows.iter().find(|row| row.stage == RolloutStage::Approved);
    let row = match (build, seen, waiting) {
        (Some(build), ..) => rows.iter().find(|row| row.build == *build),
        // A halt cannot be undone: nobody guesses.
        (None, Some(seen), Some(waiting)) => {
            return Err(DriveError::Two {
                seen: seen.build.clone(),
                waiting: waiting.build.clone(),
            });
        }
        (None, Some(row), None) | (None, None, Some(row)) => Some(row),
        (None, None, None) => visible(&rows).next().or(rows.first()),
    };
    row.cloned().ok_or_else(|| none(model, channel))
}

/// The rollouts of a channel, the latest asked for first.
async fn of_channel(store: &Store, model: &Model, channel: &Channel) -> Result<Vec<RolloutRow>, StoreError> {
    let mut rows = store.rollouts(model).await?;
    rows.retain(|row| row.channel == *channel);
    Ok(rows)
}

fn none(model: &Model, channel: &Channel) -> DriveError {
    DriveError::None {
        model: model.clone(),
        channel: channel.clone(),
    }
}

async fn again(store: &Store, row: &RolloutRow) -> Result<Option<RolloutRow>, StoreError> {
    let rows = store.rollouts(&row.model).await?;
    Ok(rows.into_iter().find(|other| other.key() == row.key()))
}

async fn deltas_to(store: &Store, row: &RolloutRow) -> Result<Vec<JobRow>, StoreError> {
    let jobs = store.jobs_of(&row.model).await?;
    Ok(jobs.into_iter().filter(|job| job.key.to == row.build).collect())
}

fn is_unsettled(job: &JobRow) -> bool {
    matches!(job.state, JobState::Queued | JobState::Running)
}

async fn stones_of(store: &Store, row: &RolloutRow) -> Result<Vec<Build>, StoreError> {
    let published = |row: &crate::store::BuildRow| PublishedBuild {
        build: row.manifest.build.clone(),
        sequence: row.manifest.sequence,
        channels: row.manifest.channels.clone(),
        min_sequence: row
            .manifest
            .requires
            .as_ref()
            .map(|requires| requires.min_sequence),
    };
    let builds: Vec<_> = store
        .builds(&row.model)
        .await?
        .iter()
        .filter(|row| row.listed)
        .map(published)
        .collect();
    let own = builds.iter().find(|build| build.build == row.build);
    Ok(own
        .map(|own| stones(own, &row.channel, &builds))
        .unwrap_or_default())
}
