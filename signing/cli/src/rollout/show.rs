use jiff::Timestamp;
use jiff::tz::TimeZone;
use millet_protocol::api::{RolloutStage, RolloutStatus};
use millet_protocol::{RampPoint, RolloutState};

use crate::output;

/// A rollout for people, in their time.
pub fn table(status: &RolloutStatus, zone: &TimeZone) -> String {
    let mut table = output::columns();
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row(
        "rollout",
        format!("{} on {} of {}", status.build, status.channel, status.model),
    );
    row("stage", stage(&status.stage));
    if let Some(reason) = status
        .document
        .as_ref()
        .and_then(|document| document.reason.clone())
    {
        row("reason", reason);
    }
    if let Some(waiting) = &status.waiting_for {
        row("waits for", waiting.clone());
    }
    let points = status.document.iter().flat_map(|document| &document.ramp);
    row(
        "ramp",
        lines(points.map(|at| point(at, zone)), "nothing cleared yet"),
    );
    if let Some(next) = &status.next {
        row(
            "then",
            format!("{}, if the evidence allows it", point(next, zone)),
        );
    }
    let outcomes = status
        .outcomes
        .iter()
        .map(|(outcome, devices)| format!("{devices} {outcome}"));
    row("devices", lines(outcomes, "no reports yet"));
    output::table(&table)
}

/// The command that makes sense next.
pub fn next(status: &RolloutStatus) -> String {
    let verb = match status.stage {
        RolloutStage::Approved => "status",
        RolloutStage::Open(RolloutState::Running) => "status (or pause, halt)",
        RolloutStage::Open(RolloutState::Paused) => "resume (or halt)",
        RolloutStage::Open(RolloutState::Halted) => "start, with a better build",
        RolloutStage::Open(RolloutState::Complete) => {
            return "millet publish, next week".to_owned();
        }
    };
    let (word, rest) = verb.split_once(' ').unwrap_or((verb, ""));
    let word = word.trim_end_matches(',');
    format!(
        "millet rollout {word} --model {} --channel {} {rest}",
        status.model, status.channel
    )
    .trim_end()
    .to_owned()
}

fn stage(stage: &RolloutStage) -> String {
    match stage {
        RolloutStage::Approved => "approved; devices do not see it yet".to_owned(),
        RolloutStage::Open(state) => state.to_string(),
    }
}

fn point(point: &RampPoint, zone: &TimeZone) -> String {
    format!("{} % at {}", percent(point.percent), local(point.at, zone))
}

/// Two decimals at most: a fleet of ten thousand has no finer share.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 {
        return "under 0.01".to_owned();
    }
    let text = format!("{share:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone())
        .strftime("%a %Y-%m-%d %H:%M %Z")
        .to_string()
}

fn lines(items: impl Iterator<Item = String>, none: &str) -> String {
    let text = items.collect::<Vec<_>>().join("\n");
    if text.is_empty() { none.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millet_protocol::{FORMAT, Outcome, RolloutDocument, Sequence};

    use super::*;

    fn status(stage: RolloutStage) -> RolloutStatus {
        let at = |text: &str, percent| RampPoint {
            at: text.parse().unwrap(),
            percent,
        };
        RolloutStatus {
            model: "rubik".parse().unwrap(),
            channel: "beta".parse().unwrap(),
            build: "V6.11.20".parse().unwrap(),
            stage,
            waiting_for: Some("the delta V6.11.13 → V6.11.20".into()),
            document: Some(RolloutDocument {
                format: FORMAT,
                model: "rubik".parse().unwrap(),
                channel: "beta".parse().unwrap(),
                build: "V6.11.20".parse().unwrap(),
                sequence: Sequence(202_647_001),
                state: RolloutState::Running,
                reason: Some("too many reboots".into()),
                ramp: vec![at("2026-11-20T12:00:00Z", 0.0), at("2026-11-20T18:00:00Z", 12.5)],
                pilot: None,
                stones: Vec::new(),
                polls_seconds: 600,
            }),
            next: Some(at("2026-11-21T12:00:00Z", 100.0)),
            outcomes: BTreeMap::from([(Outcome::Confirmed, 12), (Outcome::RolledBack, 1)]),
        }
    }

    #[test]
    fn everything_a_person_must_know() {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let shown = table(&status(RolloutStage::Open(RolloutState::Running)), &zone);
        for part in [
            "V6.11.20 on beta of rubik",
            "running",
            "too many reboots",
            "the delta V6.11.13 → V6.11.20",
            "12.5 % at Sat 2026-11-21 02:00 +08",
            "100 % at Sat 2026-11-21 20:00 +08",
            "12 confirmed",
            "1 rolled_back",
        ] {
            assert!(shown.contains(part), "{part:?} in\n{shown}");
        }
    }

    #[test]
    fn shares_are_short() {
        let shares = [0.0, 0.000_44, 0.01, 2.0, 10.0, 12.345, 100.0].map(percent);
        assert_eq!(shares, ["0", "under 0.01", "0.01", "2", "10", "12.35", "100"]);
    }

    #[test]
    fn the_next_command_fits_the_stage() {
        let next = |stage| next(&status(stage));
        assert_eq!(
            next(RolloutStage::Approved),
            "millet rollout status --model rubik --channel beta"
        );
        let paused = next(RolloutStage::Open(RolloutState::Paused));
        assert_eq!(
            paused,
            "millet rollout resume --model rubik --channel beta (or halt)"
        );
        let halted = next(RolloutStage::Open(RolloutState::Halted));
        assert_eq!(
            halted,
            "millet rollout start --model rubik --channel beta with a better build"
        );
    }
}
