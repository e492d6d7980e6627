//! The whole way, as processes over loopback: real keys, a real server, real agents, images of a few mebibytes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails has failed the test"
)]

mod by_hand;
mod ceremony;
mod finding_the_way;
mod kill;
mod one_build;
mod refusals;
mod world;
