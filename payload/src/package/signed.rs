//! A payload as the package carries it: its manifest changed, its signatures new, its blobs as they were.

use std::io;

use millet_protocol::Sha256Digest;
use prost::Message;
use sha2::{Digest, Sha256};

use super::dynamic::DYNAMIC_PARTITION_METADATA;
use super::fields::Fields;
use super::signature;
use super::{Description, PackageError, PayloadKey, PayloadProperties, SignatureKind};
use crate::format::header::Header;
use crate::format::manifest::DeltaArchiveManifest;
use crate::format::{HEADER_SIZE, LONGEST_HEAD, LONGEST_SIGNATURE};
use crate::read::{Head, HeadError, ReadHeadError};
use crate::storage::{COPY_BUFFER, ReadAt, step};

/// Fields of `DeltaArchiveManifest` in AOSP's `update_metadata.proto`.
const SIGNATURES_OFFSET: u64 = 4;
const SIGNATURES_SIZE: u64 = 5;
const MAX_TIMESTAMP: u64 = 14;
const SECURITY_PATCH_LEVEL: u64 = 18;

/// A payload about to be written.
pub(super) struct NewPayload<'a> {
    from: &'a dyn ReadAt,
    old: Head,
    /// Header and manifest.
    head: Vec<u8>,
    signatures: Signatures<'a>,
    dynamic: bool,
}

enum Signatures<'a> {
    None,
    /// Bytes of the message behind the blobs; that behind the head is as long as it was.
    Kept(u64),
    New(&'a dyn PayloadKey),
}

impl<'a> NewPayload<'a> {
    /// Reads the head of `from` and decides what becomes of it.
    pub(super) fn of(
        from: &'a dyn ReadAt,
        description: &Description,
        key: Option<&'a dyn PayloadKey>,
    ) -> Result<Self, PackageError> {
        let (old, bytes) = Head::read(from)?;
        let manifest = &bytes[HEADER_SIZE..];
        let mut fields = Fields::parse(manifest)?;
        // int64: the bits of a negative number, were there one, are those of a u64.
        fields.set_varint(MAX_TIMESTAMP, description.timestamp.cast_unsigned());
        if let Some(level) = &description.security_patch {
            fields.set_bytes(SECURITY_PATCH_LEVEL, level.as_bytes());
        }
        if let Some(dynamic) = &description.dynamic {
            dynamic.set(&mut fields, &old)?;
        }
        let dynamic = fields.has(DYNAMIC_PARTITION_METADATA);
        let changed = fields.encode();
        let decoded = DeltaArchiveManifest::decode(manifest)
            .map_err(|error| ReadHeadError::from(HeadError::Manifest(error)))?;
        let signatures_size = decoded.signatures_size();
        if signatures_size > LONGEST_SIGNATURE {
            let what = "signature";
            let size = signatures_size;
            return Err(ReadHeadError::from(HeadError::TooLong { what, size }).into());
        }
        let signatures = match key {
            Some(key) => Signatures::New(key),
            None if signatures_size > 0 && changed == manifest => Signatures::Kept(signatures_size),
            None => Signatures::None,
        };
        let (manifest, signature_size) = match &signatures {
            Signatures::None => (resigned(&changed, None)?, 0),
            Signatures::Kept(_) => (changed, old.blobs_offset() - old.metadata_size()),
            Signatures::New(key) => {
                let size = signature::size(*key);
                (resigned(&changed, Some((old.blobs_length(), size)))?, size)
            }
        };
        let header = Header {
            manifest_size: manifest.len() as u64,
            signature_size,
        };
        if header.metadata_size() > LONGEST_HEAD {
            return Err(PackageError::LongManifest);
        }
        let head = [header.bytes().as_slice(), &manifest].concat();
        Ok(Self {
            from,
            old,
            head,
            signatures,
            dynamic,
        })
    }

    pub(super) fn is_delta(&self) -> bool {
        self.old.is_delta()
    }

    pub(super) fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    pub(super) fn signature(&self) -> SignatureKind {
        match self.signatures {
            Signatures::None => SignatureKind::Unsigned,
            Signatures::Kept(_) => SignatureKind::Kept,
            Signatures::New(_) => SignatureKind::New,
        }
    }

    /// Bytes of header, manifest and metadata signature.
    pub(super) fn blobs_offset(&self) -> u64 {
        self.head.len() as u64
            + match self.signatures {
                Signatures::None => 0,
                Signatures::Kept(_) => self.old.blobs_offset() - self.old.metadata_size(),
                Signatures::New(key) => signature::size(key),
            }
    }

