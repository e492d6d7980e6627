use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use jiff::tz::TimeZone;
use millet_protocol::api::{JobState, PublishedFeedback, RolloutStage};
use millet_protocol::{Build, BuildManifest, Channel, EntryId, Model, RolloutState};
use millet_rollout::{Evidence, Hold, standings};

use super::chart::Chart;
use super::words::{Moment, bytes, count, percent};
use crate::State;
use crate::api::ApiError;
use crate::rollouts::{Facts, status_of};
use crate::store::{BuildRow, JobRow, RolloutRow};

/// The page.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub struct Page {
    models: Vec<ModelView>,
    now: Moment,
}

/// One model and the build of its week: the newest that was not taken back everywhere it was offered.
#[derive(Debug)]
struct ModelView {
    model: String,
    build: String,
    train: String,
    week: String,
    released: Moment,
    security_patch: String,
    channels: Vec<String>,
    full_size: String,
    deltas: Vec<DeltaView>,
    notes: Option<Notes>,
    known_issues: Vec<String>,
    rollouts: Vec<RolloutView>,
    entries: Vec<EntryView>,
    votes: String,
    feedback: Vec<FeedbackView>,
    others: Vec<OtherView>,
}

#[derive(Debug)]
struct Notes {
    language: String,
    paragraphs: Vec<String>,
}

#[derive(Debug)]
struct DeltaView {
    from: String,
    text: String,
}

#[derive(Debug)]
struct RolloutView {
    channel: String,
    build: String,
    state: &'static str,
    headline: String,
    detail: Option<String>,
    share: String,
    chart: Option<ChartView>,
    reports: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct ChartView {
    lines: Chart,
    begins: Moment,
    ends: Moment,
}

#[derive(Debug)]
struct EntryView {
    id: String,
    title: String,
    description: String,
    votes: String,
    /// Width of the bar, 0 to 100.
    width: u64,
    leads: bool,
}

#[derive(Debug)]
struct FeedbackView {
    device: String,
    received: Moment,
    entry: Option<String>,
    paragraphs: Vec<String>,
}

#[derive(Debug)]
struct OtherView {
    build: String,
    channels: String,
    released: Moment,
    taken_back: bool,
}

/// Feedback shown on the page; the API has all of it.
const FEEDBACK: u32 = 30;
const OTHERS: usize = 8;

impl Page {
    /// Reads what the page shows.
    pub async fn read(state: &State) -> Result<Self, ApiError> {
        let mut models = Vec::new();
        for model in state.store.models().await? {
            models.extend(ModelView::read(state, &model).await?);
        }
        Ok(Self {
            models,
            now: Moment::new(state.clock.now(), &state.zone),
        })
    }
}

impl ModelView {
    async fn read(state: &State, model: &Model) -> Result<Option<Self>, ApiError> {
        let mut builds = state.store.builds(model).await?;
        builds.retain(|row| row.listed);
        let taken_back = taken_back(&state.store.rollouts(model).await?);
        let standing = builds
            .iter()
            .position(|row| !taken_back.contains(&row.manifest.build));
        if builds.is_empty() {
            return Ok(None);
        }
        let newest = builds.remove(standing.unwrap_or(0));
        let manifest = &newest.manifest;
        let jobs = state.store.jobs_of(model).await?;
        let feedback = state
            .store
            .feedback(model, &manifest.build, None, FEEDBACK)
            .await?;
        let (entries, votes) = entries(manifest, &state.store.votes(model, &manifest.build).await?);
        Ok(Some(Self {
            model: model.to_string(),
            build: manifest.build.to_string(),
            train: manifest.train.to_string(),
            week: week(&manifest.train.to_string()),
            released: Moment::new(manifest.released, &state.zone),
            security_patch: manifest.security_patch.strftime("%-d %B %Y").to_string(),
            channels: manifest.channels.iter().map(Channel::to_string).collect(),
            full_size: bytes(newest.payload_size),
            deltas: deltas(&newest, &jobs),
            notes: notes(manifest),
            known_issues: manifest.known_issues.clone(),
            rollouts: rollouts(state, model).await?,
            entries,
            votes,
            feedback: feedback
                .rows
                .into_iter()
                .map(|one| feedback_view(one, manifest, &state.zone))
                .collect(),
            others: builds
                .iter()
                .take(OTHERS)
                .map(|row| OtherView::of(row, &taken_back, &state.zone))
                .collect(),
        }))
    }
}

/// `2026-W47` as people say it.
fn week(train: &str) -> String {
    match train.split_once("-W") {
        Some((year, week)) => format!("Week {} of {year}", week.trim_start_matches('0')),
        None => train.to_owned(),
    }
}

fn entries(manifest: &BuildManifest, votes: &BTreeMap<EntryId, u64>) -> (Vec<EntryView>, String) {
    let total: u64 = votes.values().sum();
    let standings = standings(&manifest.entries, votes);
    let most = standings.first().map_or(0, |first| first.votes);
    let view = |standing: &millet_rollout::Standing<'_>| EntryView {
        id: standing.entry.id.to_string(),
        title: standing.entry.title.clone(),
        description: standing.entry.description.clone(),
        votes: count(standing.votes, "vote", "votes"),
        width: standing.votes.saturating_mul(100).checked_div(most).unwrap_or(0),
        leads: most > 0 && standing.votes == most,
    };
    (
        standings.iter().map(view).collect(),
        count(total, "vote", "votes"),
    )
}

