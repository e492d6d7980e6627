//! What the server decides about a rollout: how far it may go, when it must stop, which deltas it needs, and who won
//! the vote. Facts and the time come in, an answer with its reason goes out; nothing here reads, writes or waits.

mod delta_plan;
mod evidence;
mod plan;
mod ramp;
mod tally;

pub use delta_plan::{PublishedBuild, delta_sources, stones};
pub use evidence::{Evidence, Guard};
pub use plan::{Plan, Step};
pub use ramp::{Decision, HaltReason, Hold, SETTLED, forecast, freeze, next, open, share_at};
pub use tally::{Ballot, Standing, latest, standings, tally};
