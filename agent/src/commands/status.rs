use clap::Args;
use jiff::Timestamp;
use millet_agent::Device;
use millet_agent::output::{print, print_json};
use millet_machine::wave::moment;
use millet_machine::{FailedBuild, Progress, State};
use millet_protocol::{Build, Channel, Model, PayloadKind, Sequence, Slot};
use serde::Serialize;

use super::Exit;
use super::under_way::{needs_reboot, stage, under_way};

/// What this device runs and does.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    model: Model,
    channel: Channel,
    slot: Slot,
    running: Option<Build>,
    sequence: Option<Sequence>,
    good: bool,
    confirmed_at: Option<Timestamp>,
    other_slot: Option<Build>,
    other_bootable: bool,
    /// What the agent does now, or did last, which may have been before this boot.
    phase: Option<String>,
    update: Option<UpdateAnswer>,
    #[serde(skip)]
    under_way: Option<String>,
    failed: Option<FailedBuild>,
    floor: Option<Sequence>,
    data_epoch: Option<u32>,
    last_look: Option<Timestamp>,
    reports_waiting: usize,
}

#[derive(Debug, Serialize)]
struct UpdateAnswer {
    build: Build,
    target: Slot,
    /// Where it stands in this boot.
    stage: &'static str,
    payload: Option<PayloadKind>,
    progress: Option<Progress>,
}

/// Runs the command.
pub fn run(device: &Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    let knowledge = device.knowledge()?;
    let (journal, boot) = (&knowledge.journal, knowledge.boot);
    let progress = match &journal.state {
        State::Preparing { progress, .. } | State::Writing { progress, .. } => Some(*progress),
        _ => None,
    };
    let answer = Answer {
        model: device.config.model.clone(),
        channel: device.config.channel.clone(),
        slot: boot.running,
        running: knowledge.running_build().cloned(),
        sequence: knowledge.running().map(|identity| identity.sequence),
        good: boot.good,
        confirmed_at: journal.confirmed_at(boot.running),
        other_slot: journal
            .slot(boot.running.other())
            .map(|identity| identity.build.clone()),
        other_bootable: boot.other_bootable,
        phase: device.state.phase(),
        update: journal.state.update().map(|update| UpdateAnswer {
            build: update.identity.build.clone(),
            target: update.target,
            stage: stage(&journal.state),
            payload: update.payload_kind(),
            progress,
        }),
        under_way: under_way(&journal.state),
        failed: journal.failed.clone(),
        floor: knowledge.kept.sequence,
        data_epoch: knowledge.kept.data_epoch,
        last_look: device.state.last_look()?.at,
        reports_waiting: journal.outbox.len(),
    };
    if arguments.json {
        print_json(&answer)?;
    } else {
        show(device, &answer)?;
    }
    Ok(if needs_reboot(&journal.state) {
        Exit::Reboot
    } else {
        Exit::Done
    })
}

fn show(device: &Device, answer: &Answer) -> anyhow::Result<()> {
    let zone = device.edge.zone();
    let name = |build: &Option<Build>| {
        build
            .as_ref()
            .map_or_else(|| "an unknown build".to_owned(), ToString::to_string)
    };
    print(&format!(
        "{} on {}: {} in slot {}",
        answer.model,
        answer.channel,
        name(&answer.running),
        answer.slot
    ))?;
    match (answer.good, answer.confirmed_at) {
        (true, Some(at)) => print(&format!("confirmed on {}", moment(at, &zone)))?,
        (true, None) => print("marked good")?,
        (false, _) => print("not confirmed yet")?,
    }
    let bootable = if answer.other_bootable {
        "bootable"
    } else {
        "not bootable"
    };
    print(&format!(
        "slot {}: {}, {bootable}",
        answer.slot.other(),
        name(&answer.other_slot)
    ))?;
    if let Some(words) = &answer.under_way {
        print(words)?;
    }
    if let Some(failed) = &answer.failed {
        print(&format!("{} is not taken again on this device", failed.build))?;
    }
    match answer.last_look {
        Some(at) => print(&format!("the repository last answered on {}", moment(at, &zone))),
        None => print("the repository has not answered yet; next: millet-agent check"),
    }
}
