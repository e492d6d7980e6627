//! Writes Android sparse images.

use super::BLOCK;

/// The sparse form of whole blocks: a chunk for each run of zeros, of one byte, of anything else.
pub fn of(image: &[u8]) -> Vec<u8> {
    let kind = |block: &[u8]| match block.iter().all(|byte| *byte == block[0]) {
        true if block[0] == 0 => (0xCAC3_u16, 0),
        true => (0xCAC2, block[0]),
        false => (0xCAC1, 0),
    };
    let blocks: Vec<&[u8]> = image.chunks(BLOCK).collect();
    let runs: Vec<&[&[u8]]> = blocks.chunk_by(|one, other| kind(one) == kind(other)).collect();
    let mut sparse = 0xED26_FF3A_u32.to_le_bytes().to_vec();
    sparse.extend([1_u16, 0, 28, 12].iter().flat_map(|half| half.to_le_bytes()));
    for word in [BLOCK, blocks.len(), runs.len(), 0] {
        sparse.extend((word as u32).to_le_bytes());
    }
    for run in runs {
        let (kind, byte) = kind(run[0]);
        let data = match kind {
            0xCAC3 => Vec::new(),
            0xCAC2 => vec![byte; 4],
            _ => run.concat(),
        };
        sparse.extend(kind.to_le_bytes());
        sparse.extend([0; 2]);
        sparse.extend((run.len() as u32).to_le_bytes());
        sparse.extend((12 + data.len() as u32).to_le_bytes());
        sparse.extend(data);
    }
    sparse
}
