//! Whether a build is healthy: a line of `build.prop`, found in the raw system image whatever its filesystem.

/// The property of `build.prop` whose value says whether a build is healthy.
pub const PROPERTY: &str = "ro.millet.selftest";
