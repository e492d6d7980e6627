use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;

use crate::unfinished::Unfinished;

/// What a run takes from its surroundings, asked for once.
pub struct Edge {
    /// When the command began.
    pub now: Timestamp,
    /// Where large files that nobody keeps may lie.
    pub scratch: PathBuf,
    /// Files that must not stay behind when the run is interrupted.
    pub unfinished: Arc<Unfinished>,
}

impl Edge {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this binary that asks for the time"
    )]
    pub fn ask() -> Self {
        let unfinished = Arc::new(Unfinished::default());
        let at_interrupt = Arc::clone(&unfinished);
        // Without a handler an interrupted run leaves a temporary file behind, which is no reason not to run.
        let _ = ctrlc::set_handler(move || {
            at_interrupt.remove();
            std::process::exit(130);
        });
        Self {
            now: Timestamp::now(),
            scratch: std::env::temp_dir(),
            unfinished,
        }
    }
}

/// Randomness for a new key.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this binary that asks for randomness"
)]
pub fn random_seed() -> anyhow::Result<zeroize::Zeroizing<[u8; 32]>> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).context("the system gives no randomness")?;
    Ok(seed)
}
