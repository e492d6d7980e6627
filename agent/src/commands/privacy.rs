use clap::{Args, Subcommand};
use millet_agent::Device;
use millet_agent::output::{print, print_json};
use millet_agent::reports::{Field, LEDGER, Privacy, Sent};
use millet_machine::Draft;
use millet_machine::wave::moment;
use millet_protocol::{Outcome, PayloadKind};
use serde::Serialize;

use super::Exit;

/// See and choose what this device tells.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What is on, and the exact bytes that would be sent.
    Show,
    /// Turn fields on: reports, from, error, payload, duration.
    On {
        /// The fields.
        #[arg(required = true)]
        fields: Vec<Field>,
    },
    /// Turn fields off; all of them when none is named.
    Off {
        /// The fields.
        fields: Vec<Field>,
    },
    /// What was sent, oldest first.
    Ledger,
}

#[derive(Debug, Serialize)]
struct Answer {
    fields: Privacy,
    /// The exact bytes of the next reports, or of an example when none waits.
    would_send: Vec<String>,
    example: bool,
}

/// Runs the command.
pub fn run(device: &Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    match &arguments.action {
        None | Some(Action::Show) => show(device, arguments.json)?,
        Some(Action::On { fields }) => turn(device, fields, true, arguments.json)?,
        Some(Action::Off { fields }) if fields.is_empty() => {
            turn(device, &Field::ALL, false, arguments.json)?;
        }
        Some(Action::Off { fields }) => turn(device, fields, false, arguments.json)?,
        Some(Action::Ledger) => ledger(device, arguments.json)?,
    }
    Ok(Exit::Done)
}

fn turn(device: &Device, fields: &[Field], on: bool, json: bool) -> anyhow::Result<()> {
    let mut privacy = Privacy::read(&device.state)?;
    for field in fields {
        privacy.set(*field, on);
    }
    privacy.save(&device.state)?;
    show(device, json)
}

fn show(device: &Device, json: bool) -> anyhow::Result<()> {
    let privacy = Privacy::read(&device.state)?;
    let knowledge = device.knowledge()?;
    let mut drafts = knowledge.journal.outbox.clone();
    let example = drafts.is_empty();
    if let Some(identity) = knowledge.running().filter(|_| example) {
        drafts.push(Draft {
            outcome: Outcome::Confirmed,
            to: identity.build.clone(),
            from: Some(identity.build.clone()),
            error: None,
            payload: Some(PayloadKind::Delta),
            install_seconds: Some(90),
        });
    }
    let secret = device.state.secret("secret", &*device.edge)?;
    let report = |draft: &Draft| privacy.report(draft, &device.config.model, &device.config.channel, &secret);
    let would_send = drafts
        .iter()
        .filter_map(report)
        .map(|report| serde_json::to_string(&report))
        .collect::<Result<Vec<_>, _>>()?;
    if json {
        return print_json(&Answer {
            fields: privacy,
            would_send,
            example,
        });
    }
    for field in Field::ALL {
        let state = if privacy.is_on(field) { "on" } else { "off" };
        print(&format!("{state:>3} {field:<8} {}", field.meaning()))?;
    }
    match (would_send.is_empty(), example) {
        (true, _) => print("nothing is sent")?,
        (false, true) => print("a report would be, for example, exactly:")?,
        (false, false) => print("these reports wait, exactly:")?,
    }
    for body in would_send {
        print(&body)?;
    }
    Ok(())
}

fn ledger(device: &Device, json: bool) -> anyhow::Result<()> {
    let lines = device.state.lines(LEDGER)?;
    // A line that a loss of power tore is no reason to hide the others.
    let sent: Vec<Sent> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    if json {
        return print_json(&sent);
    }
    let zone = device.edge.zone();
    for sent in &sent {
        print(&format!(
            "{} to {}\n{}",
            moment(sent.at, &zone),
            sent.to,
            sent.body
        ))?;
    }
    if sent.is_empty() {
        print("nothing was ever sent")?;
    }
    Ok(())
}
