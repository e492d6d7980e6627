use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use millet_agent::Device;
use millet_agent::output::{print, print_json};
use millet_agent::repository::{Keep, Look};
use millet_machine::policy::{Decision, No, Reason, decide};
use millet_machine::{Payload, Source};
use millet_protocol::{Build, PayloadKind};
use serde::Serialize;

use super::under_way::{needs_reboot, outlook};
use super::{Exit, sentence};

/// Ask the repository whether a build waits for this device. Changes nothing.
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
    available: bool,
    due: bool,
    reason: String,
    at: Option<Timestamp>,
    payload: Option<PayloadKind>,
    bytes: Option<u64>,
    clock_trusted: bool,
}

/// Runs the command.
pub async fn run(device: &Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    // Said here too, so that nobody waits for a build that could not be tried.
    device.config.check_programs()?;
    let mut knowledge = device.knowledge()?;
    let mut look = device.repository.look(Keep::No).await.context("cannot check")?;
    device.repository.has_model(&look)?;
    let slot = knowledge.boot.running;
    if knowledge.running().is_none() {
        let identity = device.identify(&look, slot, Keep::No).await?;
        knowledge.journal.set_slot(slot, identity);
    }
    device.repository.fit(&mut look, knowledge.running_build());
    let decision = match look.offer(device.edge.now()) {
        Some((offer, now)) => decide(&knowledge.facts(&device.config), &offer, now, false),
        None => Decision::No(No {
            reason: Reason::NothingOffered,
            until: None,
        }),
    };
    let mut answer = answer(device, &look, knowledge.running_build(), &decision);
    if let Some(words) = outlook(device, &knowledge, &look) {
        answer.reason = words;
        (answer.payload, answer.bytes) = (None, None);
    }
    if arguments.json {
        print_json(&answer)?;
    } else {
        show(&answer)?;
    }
    if needs_reboot(&knowledge.journal.state) {
        return Ok(Exit::Reboot);
    }
    Ok(if answer.available {
        Exit::Available
    } else {
        Exit::Done
    })
}

fn answer(device: &Device, look: &Look, running: Option<&Build>, decision: &Decision) -> Answer {
    let rollout = look.rollout.as_ref();
    let payload = match decision {
        Decision::Take(plan) => match &plan.source {
            Source::Payload(payload) => Some(payload),
            Source::OtherSlot => None,
        },
        Decision::No(_) => None,
    };
    let length = |payload: &Payload| look.set.target(&payload.path).map(|file| file.length);
    let (available, due, reason, at) = match decision {
        Decision::Take(plan) => (
            true,
            true,
            format!("{} is ready for this device", plan.identity.build),
            None,
        ),
        Decision::No(no) => (no.reason.is_available(), false, sentence(device, no), no.until),
    };
    Answer {
        running: running.cloned(),
        offered: rollout.map(|rollout| rollout.build.clone()),
        available,
        due,
        reason,
        at,
        payload: payload.map(|payload| payload.kind),
        bytes: payload.and_then(length),
        clock_trusted: look.trusts(device.edge.now()),
    }
}

fn show(answer: &Answer) -> anyhow::Result<()> {
    print(&answer.reason)?;
    if let (Some(kind), Some(bytes)) = (answer.payload, answer.bytes) {
        print(&format!(
            "it comes as a {kind} payload of {bytes} bytes; next: millet-agent install"
        ))?;
    }
    if !answer.clock_trusted {
        print("this device's clock is behind what is certainly past, so it was not believed")?;
    }
    Ok(())
}
