//! `millet-server`: publish, serve, roll out, listen.
//!
//! A process holds no state of its own: everything is in the database ([`store`]) and the objects ([`objects`]). What
//! devices trust is written by one writer at a time ([`metadata_writer`]), and every change ends in one transaction
//! with one new `timestamp.json`.

pub mod api;
pub mod bounds;
pub mod data_folder;
pub mod deltas;
pub mod edge;
pub mod held;
pub mod keys;
pub mod listen;
pub mod metadata_writer;
pub mod objects;
pub mod patience;
pub mod publish;
pub mod repo;
pub mod rollouts;
pub mod secret_file;
mod server;
pub mod site;
pub mod store;

pub use server::{Config, Made, OpenError, Server, State};
