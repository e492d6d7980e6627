//! An agent in this process, on a device of files, against a repository in memory behind a small HTTP server.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod advisories;
mod bench;
mod commands;
mod edge;
mod failures;
mod identity;
mod installing;
mod repository;
mod rollouts;
mod server;
mod telling;
mod thief;
