//! Partitions whose hash tree and FEC are left to the device, and what veritysetup makes of the same data.

use millet_payload::{ApplyError, Checkpoint, apply};

use super::message::{Extent, Operation, Partition, REPLACE, extent, payload, replacement, system};
use super::*;

/// Data of so many blocks with a tree, and FEC over both.
#[derive(Clone, Copy)]
pub struct Case {
    pub blocks: u64,
    pub algorithm: &'static str,
    pub salt: &'static str,
    pub roots: u32,
    /// SHA-256 of what veritysetup writes to its hash device.
    pub tree: &'static str,
    /// SHA-256 of what veritysetup writes to its FEC device.
    pub fec: &'static str,
}

const SALT: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const LONG_SALT: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100ff";

/// Digests as Debian's veritysetup 2.6.1 makes them from [`Case::data`]; `tests/judges.rs` holds the command, prints them
/// and compares.
pub const CASES: [Case; 10] = [
    case(
        2,
        "sha256",
        SALT,
        2,
        "a9e772f172480f2d4a5161de7ed18d570aa897e41efd75147883cf12f8dc7fae",
        "1390afa3479d0a95c1bcf88bd008ecf21db97a4f04e6417ceeeb450a6f1db2ad",
    ),
    case(
        127,
        "sha256",
        SALT,
        2,
        "154dc3f6610f88e0747188e9fc94da7de236fefeacaa175c9572bcdcfbb206f1",
        "5a77c892db44356bc961a718924f3a4ca3d30b398a8326a9577dfd9b43464010",
    ),
    case(
        128,
        "sha256",
        "",
        2,
        "d102b51e3de138adaf0cbc02a57593c953ee649e20035d7c11a8fe2230ce72c7",
        "e6d782aaef5e84107bd1519bc38308f7c10e1a0612fbbfaf1b72b8069b9e03a7",
    ),
    case(
        129,
        "sha256",
        SALT,
        24,
        "cf932f6e88f98edb753aeb042849bf08506fffb8a4ebc93c33f0dbd5e3ee4e3c",
        "29ec33603b64a90d530b8c24e7984b49a44f19f4c42c87c353185ad015e9cb0f",
    ),
    case(
        252,
        "sha256",
        SALT,
        2,
        "3d1f3a63cc94ab021dfcf9ec798f999ce36607ebb6e26531f335d0d30f2c74fa",
        "931f2d31f7ca30b32cea0eb02a02eff68fcfa10e16ba59bd0e7b6fda9b99ebb9",
    ),
    case(
        253,
        "sha256",
        LONG_SALT,
        2,
        "e6d8e78e913f93cf44614197e686817f4937dd1067efbdccdd52f4c76496cb6d",
        "d5e96b24a132c77509f97f46701831547c51fa849a8f30a42cba88feda677a4f",
    ),
    case(
        600,
        "sha1",
        SALT,
        8,
        "2bd0cb51909a13557d26c48e526935d93a4d653cca7d680388f2af2ae77ebcbf",
        "d9077c868003e218109e341c4404ce0bf8c05d9e2800a5aa4d4df28ab79cdf35",
    ),
    case(
        700,
        "sha256",
        SALT,
        9,
        "3fef309d3a0b9e52aa574b1cf30508b1e88e8c06b3ced6bdf1ef114d5978a0aa",
        "ba1406187af4bc3ddb708582d43ae9db5835e198257d100f8e83bdf7f82652cb",
    ),
    case(
        1000,
        "SHA1",
        "",
        17,
        "f30fc5e022f87344bc59b74e1bc2c1e71daad8b5b629148e1cfed48d21d93d3f",
        "101e5b7b613c25604a1ddbc432fec85efbab7ded5a4f402db0e4ec4cac4933ef",
    ),
    case(
        128 * 128 + 1,
        "sha256",
        SALT,
        2,
        "0a4ee3958003c3ccabdda73bd8a98baabdc39bb3d1377eaee01bda71fb8167b8",
        "20be6b140df1d19ea08fe2e199c1b6cd6160b97c69e8eddfb771c216831136ff",
    ),
];

