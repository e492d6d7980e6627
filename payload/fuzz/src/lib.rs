//! What the targets share: payloads of one operation, and slots in memory.

use std::io;
use std::sync::{Arc, Mutex};

use millet_payload::filesystem::files;
use millet_payload::{Checkpoint, Head, Observer, ReadAt, Slots, Target, apply};
use millet_protocol::PartitionName;
use prost::Message;
use sha2::{Digest, Sha256};

/// Types of operations in `update_metadata.proto`.
pub const REPLACE_BZ: i32 = 1;
/// An xz stream.
pub const REPLACE_XZ: i32 = 8;
/// Zstandard frames.
pub const REPLACE_ZSTD: i32 = 14;
/// A bsdiff patch of deflate's tokens.
pub const PUFFDIFF: i32 = 9;
/// A patch in BSDF2.
pub const BROTLI_BSDIFF: i32 = 10;

const BLOCK: usize = 4096;

/// Applies one operation with this blob to a source and a target of some blocks, from a head that promises its hashes.
///
/// A device comes no further with bytes of a stranger: the head is signed. So whatever the decoders do, they must end.
pub fn apply_one(kind: i32, blob: &[u8], source: &[u8], target_blocks: u64) {
    let mut source = source.to_vec();
    source.resize(source.len().next_multiple_of(BLOCK).max(BLOCK), 0);
    let manifest = Manifest {
        minor_version: Some(if replaces(kind) { 0 } else { 6 }),
        partitions: vec![Partition {
            name: "system".into(),
            old: Some(info(&source)),
            new: Some(Info {
                size: Some(target_blocks * BLOCK as u64),
                hash: Some(vec![0; 32]),
            }),
            operations: vec![operation(kind, blob, &source, target_blocks)],
        }],
    };
    let bytes = head(&manifest.encode_to_vec());
    // An empty blob is refused here.
    let Ok(head) = Head::parse(&bytes) else { return };
    let slots = Memory {
        source,
        target: Arc::new(Mutex::new(vec![0; target_blocks as usize * BLOCK])),
    };
    let _ = apply(&head, Checkpoint::default(), &mut &blob[..], &slots, &mut Nobody);
}

/// Applies what a head asks for as far as it goes without any blob, if its partitions are small: a hash tree and FEC over
/// zeros, say.
pub fn apply_without_blobs(head: &Head) {
    let size: u64 = head.partitions().map(|partition| partition.new.size).sum();
    if size <= 4 << 20 {
        let _ = apply(
            head,
            Checkpoint::default(),
            &mut io::empty(),
            &Nowhere,
            &mut Nobody,
        );
    }
}

/// A payload's header before a manifest.
pub fn head(manifest: &[u8]) -> Vec<u8> {
    let mut head = b"CrAU\0\0\0\0\0\0\0\x02".to_vec();
    head.extend((manifest.len() as u64).to_be_bytes());
    head.extend([0; 4]);
    head.extend(manifest);
    head
}

/// Lists the files of an image, and holds the list to what it promises.
pub fn list(image: &[u8]) {
    let Ok(found) = files(&image) else { return };
    let blocks = image.len().div_ceil(BLOCK) as u64;
    assert!(found.files.is_sorted_by_key(|file| &file.path));
    for file in &found.files {
        assert!(!file.extents.is_empty() && !file.path.is_empty());
        for extent in &file.extents {
            assert!(
                extent.blocks > 0 && extent.end() <= blocks,
                "{extent:?} of {blocks}"
            );
        }
    }
}

fn replaces(kind: i32) -> bool {
    matches!(kind, REPLACE_BZ | REPLACE_XZ | REPLACE_ZSTD)
}

fn operation(kind: i32, blob: &[u8], source: &[u8], target_blocks: u64) -> Operation {
    let reads = !replaces(kind);
    let extent = |blocks| Extent {
        start: Some(0),
        blocks: Some(blocks),
    };
    Operation {
        kind,
        data_offset: Some(0),
        data_length: Some(blob.len() as u64),
        source: if reads {
            vec![extent((source.len() / BLOCK) as u64)]
        } else {
            Vec::new()
        },
        destination: vec![extent(target_blocks)],
        data_hash: Some(Sha256::digest(blob).to_vec()),
        source_hash: reads.then(|| Sha256::digest(source).to_vec()),
    }
}

fn info(bytes: &[u8]) -> Info {
    Info {
        size: Some(bytes.len() as u64),
        hash: Some(Sha256::digest(bytes).to_vec()),
    }
}

// Of update_metadata.proto what one operation needs; the crate's own messages are not public.
#[derive(Clone, PartialEq, Message)]
struct Manifest {
    #[prost(uint32, optional, tag = "12")]
    minor_version: Option<u32>,
    #[prost(message, repeated, tag = "13")]
    partitions: Vec<Partition>,
}

#[derive(Clone, PartialEq, Message)]
struct Partition {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "6")]
    old: Option<Info>,
    #[prost(message, optional, tag = "7")]
    new: Option<Info>,
    #[prost(message, repeated, tag = "8")]
    operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(uint64, optional, tag = "1")]
    size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    hash: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(int32, required, tag = "1")]
    kind: i32,
    #[prost(uint64, optional, tag = "2")]
    data_offset: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    data_length: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    source: Vec<Extent>,
    #[prost(message, repeated, tag = "6")]
    destination: Vec<Extent>,
    #[prost(bytes = "vec", optional, tag = "8")]
    data_hash: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    source_hash: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Extent {
    #[prost(uint64, optional, tag = "1")]
    start: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    blocks: Option<u64>,
}

struct Memory {
    source: Vec<u8>,
    target: Arc<Mutex<Vec<u8>>>,
}

impl Slots for Memory {
    fn source(&self, _: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        Ok(Box::new(self.source.as_slice()))
    }

    fn target(&self, _: &PartitionName, _: u64) -> io::Result<Box<dyn Target + '_>> {
        Ok(Box::new(Partial(self.target.clone())))
    }
}

/// No old partitions, and new ones that are forgotten.
struct Nowhere;

impl Slots for Nowhere {
    fn source(&self, _: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn target(&self, _: &PartitionName, size: u64) -> io::Result<Box<dyn Target + '_>> {
        Ok(Box::new(Partial(Arc::new(Mutex::new(vec![0; size as usize])))))
    }
}

struct Partial(Arc<Mutex<Vec<u8>>>);

impl Target for Partial {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        // Outside is a finding.
        self.0.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for Partial {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.lock().unwrap().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

struct Nobody;

impl Observer for Nobody {
    fn written(&mut self, _: u64) {}

    fn checkpoint(&mut self, _: Checkpoint) -> io::Result<()> {
        Ok(())
    }

    fn stop(&self) -> bool {
        false
    }
}
