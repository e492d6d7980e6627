//! Compressed files: which physical clusters hold one, whatever they are compressed with.

use super::indexes::{Cut, Indexes};
use super::{COMPRESSED_COMPACT, COMPRESSED_FULL, Erofs, Inode};
use crate::filesystem::Fault;
use crate::filesystem::bytes::{Blocks, u16_at, u32_at, u64_at};

/// A run of bytes that content was compressed to.
#[derive(Clone, Copy)]
pub(super) struct Cluster {
    /// Where in the content what it holds begins.
    logical: u64,
    /// Where in the image it lies, in bytes; what is outside is found when it is used.
    offset: u64,
    length: u64,
}

/// The header of the map of a compressed file, 8 bytes at a multiple of 8 behind its inode.
pub(super) struct Header {
    /// Where it begins.
    pub(super) at: u64,
    /// Base-2 logarithm of the bytes of content that one index speaks of.
    pub(super) cluster_bits: u32,
    pub(super) advice: u16,
    /// Bytes of the end that is compressed in the metadata.
    inline_length: u16,
    /// Where in the packed inode the end, or everything, begins.
    fragment: u64,
    /// There are no indexes: everything is in the packed inode.
    all_fragment: bool,
}

// Header, h_advise.
pub(super) const COMPACT_2_BYTES: u16 = 0x1;
pub(super) const BIG_CLUSTERS: u16 = 0x2;
const INLINE_END: u16 = 0x8;
const FRAGMENT_END: u16 = 0x20;

/// The most clusters of one file: 384 MiB of memory.
const MOST_CLUSTERS: usize = 1 << 24;

/// What follows the last cluster in the image.
enum End {
    /// Nothing: it is a cluster as the others.
    Cluster,
    /// The last extent of content is in the packed inode.
    Fragment { logical: u64, at: u64 },
}

