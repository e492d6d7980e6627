//! What is claimed of the verifier, tried on every case of a small world. What each test covered is counted and asserted, so
//! that none of them can shrink unseen. With MILLET_LONG set, the worlds are larger.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "../maker/mod.rs"]
mod maker;

mod delegations;
mod flips;
mod interleavings;
mod sleepers;
mod thresholds;

/// Whether there is time for the larger worlds.
fn long() -> bool {
    std::env::var_os("MILLET_LONG").is_some()
}
