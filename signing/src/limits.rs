/// How much of each kind is taken from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a root file (W in 5.3.3).
    pub root: u64,
    /// Bytes of the timestamp (X in 5.4.1).
    pub timestamp: u64,
    /// Bytes of the snapshot (Y in 5.5.1).
    pub snapshot: u64,
    /// Bytes of a targets role (Z in 5.6.1).
    pub targets: u64,
    /// Roots that are followed in one refresh (Y in 5.3.3).
    pub rotations: u32,
    /// Roles that are visited in search of one target (5.6.7.1).
    pub visited: usize,
    /// Delegations from one role to the next that are followed in search of one target; those of `targets` are the first.
    pub depth: usize,
}

impl Default for Limits {
    /// The reference implementation's (python-tuf, `tuf/ngclient/config.py`), which bounds no depth: that is the default
    /// of rust-tuf (`tuf/src/client.rs`, `max_delegation_depth`).
    fn default() -> Self {
        Self {
            root: 512_000,
            timestamp: 16_384,
            snapshot: 2_000_000,
            targets: 5_000_000,
            rotations: 256,
            visited: 32,
            depth: 8,
        }
    }
}
