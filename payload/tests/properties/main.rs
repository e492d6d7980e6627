//! What must hold of every pair of images: a payload makes the new one, whatever filesystem they hold, and nothing
//! else, whatever is broken or interrupted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../inputs/archive.rs"]
#[allow(dead_code, reason = "each test uses its own part")]
mod archive;
mod determinism;
mod every_kind;
mod filesystems;
mod flips;
mod interruptions;
#[path = "../filesystems/maker.rs"]
#[allow(dead_code, clippy::expect_used, reason = "each test uses its own part")]
mod maker;
#[path = "../support/mod.rs"]
mod support;
mod trees;
