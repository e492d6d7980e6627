use clap::Args;
use millet_agent::output::print;
use millet_agent::{Device, Error};
use millet_protocol::{Build, EntryId, Feedback, MessageKind};

use super::{Exit, send::send};

/// Say something about a build, signed with this device's key.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Your words.
    text: String,
    /// The build; the one that runs when absent.
    #[arg(long)]
    build: Option<Build>,
    /// The entry of the build that it is about.
    #[arg(long)]
    entry: Option<EntryId>,
    /// Do not ask before sending.
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub async fn run(device: &Device, arguments: &Arguments) -> anyhow::Result<Exit> {
    let running = || -> Result<Build, Error> {
        device
            .knowledge()?
            .running_build()
            .cloned()
            .ok_or_else(|| Error::NotConfirmed {
                what: "this device does not know what it runs; name a build with --build".to_owned(),
            })
    };
    let message = Feedback {
        model: device.config.model.clone(),
        build: match &arguments.build {
            Some(build) => build.clone(),
            None => running()?,
        },
        text: arguments.text.clone(),
        entry: arguments.entry.clone(),
    };
    send(
        device,
        MessageKind::Feedback,
        &message,
        "/api/v1/feedback",
        arguments.yes,
    )
    .await?;
    print(&format!("sent; see it at {}", device.config.server()))?;
    Ok(Exit::Done)
}
