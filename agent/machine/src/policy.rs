//! May this build be taken, now, here? Answers from facts that are handed in; a "no" is a value with its reason and,
//! where one is known, the moment at which to ask again.

mod reason;

use jiff::{SignedDuration, Timestamp};
use millet_protocol::{
    Build, BuildManifest, Channel, Model, PayloadKind, RolloutDocument, RolloutState, Sequence, Sha256Digest,
};

use crate::wave::{Position, SEED, Turn};
use crate::{FailedBuild, Identity, Payload, Plan, Source, Update};

pub use reason::{No, Reason};

/// How old a look at the rollout may be when something is begun, made active or rebooted into.
pub const FRESH: SignedDuration = SignedDuration::from_hours(2);

/// What is known of the device.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// Its type.
    pub model: &'a Model,
    /// The channel it follows.
    pub channel: &'a Channel,
    /// What it runs; none when nothing signed has these bytes.
    pub running: Option<&'a Identity>,
    /// Whether the running slot is marked good.
    pub good: bool,
    /// What it never goes below.
    pub floors: Floors,
    /// The build that failed here last.
    pub failed: Option<&'a FailedBuild>,
    /// A build whose delta failed here.
    pub full_only: Option<&'a Build>,
    /// Its secret seed.
    pub seed: &'a [u8; SEED],
}

/// What a device never goes below, from the builds confirmed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floors {
    /// The highest floor.
    pub sequence: Option<Sequence>,
    /// The highest data epoch.
    pub data_epoch: Option<u32>,
}

/// What signed metadata offers.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The rollout of the device's channel.
    pub rollout: &'a RolloutDocument,
    /// The manifest of the build on offer and those of its stepping stones.
    pub builds: &'a [OfferedBuild],
    /// When the repository was last asked and answered.
    pub looked_at: Timestamp,
}

/// A build with what makes it here.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedBuild {
    /// Its manifest.
    pub manifest: BuildManifest,
    /// SHA-256 of the manifest document.
    pub sha256: Sha256Digest,
    /// The delta from the running build, where the repository has one.
    pub delta: Option<Payload>,
}

/// Take it, or not.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Begin.
    Take(Plan),
    /// Not this, or not now.
    No(No),
}

/// What to do with an update under way.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// Go on.
    Go,
    /// Neither on nor back: ask again later.
    Hold(No),
    /// Give it up.
    Halt(No),
    /// Give it up for another.
    Replace(Plan),
}

/// Whether to begin what is offered. `skip_wave` is the owner's wish not to wait; nothing else gives way to it.
pub fn decide(device: &Device<'_>, offer: &Offer<'_>, now: Timestamp, skip_wave: bool) -> Decision {
    match choose(device, offer, now, skip_wave) {
        Ok(plan) => Decision::Take(plan),
        Err(no) => Decision::No(no),
    }
}

/// Whether to go on with an update that came over the network.
pub fn look(update: &Update, device: &Device<'_>, offer: &Offer<'_>, now: Timestamp) -> Look {
    if let Err(no) = fresh(offer, now) {
        return Look::Hold(no);
    }
    let offered = offer
        .builds
        .iter()
        .find(|offered| offered.manifest.build == update.identity.build);
    let allowed = match offered {
        Some(offered) if offered.sha256 == update.identity.manifest => Ok(()),
        // Promoted while it was under way: the same bytes under a newer signature.
        Some(offered) if offered.manifest.partitions == update.identity.partitions => {
            acceptable(device, &offered.manifest)
        }
        _ => Err(no(Reason::Superseded {
            build: update.identity.build.clone(),
            by: offer.rollout.build.clone(),
        })),
    };
    match (offer.rollout.state, allowed) {
        (RolloutState::Halted, _) => Look::Halt(halted(offer.rollout)),
        (RolloutState::Running | RolloutState::Paused | RolloutState::Complete, Ok(())) => Look::Go,
        (_, Err(superseded)) => match choose(device, offer, now, false) {
            Ok(plan) => Look::Replace(plan),
            Err(_) => Look::Halt(superseded),
        },
    }
}

/// Whether the owner may go back to what the other slot holds.
pub fn may_return_to(identity: &Identity, floors: Floors) -> Result<(), No> {
    above_floors(identity.sequence, identity.data_epoch, floors)
}

fn choose(device: &Device<'_>, offer: &Offer<'_>, now: Timestamp, skip_wave: bool) -> Result<Plan, No> {
    let rollout = offer.rollout;
    if rollout.model != *device.model || rollout.channel != *device.channel {
        return Err(contradiction(format!(
            "its rollout is for {} {}, not {} {}",
            rollout.model, rollout.channel, device.model, device.channel
        )));
    }
    let find = |build: &Build| {
        offer
            .builds
            .iter()
            .find(|offered| offered.manifest.build == *build)
    };
    let Some(offered) = find(&rollout.build) else {
        return Err(contradiction(format!(
            "it offers {} and has no manifest of it",
            rollout.build
        )));
    };
    if offered.manifest.sequence != rollout.sequence {
        return Err(contradiction(format!(
            "{} has sequence {} in its manifest and {} in its rollout",
            rollout.build, offered.manifest.sequence, rollout.sequence
        )));
    }
    allowed(device, &offered.manifest)?;
    if let Some(running) = device.running {
        above_running(running, &offered.manifest)?;
    }
    if rollout.state == RolloutState::Halted {
        return Err(halted(rollout));
    }
    let stones = rollout.stones.iter().filter_map(find);
    let step = next_step(device, offered, stones)?;
    acceptable(device, &step.manifest)?;
    if let Some(failed) = device.failed.filter(|failed| failed.build == step.manifest.build) {
        return Err(no(Reason::Failed(failed.clone())));
    }
    if !device.good {
        return Err(no(Reason::RunningNotGood));
    }
    fresh(offer, now)?;
    match rollout.state {
        RolloutState::Paused => {
            return Err(no(Reason::Paused {
                build: rollout.build.clone(),
                reason: rollout.reason.clone(),
            }));
        }
        RolloutState::Running if !skip_wave => my_turn(device, rollout, now)?,
        RolloutState::Running | RolloutState::Complete | RolloutState::Halted => {}
    }
    Ok(Plan {
        identity: Identity::new(&step.manifest, step.sha256),
        source: Source::Payload(payload(device, step)),
        at: now,
    })
}

