//! Feedback and votes: messages that a device key signs.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use millet_protocol::api::{Ballots, FeedbackList};
use millet_protocol::{Build, EntryId, Feedback, MessageKind, Model, SignedMessage, Vote};
use millet_signing::PublicKey;
use serde::de::DeserializeOwned;

use super::ApiError;
use super::json::{Answer, Body};
use super::name::name;
use super::page::{After, LISTED};
use super::reports::is_hex;
use crate::store::{BallotRow, BuildRow, FeedbackRow};

/// Characters of a feedback: enough for a good report, too few for a dump.
const LONGEST_TEXT: usize = 4000;
/// A device's clock may be so far ahead of ours.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(24);

/// `POST /feedback`.
pub async fn receive_feedback(
    State(state): State<Arc<crate::State>>,
    Body(message): Body<SignedMessage>,
) -> Result<StatusCode, ApiError> {
    let feedback: Feedback = read(MessageKind::Feedback, &message)?;
    let length = feedback.text.chars().count();
    if feedback.text.trim().is_empty() || length > LONGEST_TEXT {
        return Err(ApiError::Message(format!(
            "a feedback has 1 to {LONGEST_TEXT} characters, not {length}"
        )));
    }
    let build = known(&state, &feedback.model, &feedback.build).await?;
    if let Some(entry) = &feedback.entry {
        check_entry(&build, entry)?;
    }
    let row = FeedbackRow { message, feedback };
    let now = state.clock.now();
    state.store.put_feedback(&row, &state.bounds, now).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `POST /votes`.
pub async fn receive_vote(
    State(state): State<Arc<crate::State>>,
    Body(message): Body<SignedMessage>,
) -> Result<StatusCode, ApiError> {
    let vote: Vote = read(MessageKind::Vote, &message)?;
    let build = known(&state, &vote.model, &vote.build).await?;
    check_entry(&build, &vote.entry)?;
    let now = state.clock.now();
    check_times(&vote, now)?;
    let row = BallotRow { message, vote };
    if state.store.put_ballot(&row, &state.bounds, now).await? {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(ApiError::OldBallot)
    }
}

/// `GET /models/{model}/builds/{build}/feedback`.
pub async fn list_feedback(
    State(state): State<Arc<crate::State>>,
    Path((model, build)): Path<(String, String)>,
    After(after): After,
) -> Result<Answer<FeedbackList>, ApiError> {
    let (model, build) = (name(&model)?, name(&build)?);
    known(&state, &model, &build).await?;
    let after = after.as_deref().map(name).transpose()?;
    let page = state.store.feedback(&model, &build, after, LISTED).await?;
    let address = |place| format!("/api/v1/models/{model}/builds/{build}/feedback?after={place}");
    Ok(Answer(FeedbackList {
        feedback: page.rows,
        next: page.next.map(address),
    }))
}

/// `GET /models/{model}/builds/{build}/ballots`.
pub async fn list_ballots(
    State(state): State<Arc<crate::State>>,
    Path((model, build)): Path<(String, String)>,
    After(after): After,
) -> Result<Answer<Ballots>, ApiError> {
    let (model, build) = (name(&model)?, name(&build)?);
    known(&state, &model, &build).await?;
    let after = after.as_deref();
    let page = state.store.ballots(&model, &build, after, LISTED).await?;
    let address = |key| format!("/api/v1/models/{model}/builds/{build}/ballots?after={key}");
    Ok(Answer(Ballots {
        ballots: page.rows,
        tally: state.store.votes(&model, &build).await?,
        next: page.next.map(address),
    }))
}

/// The body, if the key signed these exact bytes as this kind of message.
fn read<T: DeserializeOwned>(kind: MessageKind, message: &SignedMessage) -> Result<T, ApiError> {
    if message.body.len() > kind.longest_body() {
        return Err(ApiError::Message(format!(
            "such a message has at most {} bytes",
            kind.longest_body()
        )));
    }
    if !is_hex(&message.key, 64) || !is_hex(&message.signature, 128) {
        return Err(ApiError::Message(
            "a key is 64 and a signature 128 lower-case hexadecimal digits".to_owned(),
        ));
    }
    let mut key = [0; 32];
    let mut signature = [0; 64];
    let decoded = hex::decode_to_slice(&message.key, &mut key)
        .and_then(|()| hex::decode_to_slice(&message.signature, &mut signature));
    let signed = SignedMessage::signed_bytes(kind, &message.body);
    if decoded.is_err() || !PublicKey::ed25519(&key).verify(&signed, &signature) {
        return Err(ApiError::Signature);
    }
    serde_json::from_str(&message.body).map_err(ApiError::Json)
}

async fn known(state: &crate::State, model: &Model, build: &Build) -> Result<BuildRow, ApiError> {
    let row = state.store.build(model, build).await?;
    row.ok_or_else(|| ApiError::Unknown(format!("build {build} of {model}")))
}

fn check_entry(build: &BuildRow, entry: &EntryId) -> Result<(), ApiError> {
    if build.manifest.entries.iter().any(|known| known.id == *entry) {
        return Ok(());
    }
    Err(ApiError::Unknown(format!(
        "entry {entry} in {}",
        build.manifest.build
    )))
}

fn check_times(vote: &Vote, now: Timestamp) -> Result<(), ApiError> {
    let latest = now.saturating_add(CLOCK_SLACK).unwrap_or(now);
    // One cast in the far future could never be changed again.
    if vote.cast_at > latest {
        return Err(ApiError::Message(format!(
            "the ballot is dated {}, and it is {now}",
            vote.cast_at
        )));
    }
    if vote.cast_at < vote.confirmed_at {
        return Err(ApiError::Message(
            "the ballot was cast before the build was confirmed".to_owned(),
        ));
    }
    Ok(())
}
