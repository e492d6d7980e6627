use std::time::Duration;

use clap::Args;
use millet_agent::output::say;
use millet_agent::{Agent, Device, Pass};

use super::{Exit, report, screen};

/// A server that asks to be left alone is obeyed for so long: a proxy on the way must not silence a device for years.
const LONGEST_OBEYED: Duration = Duration::from_hours(1);

/// Work: look, install, reboot, confirm; for ever, or once.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Do what can be done now, without waiting, and end.
    #[arg(long)]
    once: bool,
}

/// Runs the command.
pub async fn run(device: Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut agent = Agent::open(device.clone(), screen())?;
    if arguments.once {
        return Ok(report(&device, &agent.pass(false).await?));
    }
    let mut said = None;
    loop {
        let (pass, busy) = match agent.pass(false).await {
            Ok(Pass::Rebooting) => return Ok(report(&device, &Pass::Rebooting)),
            Ok(pass) => {
                // Once, not at every poll.
                if said.as_ref() != Some(&pass) {
                    report(&device, &pass);
                    said = Some(pass.clone());
                }
                (Some(pass), Duration::ZERO)
            }
            // The state is what it was: the next pass goes on from there.
            Err(error) => {
                say(&format!("millet-agent: {}", error.chain()));
                (None, error.busy().unwrap_or_default().min(LONGEST_OBEYED))
            }
        };
        let wait = until_next(&device, &agent, pass.as_ref()).max(busy);
        device.edge.sleep(wait).await;
    }
}

/// As often as the rollout asks, a little irregularly, and earlier when this device's turn comes earlier.
fn until_next(device: &Device, agent: &Agent, pass: Option<&Pass>) -> Duration {
    let rollout = agent.look().and_then(|look| look.rollout.as_ref());
    let poll = device
        .config
        .polls
        .every(rollout.map(|rollout| rollout.polls_seconds));
    let mut byte = [0; 1];
    // Without randomness the polls are merely regular.
    let _ = device.edge.fill(&mut byte);
    // Between nine tenths and all of it, so that devices do not march in step.
    let poll = (poll / 10 * 9).saturating_add(poll / 10 * u32::from(byte[0]) / 255);
    let turn = match pass {
        Some(Pass::Waiting(no) | Pass::Settled(no)) => no.until,
        _ => None,
    };
    let until_turn = turn.and_then(|turn| Duration::try_from(turn.duration_since(device.edge.now())).ok());
    until_turn.map_or(poll, |turn| turn.saturating_add(Duration::from_secs(1)).min(poll))
}
