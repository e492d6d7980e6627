use clap::Args;
use jiff::Timestamp;
use millet_agent::Device;
use millet_agent::output::{print, print_json};
use millet_agent::repository::Keep;
use millet_machine::policy::{Decision, No, Reason, decide};
use millet_protocol::Build;
use serde::Serialize;

use super::under_way::outlook;
use super::{Exit, sentence};

/// Why this device does or does not get a build, and when.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    running: Option<Build>,
    offered: Option<Build>,
    because: String,
    /// When it is this device's turn, if that is known.
    at: Option<Timestamp>,
    /// Which wave, counted from 1.
    wave: Option<usize>,
    /// The share of devices before this one, 0 to 1.
    position: Option<f64>,
    /// When the repository was asked.
    looked_at: Timestamp,
}

/// Runs the command: from what is known already, or else from a fresh look.
pub async fn run(device: &Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    let knowledge = device.knowledge()?;
    let mut look = match device.repository.look(Keep::No).await {
        Ok(look) => look,
        // Offline, the last look still explains itself, if there was one.
        Err(error) => device.repository.recall().await.map_err(|_| error)?,
    };
    device.repository.has_model(&look)?;
    device.repository.fit(&mut look, knowledge.running_build());
    let decision = match look.offer(device.edge.now()) {
        Some((offer, now)) => decide(&knowledge.facts(&device.config), &offer, now, false),
        None => Decision::No(No {
            reason: Reason::NothingOffered,
            until: None,
        }),
    };
    let turn = match &decision {
        Decision::No(No {
            reason: Reason::NotYet { turn, .. },
            ..
        }) => Some(*turn),
        _ => None,
    };
    let answer = Answer {
        running: knowledge.running_build().cloned(),
        offered: look.rollout.as_ref().map(|rollout| rollout.build.clone()),
        because: match (outlook(device, &knowledge, &look), &decision) {
            (Some(words), _) => words,
            (None, Decision::Take(plan)) => format!(
                "it is this device's turn for {}; next: millet-agent install",
                plan.identity.build
            ),
            (None, Decision::No(no)) => sentence(device, no),
        },
        at: turn.and_then(|turn| turn.ready_at),
        wave: turn.map(|turn| turn.wave),
        position: turn.map(|turn| turn.position.share()),
        looked_at: look.at,
    };
    if arguments.json {
        print_json(&answer)?;
    } else {
        print(&answer.because)?;
    }
    Ok(Exit::Done)
}
