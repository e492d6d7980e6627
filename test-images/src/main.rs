//! `millet-test-images`: makes images and plays the device.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millet_test_images::output::say;

/// Makes test images and plays the device that they are for.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Synthetic(commands::synthetic::Arguments),
    Debian(commands::debian::Arguments),
    Wheels(commands::wheels::Arguments),
    #[command(subcommand)]
    Device(commands::device::Command),
    Boot(commands::boot::Arguments),
    Selftest(commands::selftest::Arguments),
    Break(commands::break_images::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Synthetic(arguments) => commands::synthetic::run(&arguments),
        Command::Debian(arguments) => commands::debian::run(&arguments),
        Command::Wheels(arguments) => commands::wheels::run(&arguments),
        Command::Device(command) => commands::device::run(&command),
        Command::Boot(arguments) => commands::boot::run(&arguments),
        Command::Selftest(arguments) => commands::selftest::run(&arguments),
        Command::Break(arguments) => commands::break_images::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("millet-test-images: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
