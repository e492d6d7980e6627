//! A folder of `<partition>.img`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use millet_payload::{Image, ReadAt};
use millet_protocol::{BLOCK_SIZE, PartitionName};

use crate::output;

/// The images of a build, open for reading.
pub struct Images {
    folder: PathBuf,
    files: BTreeMap<PartitionName, File>,
}

impl Images {
    /// Opens every `<partition>.img`; other files do not matter.
    ///
    /// An image that is not whole blocks is refused, or with `pad` read as if zeros followed.
    pub fn open(folder: &Path, pad: bool) -> anyhow::Result<Self> {
        let what = || format!("cannot read the images in {}", folder.display());
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(what)? {
            let path = entry.with_context(what)?.path();
            if path.extension().is_some_and(|extension| extension == "img") {
                let stem = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .unwrap_or_default();
                let name: PartitionName = stem.parse().with_context(|| {
                    format!("{} does not name a partition that can be updated", path.display())
                })?;
                let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                check_size(&path, &file, pad)?;
                files.insert(name, file);
            }
        }
        if files.is_empty() {
            bail!(
                "{} holds no image: it should hold files such as system.img",
                folder.display()
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
            files,
        })
    }

    /// The images, ready for the payload's maker.
    pub fn list(&self) -> Vec<Image<'_>> {
        self.files
            .iter()
            .map(|(name, file)| Image {
                name: name.clone(),
                bytes: file,
            })
            .collect()
    }

    /// Their partitions.
    pub fn names(&self) -> impl Iterator<Item = &PartitionName> {
        self.files.keys()
    }

    /// One of them.
    pub fn get(&self, name: &PartitionName) -> anyhow::Result<&File> {
        self.files
            .get(name)
            .with_context(|| format!("{} holds no {name}.img", self.folder.display()))
    }
}

fn check_size(path: &Path, file: &File, pad: bool) -> anyhow::Result<()> {
    let size = ReadAt::size(file).with_context(|| format!("cannot read {}", path.display()))?;
    if size == 0 {
        bail!("{} is empty", path.display());
    }
    let rest = size % BLOCK_SIZE;
    if rest != 0 && !pad {
        bail!(
            "{} has {size} bytes, which is not a multiple of {BLOCK_SIZE}: repeat with --pad to add {} zeros, as a raw \
             kernel needs, or make the image anew if it should be whole",
            path.display(),
            BLOCK_SIZE - rest
        );
    }
    if rest != 0 {
        output::say(&format!(
            "{}: {} zero bytes are added to its {size}",
            path.display(),
            BLOCK_SIZE - rest
        ));
    }
    Ok(())
}