const fn case(
    blocks: u64,
    algorithm: &'static str,
    salt: &'static str,
    roots: u32,
    tree: &'static str,
    fec: &'static str,
) -> Case {
    Case {
        blocks,
        algorithm,
        salt,
        roots,
        tree,
        fec,
    }
}

impl Case {
    pub fn data(&self) -> Vec<u8> {
        image(self.blocks, self.blocks as usize)
    }

    pub fn salt(&self) -> Vec<u8> {
        let digits = self.salt.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// Blocks of the tree: dm-verity's levels of 128 digests in a block.
    pub fn tree_blocks(&self) -> u64 {
        let (mut blocks, mut level) = (0, self.blocks);
        loop {
            level = level.div_ceil(128);
            blocks += level;
            if level == 1 {
                return blocks;
            }
        }
    }

    pub fn fec_blocks(&self) -> u64 {
        let roots = u64::from(self.roots);
        (self.blocks + self.tree_blocks()).div_ceil(255 - roots) * roots
    }

    /// Where the tree lies: right behind the data, and the FEC behind it.
    pub fn tree(&self) -> Extent {
        extent(self.blocks, self.tree_blocks())
    }

    pub fn fec(&self) -> Extent {
        extent(self.blocks + self.tree_blocks(), self.fec_blocks())
    }

    /// Operations make data and a footer, the device what lies between them.
    pub fn partition(&self) -> (Partition, Vec<u8>) {
        let footer = self.blocks + self.tree_blocks() + self.fec_blocks();
        let mut blobs = self.data();
        let mut operations = replace_all(0, &blobs);
        let end = vec![0xf0; BLOCK];
        operations.push(replacement(REPLACE, blobs.len(), &end, extent(footer, 1)));
        blobs.extend(end);
        let partition = Partition {
            operations,
            hash_tree_data: Some(extent(0, self.blocks)),
            hash_tree: Some(self.tree()),
            hash_tree_algorithm: Some(self.algorithm.into()),
            hash_tree_salt: Some(self.salt()),
            fec_data: Some(extent(0, self.blocks + self.tree_blocks())),
            fec: Some(self.fec()),
            fec_roots: Some(self.roots),
            ..system(footer + 1)
        };
        (partition, blobs)
    }

    pub fn payload(&self) -> Vec<u8> {
        let (partition, blobs) = self.partition();
        payload(vec![partition], &blobs)
    }

    /// What a device makes of it: tree and FEC.
    pub fn made(&self) -> (Vec<u8>, Vec<u8>) {
        let image = make(&self.payload()).unwrap();
        let cut = |extent: Extent| {
            let start = extent.start.unwrap() as usize * BLOCK;
            image[start..start + extent.blocks.unwrap() as usize * BLOCK].to_vec()
        };
        assert!(image.starts_with(&self.data()));
        assert!(image.ends_with(&[0xf0; BLOCK]));
        (cut(self.tree()), cut(self.fec()))
    }
}

/// Plain operations of 1 MiB that make these bytes from a block on; their blobs begin at the first blob.
pub fn replace_all(start: u64, bytes: &[u8]) -> Vec<Operation> {
    let pieces = bytes.chunks(256 * BLOCK).enumerate();
    pieces
        .map(|(index, piece)| {
            let extent = extent(start + index as u64 * 256, (piece.len() / BLOCK) as u64);
            replacement(REPLACE, index * 256 * BLOCK, piece, extent)
        })
        .collect()
}

/// Applies a payload of the one partition `system`.
pub fn make(payload: &[u8]) -> Result<Vec<u8>, ApplyError> {
    let slots = MemorySlots::new(&Images::new());
    let head = head(payload);
    apply(
        &head,
        Checkpoint::default(),
        &mut blobs(payload),
        &slots,
        &mut Journal::default(),
    )?;
    let size = head.partitions().next().unwrap().new.size;
    Ok(slots.made("system", size as usize))
}
