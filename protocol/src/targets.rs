//! TUF target paths and role names of a model.

use crate::{Build, Channel, Model};

/// `<model>/builds/<build>.json`
pub fn manifest(model: &Model, build: &Build) -> String {
    format!("{model}/builds/{build}.json")
}

/// `<model>/builds/<build>.payload`
pub fn full_payload(model: &Model, build: &Build) -> String {
    format!("{model}/builds/{build}.payload")
}

/// `<model>/deltas/<from>-<to>.payload`
pub fn delta_payload(model: &Model, from: &Build, to: &Build) -> String {
    format!("{model}/deltas/{from}-{to}.payload")
}

/// `<model>/rollouts/<channel>.json`
pub fn rollout(model: &Model, channel: &Channel) -> String {
    format!("{model}/rollouts/{channel}.json")
}

/// The delegated role whose offline signers name builds.
pub fn builds_role(model: &Model) -> String {
    format!("builds.{model}")
}

/// The delegated role that names deltas.
pub fn deltas_role(model: &Model) -> String {
    format!("deltas.{model}")
}

/// The delegated role that names rollout documents.
pub fn rollouts_role(model: &Model) -> String {
    format!("rollouts.{model}")
}

/// The model of a delegated role of this kind: of `builds.rubik` it is `rubik`, when `kind` is `builds.`.
pub fn model_of(kind: &str, role: &str) -> Option<Model> {
    role.strip_prefix(kind)?.parse().ok()
}
