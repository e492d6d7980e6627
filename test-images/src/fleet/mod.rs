//! The shipped programs as processes: a workshop that publishes, a server that serves, devices that update.
//!
//! The demo and the whole-way tests drive the same harness. It knows the programs only by their command lines,
//! exit codes and JSON, as any script would.

mod device;
/// What processes cost, by the kernel's accounts.
pub mod measure;
mod programs;
mod server;
mod workshop;

pub use device::TestDevice;
pub use programs::{Finished, Programs, drop_separator, run};
pub use server::ServerProcess;
pub use workshop::{Publish, Workshop};
