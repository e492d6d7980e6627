//! Properties of Android builds, from the `build.prop` files that they ship.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// What some files say together; the first to name a property counts.
#[derive(Default)]
pub struct BuildProp(BTreeMap<String, String>);

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

impl BuildProp {
    /// Reads files of `key=value` lines.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut properties = BTreeMap::new();
        for path in paths {
            let text = read_text(path)?;
            for line in text.lines() {
                let line = line.trim();
                if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                    properties
                        .entry(key.trim().to_owned())
                        .or_insert_with(|| value.trim().to_owned());
                }
            }
        }
        Ok(Self(properties))
    }

    /// The first of these properties that is there and not empty.
    pub fn get(&self, names: &[&str]) -> Option<&str> {
        let found = names.iter().filter_map(|name| self.0.get(*name));
        found.map(String::as_str).find(|value| !value.is_empty())
    }
}

/// Reads a file of a build that is not larger than such files are.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = read().with_context(|| format!("cannot read {shown}"))?;
    if u64::try_from(text.len())? > LONGEST {
        bail!("{shown} has more than {LONGEST} bytes, which no file of its kind has");
    }
    Ok(text)
}
