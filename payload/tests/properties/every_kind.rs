//! A small payload with every type of operation that Millet writes, hash tree and FEC.

use millet_payload::{Checkpoint, OnlyOperation, Options, PREFIX, apply, filesystem, write_delta};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::support::message::{Info, Manifest, Partition, assemble};
use crate::support::verity::{CASES, Case};
use crate::support::*;
use crate::trees::{apk, noise};

/// A delta with what it is made from and what it makes.
pub struct Sample {
    pub old: Images,
    pub new: Images,
    pub payload: Vec<u8>,
}

/// A partition for each type that has to be asked for; `archives` has PUFFDIFF and a filesystem, and its hash tree and
/// FEC are left to the device.
pub fn every_kind() -> Sample {
    let (mut old, mut new) = (Images::new(), Images::new());
    let mut payloads = Vec::new();
    let mut add = |name: &str, images: [Vec<u8>; 2], only| {
        let [from, to] = images.map(|image| self::images([(name, image)]));
        payloads.push(make(&from, &to, only));
        old.extend(from);
        new.extend(to);
    };
    add("archives", archives(), None);
    for (name, seed, blocks, only) in [
        ("bsdiff", 11, 60, OnlyOperation::SourceBsdiff),
        ("brotli", 12, 60, OnlyOperation::BrotliBsdiff),
        ("plain", 13, 8, OnlyOperation::Replace),
        ("bzip", 14, 30, OnlyOperation::ReplaceBz),
        ("xz", 15, 30, OnlyOperation::ReplaceXz),
    ] {
        let from = image(seed, blocks);
        let to = week(&from, seed + 1, blocks);
        add(name, [from, to], Some(only));
    }
    let (mut manifest, blobs) = joined(&payloads);
    leave_verity_to_the_device(&mut manifest.partitions[0]);
    let payload = assemble(&manifest, &blobs);
    let slots = MemorySlots::new(&old);
    let size = manifest.partitions[0].new.as_ref().unwrap().size.unwrap();
    apply(
        &head(&payload),
        Checkpoint::default(),
        &mut blobs.as_slice(),
        &slots,
        &mut Journal::default(),
    )
    .unwrap();
    let made = slots.made("archives", size as usize);
    let data = new.insert("archives".parse().unwrap(), made.clone()).unwrap();
    assert!(made.starts_with(&data) && made.len() > data.len());
    manifest.partitions[0].new.as_mut().unwrap().hash = Some(Sha256::digest(&made).to_vec());
    Sample {
        old,
        new,
        payload: assemble(&manifest, &blobs),
    }
}

fn make(old: &Images, new: &Images, only: Option<OnlyOperation>) -> Vec<u8> {
    let options = Options { only, ..options(2) };
    let mut payload = Vec::new();
    write_delta(&borrowed(old), &borrowed(new), &options, &(), &mut payload).unwrap();
    payload
}

/// Two weeks of an image whose largest file is an archive. No tool is asked for it: a fixture's file is overwritten.
pub fn archives() -> [Vec<u8>; 2] {
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/filesystems/erofs-no-inline.img.xz"
    );
    let mut image = Vec::new();
    let file = std::fs::File::open(fixture).unwrap();
    std::io::copy(&mut liblzma::read::XzDecoder::new(file), &mut image).unwrap();
    let files = filesystem::files(&image).unwrap().files;
    let largest = files.iter().max_by_key(|file| file.size).unwrap();
    let [extent] = largest.extents.as_slice() else {
        panic!("{largest:?}");
    };
    [None, Some(1)].map(|changed| {
        let mut image = padded(image.clone());
        let mut content = apk(5, 4, changed);
        assert!(content.len() as u64 <= largest.size);
        // What is behind the archive, blocks that are nowhere else, moves by one.
        content.resize(content.len().next_multiple_of(BLOCK), 0);
        content.resize(content.len() + changed.map_or(0, |_| BLOCK), 0);
        content.extend(noise(6, 9 * BLOCK));
        content.resize(extent.blocks as usize * BLOCK, 0);
        let start = extent.start as usize * BLOCK;
        image[start..start + content.len()].copy_from_slice(&content);
        image
    })
}

/// One payload of all their partitions.
fn joined(payloads: &[Vec<u8>]) -> (Manifest, Vec<u8>) {
    let mut all = Manifest {
        minor_version: Some(6),
        partitions: Vec::new(),
    };
    let mut data = Vec::new();
    for payload in payloads {
        let end = head(payload).metadata_size() as usize;
        let mut manifest = Manifest::decode(&payload[PREFIX..end]).unwrap();
        for operation in manifest
            .partitions
            .iter_mut()
            .flat_map(|partition| &mut partition.operations)
        {
            if let Some(offset) = &mut operation.data_offset {
                *offset += data.len() as u64;
            }
        }
        all.partitions.append(&mut manifest.partitions);
        data.extend_from_slice(blobs(payload));
    }
    (all, data)
}

/// Makes a partition longer by a hash tree over all of it, and FEC over both.
fn leave_verity_to_the_device(partition: &mut Partition) {
    let size = partition.new.as_ref().unwrap().size.unwrap();
    let case = Case {
        blocks: size / BLOCK as u64,
        ..CASES[1]
    };
    let verity = case.partition().0;
    let blocks = case.blocks + case.tree_blocks() + case.fec_blocks();
    *partition = Partition {
        name: partition.name.clone(),
        old: partition.old.clone(),
        new: Some(Info {
            size: Some(blocks * BLOCK as u64),
            hash: Some(vec![0; 32]),
        }),
        operations: std::mem::take(&mut partition.operations),
        ..verity
    };
}
