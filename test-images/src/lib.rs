//! What the other crates are tried on: realistic weekly images, and a device with slots and a bootloader.
//!
//! - [`synthetic`] makes a week's images from a seed, with nothing but this crate.
//! - [`debian`] makes a real pair from Debian packages.
//! - [`wheels`] makes a real pair of app partitions.
//! - [`fleet`] runs the shipped programs as processes, for the demo and the whole-way tests.
//! - [`output`] is how all of them speak.
//! - [`device`] is a folder with slots; [`bootloader`] boots it; [`selftest`] is its health check.

pub mod bootloader;
pub mod debian;
pub mod device;
pub mod digest;
pub mod fleet;
mod image_folder;
pub mod output;
pub mod selftest;
pub mod synthetic;
pub mod wheels;

pub use image_folder::{ImageFile, ImageFolderError, images};
