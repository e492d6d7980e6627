//! What the other crates are tried on: realistic weekly images, and a device with slots and a bootloader.
//!
//! - [`debian`] makes a real pair from Debian packages.
//! - [`selftest`] is the health check of every image made here.

pub mod debian;
mod digest;
pub mod selftest;
