//! Errors as HTTP: the one place that knows status codes (RFC 9110, section 15) and problem details (RFC 9457).

use std::io;

use axum::extract::rejection::BytesRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use millet_protocol::api::Problem;

use crate::deltas::chain;
use crate::keys::TRUST_ADVICE;
use crate::metadata_writer::WriteError;
use crate::objects::ObjectError;
use crate::publish::PublishError;
use crate::rollouts::DriveError;
use crate::store::StoreError;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such resource.
    #[error("there is nothing at this address")]
    NotFound,
    /// A name in the path breaks its form.
    #[error("{0}")]
    Name(String),
    /// No token was shown.
    #[error("this needs the publisher's token")]
    NoToken,
    /// Another token was shown.
    #[error("this is not the publisher's token")]
    WrongToken,
    /// The body did not come whole, or longer than it may be.
    #[error("the body could not be read")]
    Body(#[source] BytesRejection),
    /// The body is announced as longer than it may be.
    #[error("the body has {announced} bytes and may have {most}")]
    Long {
        /// Bytes that it has.
        announced: u64,
        /// Bytes that it may have.
        most: u64,
    },
    /// The body came too slowly.
    #[error("the body came too slowly")]
    Slow,
    /// The body is not the JSON that belongs there.
    #[error("the body is not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// A message that devices do not send.
    #[error("{0}")]
    Message(String),
    /// A message's signature does not verify.
    #[error("the signature does not verify under the key")]
    Signature,
    /// A message about a build or entry that there is not.
    #[error("there is no {0}")]
    Unknown(String),
    /// A ballot that is not the latest of its key.
    #[error("this device has cast a later ballot")]
    OldBallot,
    /// Our own answer could not be written.
    #[error("the answer could not be written")]
    Answer(#[source] serde_json::Error),
    /// The page could not be drawn.
    #[error("the page could not be drawn")]
    Page(#[source] askama::Error),
    /// The data folder's disk could not be asked.
    #[error("the data folder's disk does not answer")]
    Disk(#[source] io::Error),
    /// The data folder's disk is almost full.
    #[error("the data folder's disk takes {room} bytes more, and should take {least}")]
    LittleRoom {
        /// Bytes that fit.
        room: u64,
        /// Bytes that should fit.
        least: u64,
    },
    /// Publishing.
    #[error(transparent)]
    Publish(Box<PublishError>),
    /// Rollouts.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The metadata.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        Self::Publish(Box::new(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, kind) = classify(&self);
        if status.is_server_error() {
            tracing::error!(reason = %chain(&self), "a request failed");
        }
        let problem = Problem {
            kind: kind.to_owned(),
            title: self.to_string(),
            status: status.as_u16(),
            detail: detail(&self),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(CONTENT_TYPE, json)], body).into_response();
        let headers = response.headers_mut();
        // The next root is missing until it is there: nobody may remember that it was missing.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let patience = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some("2"),
            // Above the minute that an agent waits at once: it ends its pass and keeps its report for the next one.
            StatusCode::TOO_MANY_REQUESTS => Some("600"),
            _ => None,
        };
        if let Some(seconds) = patience {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

/// The answer to an address that nobody has.
pub async fn not_found() -> ApiError {
    ApiError::NotFound
}

fn classify(error: &ApiError) -> (StatusCode, &'static str) {
    match error {
        ApiError::NotFound => (StatusCode::NOT_FOUND, "not-found"),
        ApiError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown"),
        ApiError::Name(_) => (StatusCode::BAD_REQUEST, "name"),
        ApiError::NoToken => (StatusCode::UNAUTHORIZED, "no-token"),
        ApiError::WrongToken => (StatusCode::UNAUTHORIZED, "wrong-token"),
        ApiError::Body(rejection) => (rejection.status(), "body"),
        ApiError::Long { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body"),
        ApiError::Slow => (StatusCode::REQUEST_TIMEOUT, "slow"),
        ApiError::Json(_) => (StatusCode::BAD_REQUEST, "json"),
        ApiError::Message(_) => (StatusCode::UNPROCESSABLE_ENTITY, "message"),
        ApiError::Signature => (StatusCode::FORBIDDEN, "signature"),
        ApiError::OldBallot => (StatusCode::CONFLICT, "old-ballot"),
        ApiError::Answer(_) => (StatusCode::INTERNAL_SERVER_ERROR, "answer"),
        ApiError::Page(_) => (StatusCode::INTERNAL_SERVER_ERROR, "page"),
        ApiError::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "disk"),
        ApiError::LittleRoom { .. } => (StatusCode::INSUFFICIENT_STORAGE, "little-room"),
        ApiError::Publish(error) => classify_publish(error),
        ApiError::Drive(error) => classify_drive(error),
        ApiError::Write(error) => classify_write(error),
        ApiError::Store(error) => classify_store(error),
        ApiError::Objects(error) => classify_objects(error),
    }
}

fn classify_publish(error: &PublishError) -> (StatusCode, &'static str) {
    let conflict = |kind| (StatusCode::CONFLICT, kind);
    let refused = |kind| (StatusCode::UNPROCESSABLE_ENTITY, kind);
    match error {
        PublishError::Empty => conflict("empty-repository"),
        PublishError::OtherRoot => conflict("other-root"),
        PublishError::Version { .. } => conflict("version-not-next"),
        PublishError::BuildTaken(_) => conflict("build-taken"),
        PublishError::ChannelLost { .. } => conflict("channel-lost"),
        PublishError::EntryLost { .. } => conflict("entry-lost"),
        PublishError::SequenceTaken { .. } => conflict("sequence-taken"),
        PublishError::SequenceNotGrowing { .. } => conflict("sequence-not-growing"),
        PublishError::OnOffer(_) => conflict("on-offer"),
        PublishError::Orphaned { .. } => conflict("signed-with-old-keys"),
        PublishError::NotTrusted { .. } => (StatusCode::FORBIDDEN, "not-trusted"),
        PublishError::UnknownRole(_) => refused("unknown-role"),
        PublishError::Expired { .. } => refused("expired"),
        PublishError::OnlineKey { .. } => refused("online-key"),
        PublishError::Paths { .. } => refused("delegated-paths"),
        PublishError::ForeignRole(_) => refused("foreign-role"),
        PublishError::NotDelegated(_) => refused("not-delegated"),
        PublishError::Vanished(_) => refused("role-vanished"),
        PublishError::NotSent(_) => refused("role-not-sent"),
        PublishError::ForeignTarget(_) => refused("foreign-target"),
        PublishError::TargetPath(_) => refused("target-path"),
        PublishError::NoSha256(_) => refused("no-sha256"),
        PublishError::NotUploaded { .. } => refused("not-uploaded"),
        PublishError::Length { .. } => refused("length"),
        PublishError::ManifestForm { .. } | PublishError::Manifest { .. } => refused("manifest"),
        PublishError::OtherManifest { .. } => refused("other-manifest"),
        PublishError::PayloadNotListed { .. } => refused("payload-not-listed"),
        PublishError::Payload { .. } | PublishError::PayloadShort { .. } => refused("payload"),
        PublishError::PayloadHead(_) => refused("payload-head"),
        PublishError::PayloadPartitions { .. } => refused("payload-partitions"),
        PublishError::IsDelta(_) | PublishError::PartitionMissing { .. } => refused("payload-not-full"),
        PublishError::Write(error) => classify_write(error),
        PublishError::Store(error) => classify_store(error),
        PublishError::Objects(error) => classify_objects(error),
    }
}

fn classify_drive(error: &DriveError) -> (StatusCode, &'static str) {
    match error {
        DriveError::NoBuild { .. } => (StatusCode::NOT_FOUND, "no-build"),
        DriveError::None { .. } => (StatusCode::NOT_FOUND, "no-rollout"),
        DriveError::NotAllowed { .. } => (StatusCode::CONFLICT, "channel-not-allowed"),
        DriveError::Older { .. } => (StatusCode::CONFLICT, "older-build"),
        DriveError::Halted(_) => (StatusCode::CONFLICT, "halted"),
        DriveError::Two { .. } => (StatusCode::CONFLICT, "two-rollouts"),
        DriveError::Begun { .. } => (StatusCode::CONFLICT, "begun"),
        DriveError::Stage { .. } => (StatusCode::CONFLICT, "rollout-state"),
        DriveError::Document(_) => (StatusCode::UNPROCESSABLE_ENTITY, "rollout"),
        DriveError::Write(error) => classify_write(error),
        DriveError::Store(error) => classify_store(error),
    }
}

fn classify_write(error: &WriteError) -> (StatusCode, &'static str) {
    match error {
        WriteError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        WriteError::Keys(_) => (StatusCode::SERVICE_UNAVAILABLE, "untrusted-keys"),
        WriteError::Store(error) => classify_store(error),
        WriteError::Objects(error) => classify_objects(error),
        WriteError::Held(_) => (StatusCode::INTERNAL_SERVER_ERROR, "stored-metadata"),
        WriteError::Sign { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "online-signature"),
        WriteError::Json { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "document"),
    }
}

fn classify_store(error: &StoreError) -> (StatusCode, &'static str) {
    match error {
        StoreError::Fenced => (StatusCode::SERVICE_UNAVAILABLE, "fenced"),
        StoreError::Crowded(_) => (StatusCode::TOO_MANY_REQUESTS, "crowded"),
        full if full.is_full() => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
        StoreError::Database { .. } => (StatusCode::SERVICE_UNAVAILABLE, "database"),
        StoreError::Value { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "stored-value"),
    }
}

fn classify_objects(error: &ObjectError) -> (StatusCode, &'static str) {
    match error {
        full if full.is_full() => (StatusCode::INSUFFICIENT_STORAGE, "disk-full"),
        ObjectError::Missing(_) => (StatusCode::NOT_FOUND, "not-found"),
        ObjectError::Hash { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "hash-mismatch"),
        ObjectError::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
        ObjectError::Receive { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
            (StatusCode::REQUEST_TIMEOUT, "slow")
        }
        ObjectError::Receive { .. } => (StatusCode::BAD_REQUEST, "incomplete"),
        ObjectError::Open { .. } | ObjectError::Store { .. } => (StatusCode::SERVICE_UNAVAILABLE, "objects"),
    }
}

/// What to do about it, and what caused it when the cause is the sender's to mend.
fn detail(error: &ApiError) -> Option<String> {
    let (status, kind) = classify(error);
    let advice = match kind {
        "no-token" | "wrong-token" => {
            "Send `Authorization: Bearer …` with the text of publish.token in the server's data directory."
        }
        "disk-full" => "The server's disk is full. Nothing was lost; make room and send it again.",
        "little-room" => "Make room: on a full disk changes are refused and signatures cannot be renewed.",
        "empty-repository" => "Begin it with `millet repo init`.",
        "crowded" => "Send it again later.",
        "not-uploaded" => "Upload the file to /api/v1/blobs/{sha256}, then publish again.",
        "version-not-next" => "Fetch what is current and sign the version after it.",
        "online-key" => "Take the keys from /api/v1/online-keys of this server and sign again.",
        "build-taken" => "A build never changes: give the new one another name.",
        "sequence-not-growing" | "sequence-taken" => {
            "Devices only go up: give the build a higher sequence (`--sequence`)."
        }
        "untrusted-keys" => TRUST_ADVICE,
        "two-rollouts" => "Name the build: `--build`.",
        "halted" => "Publish a corrected build and start that.",
        "channel-not-allowed" => "Promote the build with `millet promote`.",
        _ => "",
    };
    let cause = std::error::Error::source(error)
        .filter(|_| status.is_client_error())
        .map(chain);
    match (advice, cause) {
        ("", None) => None,
        ("", Some(cause)) => Some(cause),
        (advice, None) => Some(advice.to_owned()),
        (advice, Some(cause)) => Some(format!("{advice} ({cause})")),
    }
}
