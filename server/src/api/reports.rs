use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use millet_protocol::{FORMAT, Report};

use super::ApiError;
use super::json::Body;

/// `POST /reports`: counted once for each device and build. The address it came from is not kept.
pub async fn receive(
    State(state): State<Arc<crate::State>>,
    Body(report): Body<Report>,
) -> Result<StatusCode, ApiError> {
    if report.format != FORMAT {
        return Err(ApiError::Message(format!(
            "report format {} is not {FORMAT}",
            report.format
        )));
    }
    if !is_hex(&report.pseudonym, 64) {
        return Err(ApiError::Message(
            "a pseudonym is 64 lower-case hexadecimal digits".to_owned(),
        ));
    }
    let known = state.store.build(&report.model, &report.to).await?;
    if !known.is_some_and(|row| row.manifest.channels.contains(&report.channel)) {
        let Report {
            to, model, channel, ..
        } = &report;
        return Err(ApiError::Unknown(format!("build {to} of {model} on {channel}")));
    }
    let now = state.clock.now();
    state.store.put_report(&report, &state.bounds, now).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Whether a text is so many lower-case hexadecimal digits: one spelling, since it is compared as text.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
