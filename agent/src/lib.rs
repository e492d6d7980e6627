//! Runs the update machine on a device: downloads, writes, verifies, chooses slots, reboots and reports.
//!
//! A [`Device`] is a device's parts put together and only looks; an [`Agent`] holds the lock and the machine and runs
//! what the machine says. Time and randomness come in through [`edge::Edge`].

mod agent;
pub mod boot_control;
pub mod command;
pub mod config;
mod device;
mod download;
pub mod edge;
mod effects;
mod error;
mod looking;
mod net;
mod outbox;
pub mod output;
pub mod reports;
pub mod repository;
pub mod screen;
pub mod slots;
pub mod state;
pub mod updater;
mod verify;
mod write;

pub use agent::{Agent, Pass};
pub use device::{Device, Knowledge};
pub use error::{Error, HttpError};
pub use net::{Client, Pace};
