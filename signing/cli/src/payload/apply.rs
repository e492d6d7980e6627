use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use millet_protocol::PartitionName;

use super::{Opened, refuse_input};
use crate::edge::Edge;
use crate::images::Images;
use crate::output;
use crate::progress::Meter;
use crate::unfinished::NewFile;

/// `millet payload apply`
#[derive(clap::Args)]
pub struct Args {
    /// The payload, or an OTA zip that holds it.
    file: PathBuf,
    /// Folder of the images that a delta reads.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Folder that receives a <partition>.img for each partition; older ones are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only this partition; may be repeated.
    #[arg(long = "partition", value_name = "NAME")]
    partitions: Vec<PartitionName>,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    if let Some(from) = &args.from {
        refuse_input(&args.out, &[from])?;
    }
    let opened = Opened::open(&args.file, &edge.scratch)?;
    let old = opened.old_images(&args.file, args.from.as_deref(), edge)?;
    let old = old.as_ref().map(Images::list).unwrap_or_default();
    let names = match args.partitions.as_slice() {
        [] => opened
            .head
            .partitions()
            .map(|partition| partition.name.clone())
            .collect(),
        names => names.to_vec(),
    };
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let mut images: BTreeMap<PartitionName, NewFile> = BTreeMap::new();
    for name in &names {
        let image = edge.unfinished.create(&args.out.join(format!("{name}.img")))?;
        images.insert(name.clone(), image);
    }
    let mut made = Vec::new();
    for (name, image) in &mut images {
        let (head, offset) = opened
            .head
            .partition_alone(name)
            .with_context(|| format!("{} does not make {name}", args.file.display()))?;
        let file = image.file();
        let create = |_: &PartitionName| -> io::Result<_> { file.try_clone() };
        opened
            .make(
                &head,
                offset,
                &old,
                &create,
                &Meter::new(&format!("{name} writing"), head.blobs_length()),
            )
            .with_context(|| format!("{} could not be applied", args.file.display()))?;
        made.extend(
            head.partitions()
                .map(|partition| (partition.new.sha256, name.clone())),
        );
    }
    // Only now, so that the folder never holds images of two builds because one of them could not be made.
    for image in images.into_values() {
        image.finish()?;
    }
    for (sha256, name) in made {
        output::print(&format!("{sha256}  {name}.img"))?;
    }
    output::next(&format!(
        "millet payload build --images {} --out FILE",
        args.out.display()
    ));
    Ok(())
}
