use clap::Args;
use millet_agent::{Agent, Device};

use super::{Exit, report, screen};

/// Boot the build in the other slot. It is tried like an update: a bad one comes back.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Runs the command.
pub async fn run(device: Device, _arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut agent = Agent::open(device.clone(), screen())?;
    let pass = agent.roll_back().await?;
    Ok(report(&device, &pass))
}
