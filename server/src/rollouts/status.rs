use std::collections::BTreeMap;

use jiff::Timestamp;
use millet_protocol::api::{RolloutStage, RolloutStatus};
use millet_protocol::{Channel, Model, Outcome, RampPoint, RolloutState};
use millet_rollout::{Decision, Evidence, Guard, Hold, forecast, next, share_at};

use super::{DriveError, deltas_to, is_unsettled, latest};
use crate::store::{RolloutRow, Store, StoreError};

/// What people want to know of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Percent of devices that may start now.
    pub share: f64,
    /// What it waits for, in a sentence.
    pub waiting_for: Option<String>,
    /// Why the ramp stays as it is, while it runs.
    pub hold: Option<Hold>,
    /// The rest of the ramp, if the evidence allows it.
    pub forecast: Vec<RampPoint>,
    /// Devices by their latest report.
    pub evidence: Evidence,
}

/// The status of the rollout that was asked for last.
pub async fn of(
    store: &Store,
    model: &Model,
    channel: &Channel,
    now: Timestamp,
) -> Result<RolloutStatus, DriveError> {
    of_row(store, latest(store, model, channel).await?, now).await
}

/// The status of a rollout.
pub async fn of_row(store: &Store, row: RolloutRow, now: Timestamp) -> Result<RolloutStatus, DriveError> {
    let facts = facts(store, &row, now).await?;
    Ok(RolloutStatus {
        model: row.model,
        channel: row.channel,
        build: row.build,
        stage: row.stage,
        waiting_for: facts.waiting_for,
        document: row.document,
        next: facts.forecast.first().copied(),
        outcomes: outcomes(&facts.evidence),
    })
}

/// What can be said of a rollout now.
pub async fn facts(store: &Store, row: &RolloutRow, now: Timestamp) -> Result<Facts, StoreError> {
    let evidence = store.evidence(&row.model, &row.channel, &row.build).await?;
    let mut facts = Facts {
        share: share_at(&row.ramp, now),
        waiting_for: None,
        hold: None,
        forecast: Vec::new(),
        evidence,
    };
    match row.stage {
        RolloutStage::Approved => {
            let waiting: Vec<String> = deltas_to(store, row)
                .await?
                .iter()
                .filter(|job| is_unsettled(job))
                .map(|job| format!("{} to {}", job.key.from, job.key.to))
                .collect();
            if !waiting.is_empty() {
                facts.waiting_for = Some(format!("the delta from {}", waiting.join(", from ")));
            }
        }
        RolloutStage::Open(RolloutState::Running) => {
            facts.forecast = forecast(&row.plan(), &row.ramp, now);
            if let Decision::Hold(hold) = next(&row.plan(), &Guard::default(), &row.ramp, &evidence, now) {
                facts.hold = Some(hold);
                let on_its_way = matches!(hold, Hold::Everyone | Hold::Climbing { .. });
                facts.waiting_for = (!on_its_way).then(|| hold.to_string());
            }
        }
        RolloutStage::Open(_) => {}
    }
    Ok(facts)
}

/// One word for where it stands.
pub fn stage_word(stage: RolloutStage) -> String {
    match stage {
        RolloutStage::Approved => "approved".to_owned(),
        RolloutStage::Open(state) => state.to_string(),
    }
}

fn outcomes(evidence: &Evidence) -> BTreeMap<Outcome, u64> {
    [
        (Outcome::Trying, evidence.trying),
        (Outcome::Confirmed, evidence.confirmed),
        (Outcome::RolledBack, evidence.rolled_back),
        (Outcome::Failed, evidence.failed),
    ]
    .into_iter()
    .filter(|(_, devices)| *devices > 0)
    .collect()
}
