//! The images of a build, from whatever an engineer has.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use millet_payload::input::{ImageForm, Input, InputKind, Member};
use millet_payload::{Image, ReadAt};
use millet_protocol::{BLOCK_SIZE, PartitionName};

use crate::edge::Edge;
use crate::output;
use crate::progress::Meter;

/// The images of a build, open for reading.
pub struct Images {
    path: PathBuf,
    input: Input,
}

impl Images {
    /// Opens a folder of `<partition>.img`, an OTA zip, a zip of images or a full payload.
    ///
    /// An image that is not whole blocks is refused, or with `pad` read as if zeros followed.
    pub fn open(path: &Path, pad: bool, edge: &Edge) -> anyhow::Result<Self> {
        let mut meter = None;
        let mut progress = |done, total| {
            meter
                .get_or_insert_with(|| Meter::new("unpacking", total))
                .set(done);
        };
        let input = Input::open(path, &edge.scratch, &mut progress)?;
        drop(meter);
        if input.kind() != InputKind::Folder {
            let names: Vec<_> = input.members().keys().map(PartitionName::as_str).collect();
            output::say(&format!(
                "{}: {} of {}",
                path.display(),
                input.kind(),
                names.join(", ")
            ));
        }
        for member in input.members().values() {
            check_size(member, pad)?;
        }
        Ok(Self {
            path: path.to_owned(),
            input,
        })
    }

    /// The images, ready for the payload's maker.
    pub fn list(&self) -> Vec<Image<'_>> {
        self.input.images()
    }

    /// Their partitions.
    pub fn names(&self) -> impl Iterator<Item = &PartitionName> {
        self.input.members().keys()
    }

    /// One of them.
    pub fn get(&self, name: &PartitionName) -> anyhow::Result<&dyn ReadAt> {
        let member = self.input.members().get(name);
        let member = member.with_context(|| format!("{} holds no {name}.img", self.path.display()))?;
        Ok(&*member.bytes)
    }
}

fn check_size(member: &Member, pad: bool) -> anyhow::Result<()> {
    let origin = &member.origin;
    let size = member
        .bytes
        .size()
        .with_context(|| format!("cannot read {origin}"))?;
    if member.form == ImageForm::Sparse {
        output::say(&format!("{origin}: {} of {}", member.form, output::bytes(size)));
    }
    let rest = size % BLOCK_SIZE;
    if rest == 0 {
        return Ok(());
    }
    let zeros = BLOCK_SIZE - rest;
    if !pad {
        bail!(
            "{origin} has {size} bytes, which is not a multiple of {BLOCK_SIZE}: repeat with --pad to add {zeros} \
             zeros, as a raw kernel needs, or make the image anew if it should be whole"
        );
    }
    output::say(&format!("{origin}: {zeros} zero bytes are added to its {size}"));
    Ok(())
}
