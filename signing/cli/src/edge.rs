use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;

use crate::keys::{Keychain, Passphrases, Surroundings, Terminal};
use crate::unfinished::Unfinished;

/// What a run takes from its surroundings, asked for once.
pub struct Edge {
    /// When the command began.
    pub now: Timestamp,
    /// Where large files that nobody keeps may lie.
    pub scratch: PathBuf,
    /// Files that must not stay behind when the run is interrupted.
    pub unfinished: Arc<Unfinished>,
    /// The private keys that the run uses.
    pub keychain: Keychain,
}

impl Edge {
    /// With the number of `--passphrase-fd`, if there is one.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this binary that asks for the time"
    )]
    pub fn ask(passphrase_fd: Option<u32>) -> Self {
        let unfinished = Arc::new(Unfinished::default());
        let terminal = Arc::new(Terminal::default());
        let at_interrupt = (Arc::clone(&unfinished), Arc::clone(&terminal));
        // Without a handler an interrupted run leaves a temporary file behind, which is no reason not to run.
        let _ = ctrlc::set_handler(move || {
            let (unfinished, terminal) = &at_interrupt;
            let _removed = unfinished.remove();
            terminal.restore();
            std::process::exit(130);
        });
        Self {
            now: Timestamp::now(),
            scratch: std::env::temp_dir(),
            unfinished,
            keychain: Keychain::new(Passphrases::new(passphrase_fd, terminal, surroundings())),
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

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this binary that asks for the environment"
)]
fn surroundings() -> Surroundings {
    let environment = |name| std::env::var(name).ok();
    Surroundings {
        terminal: rustix::termios::ttyname(io::stdin(), Vec::new())
            .ok()
            .and_then(|name| name.into_string().ok()),
        terminal_type: environment("TERM"),
        display: environment("DISPLAY"),
        wayland_display: environment("WAYLAND_DISPLAY"),
    }
}
