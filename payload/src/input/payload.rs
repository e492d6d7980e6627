//! A full payload, also of other people's making: its images are what it makes.

use std::io::BufReader;
use std::path::Path;

use millet_protocol::PartitionName;

use super::sequence::Sequence;
use super::{ImageForm, InputError, Member, Members};
use crate::read::Head;
use crate::storage::ReadAt;
use crate::verify;

/// Applies the payload to files in `scratch` and keeps what it makes, each with the SHA-256 that its head promises.
pub(super) fn open(
    bytes: &dyn ReadAt,
    origin: &str,
    scratch: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Members, InputError> {
    let (head, _) = Head::read(bytes).map_err(|error| InputError::Head {
        origin: origin.to_owned(),
        error,
    })?;
    if head.is_delta() {
        return Err(InputError::Delta(origin.to_owned()));
    }
    let blobs = Sequence::new(bytes, head.blobs_offset(), head.blobs_length());
    let mut blobs = BufReader::with_capacity(1 << 20, blobs);
    let total = head.blobs_length();
    let create = |_: &PartitionName| tempfile::tempfile_in(scratch);
    let made = verify::make_images(&head, &mut blobs, &[], &create, &mut |done| progress(done, total));
    let made = made.map_err(|error| InputError::Make {
        origin: origin.to_owned(),
        error,
    })?;
    let member = |(name, file)| {
        let member = Member {
            origin: format!("{origin}: {name}"),
            form: ImageForm::Made,
            bytes: Box::new(file) as Box<dyn ReadAt>,
        };
        (name, member)
    };
    Ok(made.into_iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bzip2::Compression;
    use bzip2::write::BzEncoder;
    use liblzma::stream::{Check, Stream};
    use liblzma::write::XzEncoder;
    use millet_protocol::BLOCK_SIZE;
    use prost::Message;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::format::header::Header;
    use crate::format::manifest::{
        DeltaArchiveManifest, Extent, InstallOperation, PartitionInfo, PartitionUpdate,
    };

    const BLOCK: usize = BLOCK_SIZE as usize;

    fn xz(data: &[u8]) -> Vec<u8> {
        let stream = Stream::new_easy_encoder(6, Check::Crc32).unwrap();
        let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(data: &[u8]) -> Vec<u8> {
        let mut encoder = BzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// As AOSP's generator writes them, with what ours does not use: bzip2, ZERO and DISCARD, several extents, signatures.
    fn foreign(image: &[u8]) -> Vec<u8> {
        let block = |at: usize| &image[at * BLOCK..(at + 1) * BLOCK];
        let steps = [
            (8, xz(&image[..2 * BLOCK]), vec![(0, 2)]),
            (1, bzip2(&[block(5), block(2)].concat()), vec![(5, 1), (2, 1)]),
            (6, Vec::new(), vec![(3, 1)]),
            (7, Vec::new(), vec![(4, 1)]),
            (0, block(6).to_vec(), vec![(6, 1)]),
        ];
        let mut blobs = Vec::new();
        let mut operations = Vec::new();
        for (kind, data, extents) in steps {
            let has_data = !data.is_empty();
            let extent = |(start, blocks): &(u64, u64)| Extent {
                start_block: Some(*start),
                num_blocks: Some(*blocks),
            };
            operations.push(InstallOperation {
                r#type: kind,
                data_offset: has_data.then_some(blobs.len() as u64),
                data_length: has_data.then_some(data.len() as u64),
                dst_extents: extents.iter().map(extent).collect(),
                data_sha256_hash: has_data.then(|| Sha256::digest(&data).to_vec()),
                ..InstallOperation::default()
            });
            blobs.extend(data);
        }
        let manifest = DeltaArchiveManifest {
            minor_version: Some(0),
            signatures_offset: Some(blobs.len() as u64),
            signatures_size: Some(7),
            partitions: vec![PartitionUpdate {
                partition_name: "system".into(),
                new_partition_info: Some(PartitionInfo {
                    size: Some(image.len() as u64),
                    hash: Some(Sha256::digest(image).to_vec()),
                }),
                operations,
                ..PartitionUpdate::default()
            }],
            ..DeltaArchiveManifest::default()
        };
        let manifest = manifest.encode_to_vec();
        let mut header = Header::unsigned(manifest.len() as u64);
        header[23] = 9;
        [header.as_slice(), &manifest, &[1; 9], &blobs, &[2; 7]].concat()
    }

    #[test]
    fn other_peoples_full_payloads_make_their_images() {
        let mut image: Vec<u8> = (0..7 * BLOCK as u32).map(|at| (at / 7) as u8).collect();
        image[3 * BLOCK..5 * BLOCK].fill(0);
        let payload = foreign(&image);
        let members = open(&payload, "theirs", &std::env::temp_dir(), &mut |_, _| ()).unwrap();
        let member = &members[&"system".parse().unwrap()];
        let mut made = vec![0; image.len()];
        member.bytes.read_exact_at(&mut made, 0).unwrap();
        assert!(made == image);
        // What a device would be left with if a block that is thrown away were not zero.
        image[4 * BLOCK] = 1;
        let other = open(&foreign(&image), "theirs", &std::env::temp_dir(), &mut |_, _| ());
        assert!(matches!(other, Err(InputError::Make { .. })));
    }
}