/// The build on offer, or the lowest stepping stone above what runs when the device is too far behind.
fn next_step<'a>(
    device: &Device<'_>,
    offered: &'a OfferedBuild,
    stones: impl Iterator<Item = &'a OfferedBuild>,
) -> Result<&'a OfferedBuild, No> {
    let running = device.running.map(|running| running.sequence);
    let reachable = |build: &OfferedBuild| match &build.manifest.requires {
        Some(requires) => running.is_some_and(|running| running >= requires.min_sequence),
        None => true,
    };
    if reachable(offered) {
        return Ok(offered);
    }
    let above = |build: &OfferedBuild| {
        running.is_none_or(|running| build.manifest.sequence > running)
            && build.manifest.sequence < offered.manifest.sequence
    };
    stones
        .filter(|build| above(build) && reachable(build))
        .min_by_key(|build| build.manifest.sequence)
        .ok_or_else(|| {
            no(Reason::Requires {
                build: offered.manifest.build.clone(),
                min_sequence: offered
                    .manifest
                    .requires
                    .as_ref()
                    .map_or(offered.manifest.sequence, |requires| requires.min_sequence),
            })
        })
}

fn above_running(running: &Identity, manifest: &BuildManifest) -> Result<(), No> {
    if manifest.sequence > running.sequence {
        return Ok(());
    }
    Err(no(if manifest.sequence == running.sequence {
        Reason::UpToDate(running.build.clone())
    } else {
        Reason::Older {
            offered: manifest.sequence,
            running: running.sequence,
        }
    }))
}

/// What holds for a build whatever the rollout says.
fn acceptable(device: &Device<'_>, manifest: &BuildManifest) -> Result<(), No> {
    if manifest.model != *device.model {
        return Err(contradiction(format!(
            "{} is for {}, not {}",
            manifest.build, manifest.model, device.model
        )));
    }
    allowed(device, manifest)?;
    if let Some(running) = device.running {
        above_running(running, manifest)?;
        above_floors(
            manifest.sequence,
            manifest.data_epoch,
            Floors {
                sequence: None,
                data_epoch: Some(running.data_epoch),
            },
        )?;
    }
    above_floors(manifest.sequence, manifest.data_epoch, device.floors)
}

fn allowed(device: &Device<'_>, manifest: &BuildManifest) -> Result<(), No> {
    if manifest.channels.contains(device.channel) {
        return Ok(());
    }
    Err(no(Reason::ChannelNotAllowed {
        build: manifest.build.clone(),
        channel: device.channel.clone(),
    }))
}

fn above_floors(sequence: Sequence, data_epoch: u32, floors: Floors) -> Result<(), No> {
    if let Some(floor) = floors.sequence.filter(|floor| sequence < *floor) {
        return Err(no(Reason::BelowFloor {
            offered: sequence,
            floor,
        }));
    }
    match floors.data_epoch {
        Some(device) if data_epoch < device => Err(no(Reason::DataEpoch {
            offered: data_epoch,
            device,
        })),
        _ => Ok(()),
    }
}

fn my_turn(device: &Device<'_>, rollout: &RolloutDocument, now: Timestamp) -> Result<(), No> {
    let turn = Turn::new(
        Position::new(device.seed, device.model, &rollout.build),
        &rollout.ramp,
    );
    if turn.is_ready(now) {
        return Ok(());
    }
    Err(No {
        until: turn.ready_at,
        reason: Reason::NotYet {
            build: rollout.build.clone(),
            turn,
        },
    })
}

fn fresh(offer: &Offer<'_>, now: Timestamp) -> Result<(), No> {
    let age = now.duration_since(offer.looked_at);
    // A look from the future means that the clock went back, so its age is unknown.
    if age.is_negative() || age > FRESH {
        return Err(no(Reason::Stale {
            looked_at: offer.looked_at,
        }));
    }
    Ok(())
}

/// The delta where one leads from the running build, unless one failed here already.
fn payload(device: &Device<'_>, step: &OfferedBuild) -> Payload {
    let full = || Identity::new(&step.manifest, step.sha256).full();
    match &step.delta {
        Some(delta)
            if device.running.is_some()
                && delta.kind == PayloadKind::Delta
                && device.full_only != Some(&step.manifest.build) =>
        {
            delta.clone()
        }
        _ => full(),
    }
}

fn halted(rollout: &RolloutDocument) -> No {
    no(Reason::Halted {
        build: rollout.build.clone(),
        reason: rollout.reason.clone(),
    })
}

fn contradiction(what: String) -> No {
    no(Reason::Contradiction(what))
}

fn no(reason: Reason) -> No {
    No { reason, until: None }
}