    /// Bytes in all.
    pub(super) fn size(&self) -> u64 {
        let signature = match self.signatures {
            Signatures::None => 0,
            Signatures::Kept(size) => size,
            Signatures::New(key) => signature::size(key),
        };
        self.blobs_offset() + self.old.blobs_length() + signature
    }

    /// Writes it. What is signed is the SHA-256 of the head for the message behind it, and that of head and blobs for
    /// the message behind those (`payload_signer.cc`, `CalculateHashFromPayload`).
    pub(super) fn write(
        &self,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PayloadProperties, PackageError> {
        let mut file = Sha256::new();
        let mut put = |bytes: &[u8]| {
            file.update(bytes);
            out(bytes).map_err(PackageError::Write)
        };
        let metadata_sha256 = digest(Sha256::new_with_prefix(&self.head));
        put(&self.head)?;
        match self.signatures {
            Signatures::None => {}
            Signatures::Kept(_) => {
                let size = self.old.blobs_offset() - self.old.metadata_size();
                self.copy(self.old.metadata_size(), size, &mut put)?;
            }
            Signatures::New(key) => put(&signature::sign(key, &metadata_sha256)?)?,
        }
        let mut signed = Sha256::new_with_prefix(&self.head);
        self.blobs(
            &mut |blob| {
                if matches!(self.signatures, Signatures::New(_)) {
                    signed.update(blob);
                }
                put(blob)
            },
            progress,
        )?;
        match self.signatures {
            Signatures::None => {}
            Signatures::Kept(size) => {
                // Inside the file: both are bounded by what a head may say.
                self.copy(self.old.blobs_offset() + self.old.blobs_length(), size, &mut put)?;
            }
            Signatures::New(key) => put(&signature::sign(key, &digest(signed))?)?,
        }
        Ok(PayloadProperties {
            file_sha256: digest(file),
            file_size: self.size(),
            metadata_sha256,
            metadata_size: self.head.len() as u64,
        })
    }

    /// The blobs in their order, each compared with its SHA-256.
    fn blobs(
        &self,
        put: &mut dyn FnMut(&[u8]) -> Result<(), PackageError>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), PackageError> {
        let (start, total) = (self.old.blobs_offset(), self.old.blobs_length());
        let mut buffer = Vec::new();
        for partition in self.old.partitions() {
            for (index, operation) in partition.operations.iter().enumerate() {
                let Some(blob) = operation.blob() else { continue };
                // At most LONGEST_BLOB.
                buffer.resize(blob.length as usize, 0);
                self.from
                    .read_exact_at(&mut buffer, start + blob.offset)
                    .map_err(PackageError::Read)?;
                if Sha256::digest(&buffer)[..] != blob.sha256.0 {
                    return Err(PackageError::OtherBlob {
                        partition: partition.name.clone(),
                        index,
                    });
                }
                put(&buffer)?;
                progress(blob.offset + blob.length, total);
            }
        }
        Ok(())
    }

    fn copy(
        &self,
        mut from: u64,
        mut left: u64,
        put: &mut dyn FnMut(&[u8]) -> Result<(), PackageError>,
    ) -> Result<(), PackageError> {
        let mut buffer = vec![0; COPY_BUFFER];
        while left > 0 {
            let length = step(left, buffer.len());
            self.from
                .read_exact_at(&mut buffer[..length], from)
                .map_err(PackageError::Read)?;
            put(&buffer[..length])?;
            from += length as u64;
            left -= length as u64;
        }
        Ok(())
    }
}

/// The manifest with other signatures: their offset from the first blob, and their bytes.
fn resigned(manifest: &[u8], signatures: Option<(u64, u64)>) -> Result<Vec<u8>, PackageError> {
    let mut fields = Fields::parse(manifest)?;
    match signatures {
        Some((offset, size)) => {
            fields.set_varint(SIGNATURES_OFFSET, offset);
            fields.set_varint(SIGNATURES_SIZE, size);
        }
        None => {
            fields.remove(SIGNATURES_OFFSET);
            fields.remove(SIGNATURES_SIZE);
        }
    }
    Ok(fields.encode())
}

fn digest(hasher: Sha256) -> Sha256Digest {
    Sha256Digest(hasher.finalize().into())
}
