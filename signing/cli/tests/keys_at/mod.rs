//! Passphrases from a terminal and from an agent.

mod agent;
mod terminal;
