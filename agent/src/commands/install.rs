use clap::Args;
use millet_agent::{Agent, Device};

use super::{Exit, report, screen};

/// Install what is offered, and reboot.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Do not wait for this device's turn. Nothing else gives way: not a pause, not a floor, not a failed build.
    #[arg(long)]
    now: bool,
}

/// Runs the command.
pub async fn run(device: Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut agent = Agent::open(device.clone(), screen())?;
    let pass = agent.pass(arguments.now).await?;
    Ok(report(&device, &pass))
}
