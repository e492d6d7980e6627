//! `millet rollout`: offers a build to a channel, and watches what comes of it.

mod show;

use anyhow::bail;
use jiff::tz::TimeZone;
use millet_protocol::api::{ChangeRollout, RolloutStatus, StartRollout};
use millet_protocol::{Build, Channel, Model};

use crate::client::Client;
use crate::config::Config;
use crate::edge::Edge;
use crate::output;
use crate::repository::Repository;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Offers a build to a channel; the server waits for its deltas first.
    Start(Start),
    /// Nothing new starts, what runs finishes.
    Pause(Change),
    /// Goes on after a pause; missed moments are shifted, not made up for.
    Resume(Change),
    /// Stops downloads and takes the build out of slots that have not booted it.
    Halt(Halt),
    /// Shows where a rollout stands.
    Status(Status),
}

#[derive(clap::Args)]
pub struct Place {
    /// The device type.
    #[arg(long)]
    model: Model,
    /// The channel.
    #[arg(long)]
    channel: Channel,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Start {
    #[command(flatten)]
    place: Place,
    /// The build; by default the newest that its signers allow on the channel.
    #[arg(long)]
    build: Option<Build>,
    /// From the first device to the last, such as 24h, 7d, 90m or 0; by default what the channel is used to.
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    over: Option<u64>,
}

#[derive(clap::Args)]
pub struct Change {
    #[command(flatten)]
    place: Place,
    /// The build whose rollout is meant; needed when one is with devices and another waits.
    #[arg(long)]
    build: Option<Build>,
    /// Why, in words that devices show to their owners.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(clap::Args)]
pub struct Halt {
    #[command(flatten)]
    change: Change,
    /// Halts without asking.
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct Status {
    #[command(flatten)]
    place: Place,
}

pub fn run(command: &Command, config: &Config, edge: &Edge) -> anyhow::Result<()> {
    let client = Client::new(config)?;
    match command {
        Command::Start(args) => start(args, config, &client, edge),
        Command::Pause(args) => change(args, "pause", config, &client),
        Command::Resume(args) => change(args, "resume", config, &client),
        Command::Halt(args) => halt(args, config, &client),
        Command::Status(args) => {
            let status: RolloutStatus = client.get(&args.place.path())?;
            report(&args.place, &status, &config.time_zone)
        }
    }
}

/// Names the commands that offer a build where it is allowed now.
pub fn say_how_to_start(models: &[Model], channels: &[Channel], build: &Build) {
    for model in models {
        for channel in channels {
            output::next(&format!(
                "millet rollout start --model {model} --channel {channel} --build {build}"
            ));
        }
    }
}

fn start(args: &Start, config: &Config, client: &Client, edge: &Edge) -> anyhow::Result<()> {
    let Place { model, channel, .. } = &args.place;
    let repository = Repository::refresh(config, client, edge, [model])?;
    let manifest = match &args.build {
        Some(build) => repository.build(model, build)?,
        None => repository.newest(model, channel)?,
    };
    if !manifest.channels.contains(channel) {
        bail!(
            "the signers of {} do not allow it on {channel}: millet promote --model {model} --build {0} --channel {channel}",
            manifest.build
        );
    }
    let message = StartRollout {
        build: manifest.build,
        over_seconds: args.over,
        polls_seconds: None,
    };
    let status: RolloutStatus = client.post(&args.place.path(), &message)?;
    report(&args.place, &status, &config.time_zone)
}

fn halt(args: &Halt, config: &Config, client: &Client) -> anyhow::Result<()> {
    let Place { model, channel, .. } = &args.change.place;
    let build = args.change.build.as_ref();
    let whose = build.map_or_else(String::new, |build| format!("{build} to "));
    let question = format!(
        "Halt the rollout of {whose}{model} on {channel}? Downloads stop, staged slots are taken back, and it cannot be \
         started again."
    );
    output::confirm(&question, args.yes)?;
    change(&args.change, "halt", config, client)
}

fn change(args: &Change, verb: &str, config: &Config, client: &Client) -> anyhow::Result<()> {
    let message = ChangeRollout {
        build: args.build.clone(),
        reason: args.reason.clone(),
    };
    let status: RolloutStatus = client.post(&format!("{}/{verb}", args.place.path()), &message)?;
    report(&args.place, &status, &config.time_zone)
}

fn report(place: &Place, status: &RolloutStatus, zone: &TimeZone) -> anyhow::Result<()> {
    if place.json {
        output::print_json(status)?;
    } else {
        output::print(&show::table(status, zone))?;
    }
    output::next(&show::next(status));
    Ok(())
}

impl Place {
    fn path(&self) -> String {
        format!("/api/v1/models/{}/channels/{}/rollout", self.model, self.channel)
    }
}

/// Reads a whole number of seconds, minutes, hours, days or weeks; `0` needs no unit.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let form = || format!("{text:?} is not a time such as 24h, 7d, 90m, 30s or 0");
    if text == "0" {
        return Ok(0);
    }
    let unit = text.chars().last().ok_or_else(form)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(form()),
    };
    let count = text.strip_suffix(unit).ok_or_else(form)?;
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form());
    }
    count
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(seconds))
        .ok_or_else(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("0", 0),
            ("24h", 86_400),
            ("7d", 604_800),
            ("90m", 5_400),
            ("30s", 30),
            ("1w", 604_800),
        ] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        for refused in [
            "",
            "h",
            "24",
            "-1h",
            "+1h",
            "1.5h",
            "1y",
            "24 h",
            "99999999999999999999d",
        ] {
            assert!(parse_seconds(refused).is_err(), "{refused}");
        }
    }
}
