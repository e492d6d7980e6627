//! The update machine: a state and an event in, a state and effects out. It reads no clock, no disk and no network.

pub mod bootloader_control;
