//! The server over loopback, with a clock that the tests turn.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod engineer;
mod killed;
mod listening;
mod publishing;
mod replaced;
mod rolling;
mod serving;
mod starting;
mod waiting;
mod world;
mod writing;
