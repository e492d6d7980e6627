//! How much strangers may leave here. Keys and pseudonyms cost nothing to make up, so no signature bounds how many there
//! are. What a known device says anew takes the place of what it said before, and is always taken.

/// How much that is new the server takes within an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Device keys that were never seen before.
    pub keys: u32,
    /// Feedback messages.
    pub feedback: u32,
    /// Feedback messages of one key.
    pub feedback_of_a_key: u32,
    /// Devices that report of a build for the first time, for each build.
    pub reporters: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Ten a minute: a beta of ten thousand has enrolled within a day, and a day of made-up keys is 20 MB.
            keys: 600,
            // Of at most 16 KiB: 10 MB an hour.
            feedback: 600,
            // One person's evening with a build.
            feedback_of_a_key: 20,
            // Of a hundred thousand devices that all report over a beta's 24 hours, 4,200 do in each. About 4 MB.
            reporters: 10_000,
        }
    }
}
