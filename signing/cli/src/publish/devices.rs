//! What devices would do with a build that nobody has published yet, asked of the policy that they run.

use std::collections::BTreeSet;

use jiff::Timestamp;
use millet_machine::Identity;
use millet_machine::policy::{Decision, Device, Floors, Offer, OfferedBuild, decide};
use millet_protocol::{BuildManifest, Channel, FORMAT, RolloutDocument, RolloutState, Sha256Digest};
use serde::Serialize;

/// A device as the build would find it.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The model.
    pub model: String,
    /// The channel that it follows.
    pub channel: String,
    /// The build that it runs; none when its bytes are of no build.
    pub runs: Option<String>,
    /// Whether it would take the build once the rollout has come to it.
    pub takes: bool,
    /// What it would say.
    pub answer: String,
}

/// How many of a channel's newest builds stand for the devices that are behind.
const SHOWN: usize = 6;

/// Asks a device of each channel and build, as if the rollout had come to everyone. `builds` are those that are published,
/// lowest sequence first.
pub fn ask(builds: &[BuildManifest], new: &BuildManifest, now: Timestamp) -> Vec<Answer> {
    let channels: BTreeSet<&Channel> = (builds.iter().chain([new]))
        .flat_map(|build| &build.channels)
        .collect();
    let mut answers = Vec::new();
    for channel in channels {
        let running = builds
            .iter()
            .filter(|build| build.channels.contains(channel))
            .rev();
        for runs in running.take(SHOWN).map(Some).chain([None]) {
            answers.push(answer(channel, runs, new, now));
        }
    }
    answers
}

fn answer(channel: &Channel, runs: Option<&BuildManifest>, new: &BuildManifest, now: Timestamp) -> Answer {
    // What a document's hash is changes no answer here: it only ties an update under way to its manifest.
    let sha256 = Sha256Digest([0; 32]);
    let identity = runs.map(|build| Identity::new(build, sha256));
    let rollout = RolloutDocument {
        format: FORMAT,
        model: new.model.clone(),
        channel: channel.clone(),
        build: new.build.clone(),
        sequence: new.sequence,
        state: RolloutState::Complete,
        reason: None,
        ramp: Vec::new(),
        pilot: None,
        stones: Vec::new(),
        polls_seconds: 600,
    };
    let offered = OfferedBuild {
        manifest: new.clone(),
        sha256,
        delta: None,
    };
    let device = Device {
        model: &new.model,
        channel,
        running: identity.as_ref(),
        good: true,
        floors: Floors {
            sequence: runs.and_then(|build| build.floor),
            data_epoch: runs.map(|build| build.data_epoch),
        },
        failed: None,
        full_only: None,
        seed: &[0; 32],
    };
    let offer = Offer {
        rollout: &rollout,
        builds: &[offered],
        looked_at: now,
    };
    let (takes, answer) = match decide(&device, &offer, now, false) {
        Decision::Take(_) => (true, format!("takes {}", new.build)),
        Decision::No(no) => (false, no.reason.to_string()),
    };
    Answer {
        model: new.model.to_string(),
        channel: channel.to_string(),
        runs: runs.map(|build| build.build.to_string()),
        takes,
        answer,
    }
}

#[cfg(test)]
mod tests {
    use millet_protocol::{Requires, Sequence};

    use super::*;
    use crate::publish::decide::tests::build;

    #[test]
    fn every_channel_answers_for_itself() {
        let builds = [
            build("A", 202_645_001, &["beta", "stable"]),
            build("B", 202_646_001, &["beta"]),
        ];
        let mut new = build("C", 202_647_001, &["beta"]);
        new.requires = Some(Requires {
            min_sequence: Sequence(202_646_001),
        });
        let answers = ask(&builds, &new, Timestamp::UNIX_EPOCH);
        let said = |channel: &str, runs: Option<&str>| {
            let found = answers
                .iter()
                .find(|answer| answer.channel == channel && answer.runs.as_deref() == runs);
            found
                .map(|answer| (answer.takes, answer.answer.as_str()))
                .unwrap()
        };
        assert_eq!(said("beta", Some("B")), (true, "takes C"));
        assert!(
            said("beta", Some("A"))
                .1
                .contains("needs sequence 202646001 first")
        );
        assert!(!said("beta", None).0);
        assert!(
            said("stable", Some("A")).1.contains("do not allow it on stable"),
            "{answers:?}"
        );
    }
}