impl Erofs<'_> {
    /// Adds the blocks of a compressed file, those of its fragment in the packed inode too.
    pub(super) fn compressed(&self, inode: &Inode, blocks: &mut Blocks) -> Result<(), Fault> {
        if inode.size == 0 {
            return Ok(());
        }
        let (clusters, end) = self.clusters(inode)?;
        for cluster in clusters {
            blocks.push(cluster.offset, cluster.length)?;
        }
        let End::Fragment { logical, at } = end else {
            return Ok(());
        };
        let (from, to) = (at, at.saturating_add(inode.size - logical));
        let packed = self.packed_clusters()?;
        // Those that begin before the fragment ends, from the last one that begins at or before it.
        let first = packed
            .partition_point(|cluster| cluster.logical <= from)
            .saturating_sub(1);
        for cluster in packed[first..].iter().take_while(|cluster| cluster.logical < to) {
            // Any number of inodes may say that their content is all of the packed inode.
            self.bytes.spend(size_of::<Cluster>() as u64)?;
            blocks.push(cluster.offset, cluster.length)?;
        }
        Ok(())
    }

    fn packed_clusters(&self) -> Result<&[Cluster], Fault> {
        if let Some(clusters) = self.packed_clusters.get() {
            return Ok(clusters);
        }
        let number = self
            .packed
            .ok_or(Fault::Malformed("it is in a packed inode, and there is none"))?;
        let inode = self.inode(number)?;
        let clusters = match inode.layout {
            COMPRESSED_FULL | COMPRESSED_COMPACT if inode.size > 0 => match self.clusters(&inode)? {
                (clusters, End::Cluster) => clusters,
                (_, End::Fragment { .. }) => {
                    return Err(Fault::Malformed("the packed inode is in the packed inode"));
                }
            },
            // One that is not compressed: a fragment's place in it is its place in the image.
            _ => {
                let mut logical = 0;
                let mut clusters = Vec::new();
                for (start, length) in self.flat(&inode) {
                    let block_size = self.block_size();
                    let count = length.div_ceil(block_size);
                    if count > MOST_CLUSTERS as u64 {
                        return Err(too_many());
                    }
                    clusters.extend((0..count).map(|index| Cluster {
                        logical: logical + index * block_size,
                        offset: start.saturating_add(index * block_size),
                        length: block_size.min(length - index * block_size),
                    }));
                    logical += length;
                }
                clusters
            }
        };
        Ok(self.packed_clusters.get_or_init(|| clusters))
    }

    /// The clusters of a file that is not empty, in the order of its content.
    fn clusters(&self, inode: &Inode) -> Result<(Vec<Cluster>, End), Fault> {
        let header = self.header(inode)?;
        if header.all_fragment {
            let end = End::Fragment {
                logical: 0,
                at: header.fragment,
            };
            return Ok((Vec::new(), end));
        }
        let mut indexes = Indexes::read(self, inode, &header)?;
        let mut clusters: Vec<Cluster> = Vec::new();
        // Whether the last index began a cluster: the next one may say how long it is.
        let mut fresh = false;
        let mut place: u64 = 0;
        while let Some(cut) = indexes.next()? {
            let here = place << header.cluster_bits;
            place += 1;
            match cut {
                Cut::Head { offset, block } => {
                    let logical = here + offset;
                    // An index that says where the content ends.
                    fresh = logical < inode.size;
                    if !fresh {
                        continue;
                    }
                    let in_order = clusters
                        .last()
                        .map_or(logical == 0, |last| last.logical < logical);
                    if !in_order {
                        return Err(Fault::Malformed("its compressed clusters are not in order"));
                    }
                    if clusters.len() == MOST_CLUSTERS {
                        return Err(too_many());
                    }
                    clusters.push(Cluster {
                        logical,
                        offset: block << self.block_bits,
                        length: 1 << header.cluster_bits,
                    });
                }
                Cut::Rest { blocks } => {
                    if let (true, Some(blocks), Some(last)) = (fresh, blocks, clusters.last_mut()) {
                        last.length = blocks << self.block_bits;
                    }
                    fresh = false;
                }
            }
        }
        let end = match clusters.last().copied() {
            None => return Err(Fault::Malformed("its first compressed cluster is missing")),
            Some(last) if header.advice & FRAGMENT_END != 0 => {
                clusters.pop();
                // The place of a fragment beyond 4 GiB goes on where the cluster's address would be.
                let high = match inode.layout {
                    COMPRESSED_FULL => (last.offset >> self.block_bits) << 32,
                    _ => 0,
                };
                End::Fragment {
                    logical: last.logical,
                    at: high | header.fragment,
                }
            }
            Some(last) if header.advice & INLINE_END != 0 => {
                clusters.pop();
                clusters.push(Cluster {
                    offset: indexes.end(),
                    length: u64::from(header.inline_length),
                    ..last
                });
                End::Cluster
            }
            Some(_) => End::Cluster,
        };
        // As Linux's z_erofs_get_extent_compressedlen has it; only the place of a fragment may say zero.
        if clusters.iter().any(|cluster| cluster.length == 0) {
            return Err(Fault::Malformed("a compressed cluster has no blocks"));
        }
        Ok((clusters, end))
    }

    fn header(&self, inode: &Inode) -> Result<Header, Fault> {
        /// Everything is in the packed inode, at the other 63 bits.
        const ALL_FRAGMENT: u64 = 1 << 63;
        let at = inode.end.next_multiple_of(8);
        let bytes: [u8; 8] = self.bytes.array(at)?;
        let whole = u64_at(&bytes, 0);
        if whole & ALL_FRAGMENT != 0 {
            return Ok(Header {
                at,
                cluster_bits: 0,
                advice: FRAGMENT_END,
                inline_length: 0,
                fragment: whole ^ ALL_FRAGMENT,
                all_fragment: true,
            });
        }
        let advice = u16_at(&bytes, 4);
        if inode.layout == COMPRESSED_FULL && advice & COMPACT_2_BYTES != 0 {
            return Err(Fault::Unsupported("extents of compressed content"));
        }
        Ok(Header {
            at,
            cluster_bits: self.block_bits + u32::from(bytes[7] & 0xF),
            advice,
            inline_length: u16_at(&bytes, 2),
            fragment: u64::from(u32_at(&bytes, 0)),
            all_fragment: false,
        })
    }
}

fn too_many() -> Fault {
    Fault::TooMuch {
        what: "compressed clusters of one file",
        most: MOST_CLUSTERS as u64,
    }
}
