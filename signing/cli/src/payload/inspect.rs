mod map;
mod places;

use std::collections::BTreeMap;
use std::path::PathBuf;

use millet_payload::{Extent, HashAlgorithm, HashTree, Info, Partition};
use millet_protocol::{PartitionName, Sha256Digest};
use serde::Serialize;
use sha2::{Digest, Sha256};

use self::places::Places;
use super::{Opened, describe_operations};
use crate::edge::Edge;
use crate::output;
use crate::unfinished::write_whole;

/// `millet payload inspect`
#[derive(clap::Args)]
pub struct Args {
    /// The payload, or an OTA zip that holds it.
    file: PathBuf,
    /// Shows where the bytes are: what patches say and what they carry, partition by partition.
    #[arg(long = "where")]
    places: bool,
    /// Draws a map of each partition, coloured by operation.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Inspected {
    kind: &'static str,
    size: u64,
    metadata_size: u64,
    metadata_sha256: Sha256Digest,
    blobs_offset: u64,
    blobs_length: u64,
    partitions: Vec<InspectedPartition>,
}

#[derive(Serialize)]
struct InspectedPartition {
    name: PartitionName,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<InspectedImage>,
    new: InspectedImage,
    operations: BTreeMap<&'static str, Count>,
    /// What the device computes when the operations are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash_tree: Option<InspectedHashTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fec: Option<InspectedFec>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "where")]
    places: Option<Places>,
}

#[derive(Serialize)]
struct InspectedImage {
    size: u64,
    sha256: Sha256Digest,
}

#[derive(Serialize)]
struct InspectedHashTree {
    algorithm: &'static str,
    /// In hexadecimal, as veritysetup takes it.
    salt: String,
    data: Blocks,
    tree: Blocks,
}

#[derive(Serialize)]
struct InspectedFec {
    roots: u8,
    data: Blocks,
    parity: Blocks,
}

/// In blocks of the partition.
#[derive(Serialize)]
struct Blocks {
    start: u64,
    count: u64,
}

impl From<Extent> for Blocks {
    fn from(extent: Extent) -> Self {
        Self {
            start: extent.start,
            count: extent.blocks,
        }
    }
}

#[derive(Serialize)]
struct Count {
    count: u64,
    blob_bytes: u64,
}

pub fn run(args: &Args, edge: &Edge) -> anyhow::Result<()> {
    let opened = Opened::open(&args.file, &edge.scratch)?;
    let places = match args.places {
        true => places::of(&opened)?,
        false => Vec::new(),
    };
    let head = &opened.head;
    let inspected = Inspected {
        kind: if head.is_delta() { "delta" } else { "full" },
        size: opened.size,
        metadata_size: head.metadata_size(),
        metadata_sha256: Sha256Digest(Sha256::digest(&opened.head_bytes).into()),
        blobs_offset: head.blobs_offset(),
        blobs_length: head.blobs_length(),
        partitions: head
            .partitions()
            .enumerate()
            .map(|(index, partition)| inspect(partition, places.get(index)))
            .collect(),
    };
    if let Some(path) = &args.svg {
        write_whole(&edge.unfinished, path, map::svg(head).as_bytes())?;
        output::say(&format!("map: {}", path.display()));
    }
    if args.json {
        output::print_json(&inspected)?;
    } else {
        output::print(&table(&inspected))?;
    }
    let from = if head.is_delta() { " --from OLD_IMAGES" } else { "" };
    output::next(&format!("millet payload verify {}{from}", args.file.display()));
    Ok(())
}

fn inspect(partition: &Partition, places: Option<&Places>) -> InspectedPartition {
    let image = |info: &Info| InspectedImage {
        size: info.size,
        sha256: info.sha256,
    };
    let operations = tally(partition)
        .into_iter()
        .map(|(name, (count, blob_bytes))| (name, Count { count, blob_bytes }))
        .collect();
    InspectedPartition {
        name: partition.name.clone(),
        old: partition.old.as_ref().map(image),
        new: image(&partition.new),
        operations,
        hash_tree: partition.verity.hash_tree.as_ref().map(hash_tree),
        fec: partition.verity.fec.as_ref().map(|fec| InspectedFec {
            roots: fec.roots,
            data: fec.data.into(),
            parity: fec.parity.into(),
        }),
        places: places.cloned(),
    }
}

fn hash_tree(hash_tree: &HashTree) -> InspectedHashTree {
    InspectedHashTree {
        algorithm: match hash_tree.algorithm {
            HashAlgorithm::Sha1 => "sha1",
            HashAlgorithm::Sha256 => "sha256",
        },
        salt: hash_tree.salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        data: hash_tree.data.into(),
        tree: hash_tree.tree.into(),
    }
}

fn tally(partition: &Partition) -> BTreeMap<&'static str, (u64, u64)> {
    let mut operations: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for operation in &partition.operations {
        let (count, bytes) = operations.entry(operation.type_name()).or_default();
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(operation.blob().map_or(0, |blob| blob.length));
    }
    operations
}

fn table(inspected: &Inspected) -> String {
    let mut table = output::columns();
    let is_computed =
        |partition: &InspectedPartition| partition.hash_tree.is_some() || partition.fec.is_some();
    let with_computed = inspected.partitions.iter().any(is_computed);
    let computed = with_computed.then_some("computed by the device");
    table.set_header(
        ["partition", "size", "sha256", "operations"]
            .into_iter()
            .chain(computed),
    );
    for partition in &inspected.partitions {
        let operations = partition
            .operations
            .iter()
            .map(|(name, count)| (*name, (count.count, count.blob_bytes)))
            .collect();
        let row = [
            partition.name.to_string(),
            output::bytes(partition.new.size),
            partition.new.sha256.to_string(),
            describe_operations(&operations),
        ];
        let computed = with_computed.then(|| describe_computed(partition));
        table.add_row(row.into_iter().chain(computed));
    }
    format!(
        "{} payload of {}; head of {} bytes, SHA-256 {}\n\n{}",
        inspected.kind,
        output::bytes(inspected.size),
        inspected.metadata_size,
        inspected.metadata_sha256,
        output::table(&table)
    ) + &places_table(inspected)
}

fn describe_computed(partition: &InspectedPartition) -> String {
    let tree = partition.hash_tree.as_ref().map(|hash_tree| {
        let blocks = count_blocks(&hash_tree.tree);
        format!("{} hash tree: {blocks}", hash_tree.algorithm)
    });
    let fec = partition.fec.as_ref().map(|fec| {
        let blocks = count_blocks(&fec.parity);
        format!("FEC with {} roots: {blocks}", fec.roots)
    });
    tree.into_iter().chain(fec).collect::<Vec<_>>().join(", ")
}

fn count_blocks(blocks: &Blocks) -> String {
    match blocks.count {
        1 => "1 block".to_owned(),
        count => format!("{count} blocks"),
    }
}

fn places_table(inspected: &Inspected) -> String {
    if inspected
        .partitions
        .iter()
        .all(|partition| partition.places.is_none())
    {
        return String::new();
    }
    let mut table = output::columns();
    table.set_header([
        "bytes of",
        "head",
        "patch control",
        "patch diff",
        "patch extra",
        "replacements",
    ]);
    for partition in &inspected.partitions {
        if let Some(places) = &partition.places {
            let row = [
                places.head,
                places.control,
                places.diff,
                places.extra,
                places.replacements,
            ];
            let cells = row.map(|bytes| bytes.to_string());
            table.add_row(std::iter::once(partition.name.to_string()).chain(cells));
        }
    }
    format!("\n\n{}", output::table(&table))
}
