//! The update machine: a state and an event in, a state and its effect out. It reads no clock, no disk and no network.
//!
//! [`Machine`] says what to do next; [`policy`] says whether a build may be taken at all; [`wave`] says when it is this
//! device's turn; [`bootloader_control`] is the block in which bootloader and system agree on slots.

pub mod bootloader_control;
mod journal;
mod machine;
pub mod policy;
mod resume;
mod update;
pub mod wave;

pub use journal::{Confirmed, Draft, FailedBuild, Journal, State};
pub use machine::{Boot, Effect, Event, Machine};
pub use update::{Identity, Payload, Plan, Progress, Source, Update};
