pub mod boot;
pub mod break_images;
pub mod debian;
pub mod device;
pub mod selftest;
pub mod synthetic;
pub mod wheels;