fn deltas(build: &BuildRow, jobs: &[JobRow]) -> Vec<DeltaView> {
    let towards = jobs.iter().filter(|job| job.key.to == build.manifest.build);
    let view = |job: &JobRow| {
        let text = match (job.state, job.finished) {
            (JobState::Done, Some(delta)) => {
                let share = delta.size as f64 / build.payload_size.max(1) as f64 * 100.0;
                format!("{}, {} of that", bytes(delta.size), percent(share))
            }
            (JobState::Failed, _) => "no delta".to_owned(),
            _ => "being made".to_owned(),
        };
        DeltaView {
            from: job.key.from.to_string(),
            text,
        }
    };
    towards.map(view).collect()
}

/// English if there is any, since the page is English; else the first language.
fn notes(manifest: &BuildManifest) -> Option<Notes> {
    let english = manifest
        .notes
        .iter()
        .find(|(language, _)| language.split('-').next() == Some("en"));
    let (language, text) = english.or_else(|| manifest.notes.iter().next())?;
    Some(Notes {
        language: language.clone(),
        paragraphs: paragraphs(text),
    })
}

fn paragraphs(text: &str) -> Vec<String> {
    text.split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

fn feedback_view(one: PublishedFeedback, manifest: &BuildManifest, zone: &TimeZone) -> FeedbackView {
    let title = |id| {
        manifest
            .entries
            .iter()
            .find(|entry| entry.id == id)
            .map(|entry| entry.title.clone())
    };
    FeedbackView {
        device: one.device,
        received: Moment::new(one.received, zone),
        entry: one.entry.and_then(title),
        paragraphs: paragraphs(&one.text),
    }
}

impl OtherView {
    fn of(row: &BuildRow, taken_back: &BTreeSet<Build>, zone: &TimeZone) -> Self {
        let channels: Vec<&str> = row.manifest.channels.iter().map(Channel::as_str).collect();
        Self {
            build: row.manifest.build.to_string(),
            channels: channels.join(", "),
            released: Moment::new(row.manifest.released, zone),
            taken_back: taken_back.contains(&row.manifest.build),
        }
    }
}

/// The builds of which every rollout was halted.
fn taken_back(rollouts: &[RolloutRow]) -> BTreeSet<Build> {
    let halted = |row: &&RolloutRow| row.stage == RolloutStage::Open(RolloutState::Halted);
    let (halted, standing): (Vec<_>, Vec<_>) = rollouts.iter().partition(halted);
    let standing: BTreeSet<_> = standing.into_iter().map(|row| &row.build).collect();
    let halted = halted.into_iter().map(|row| &row.build);
    halted
        .filter(|build| !standing.contains(build))
        .cloned()
        .collect()
}

/// For each channel the rollout that was asked for last.
async fn rollouts(state: &State, model: &Model) -> Result<Vec<RolloutView>, ApiError> {
    let mut views: Vec<RolloutView> = Vec::new();
    for row in state.store.rollouts(model).await? {
        if !views.iter().any(|view| view.channel == row.channel.as_str()) {
            views.push(rollout(state, &row).await?);
        }
    }
    Ok(views)
}

async fn rollout(state: &State, row: &RolloutRow) -> Result<RolloutView, ApiError> {
    let now = state.clock.now();
    let facts = status_of(&state.store, row, now).await?;
    let zone = &state.zone;
    let (headline, detail) = sentences(row, &facts, zone);
    let chart = Chart::draw(&row.ramp, &facts.forecast, now).map(|lines| ChartView {
        begins: Moment::new(lines.begins, zone),
        ends: Moment::new(lines.ends, zone),
        lines,
    });
    Ok(RolloutView {
        channel: row.channel.to_string(),
        build: row.build.to_string(),
        state: match row.stage {
            RolloutStage::Approved => "preparing",
            RolloutStage::Open(RolloutState::Running) => "running",
            RolloutStage::Open(RolloutState::Paused) => "paused",
            RolloutStage::Open(RolloutState::Halted) => "halted",
            RolloutStage::Open(RolloutState::Complete) => "complete",
        },
        headline,
        detail,
        share: percent(facts.share),
        chart,
        reports: reports(&facts.evidence),
    })
}

fn sentences(row: &RolloutRow, facts: &Facts, zone: &TimeZone) -> (String, Option<String>) {
    let share = percent(facts.share);
    match row.stage {
        RolloutStage::Approved => {
            let waiting = facts
                .waiting_for
                .as_ref()
                .map(|what| format!("It opens as soon as {what} is ready."));
            ("Nobody yet".to_owned(), waiting)
        }
        RolloutStage::Open(RolloutState::Running) => match (facts.hold, facts.forecast.first()) {
            (Some(Hold::Everyone), _) | (_, None) if facts.share >= 100.0 => {
                ("Open to every device".to_owned(), None)
            }
            (Some(Hold::Climbing { until }), _) => {
                let reached = percent(row.ramp.last().map_or(0.0, |last| last.percent));
                let at = Moment::new(until, zone).near;
                (
                    format!("Open to {share} of devices"),
                    Some(format!("Rising to {reached} by {at}.")),
                )
            }
            (Some(hold), _) => (format!("Held at {share} of devices"), Some(format!("{hold}."))),
            _ => (format!("Open to {share} of devices"), None),
        },
        RolloutStage::Open(RolloutState::Paused) => {
            (format!("Paused at {share} of devices"), row.reason.clone())
        }
        RolloutStage::Open(RolloutState::Halted) => (
            "Halted".to_owned(),
            Some(match &row.reason {
                Some(reason) => {
                    let reason = reason.trim_end_matches('.');
                    format!("{reason}. Devices that have not confirmed it stay on the build they had.")
                }
                None => "Devices that have not confirmed it stay on the build they had.".to_owned(),
            }),
        ),
        RolloutStage::Open(RolloutState::Complete) => ("Open to every device".to_owned(), None),
    }
}

fn reports(evidence: &Evidence) -> Vec<(&'static str, String)> {
    [
        ("confirmed", "run it well", evidence.confirmed),
        ("trying", "rebooting into it", evidence.trying),
        ("back", "went back", evidence.rolled_back),
        ("failed", "could not install it", evidence.failed),
    ]
    .into_iter()
    .filter(|(_, _, devices)| *devices > 0)
    .map(|(class, words, devices)| (class, format!("{} {words}", count(devices, "device", "devices"))))
    .collect()
}
