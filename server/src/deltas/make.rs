//! Two full payloads in, one proven delta out. Blocks for as long as it takes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use millet_payload::{
    GenerateError, Head, HeadError, Image, Made as Images, Options, ReadHeadError, VerifyError,
};
use millet_protocol::{BuildManifest, PartitionName, Sha256Digest};
use sha2::{Digest, Sha256};

use crate::store::FinishedDelta;

/// What to make.
#[derive(Debug)]
pub struct Task {
    /// Full payload of the source build.
    pub from_payload: PathBuf,
    /// Full payload of the target build.
    pub to_payload: PathBuf,
    /// The source build.
    pub from: BuildManifest,
    /// The target build.
    pub to: BuildManifest,
    /// Where images and the delta are put.
    pub folder: PathBuf,
}

/// A delta that makes the target build from the source build.
#[derive(Debug)]
pub struct Made {
    /// The file, inside the task's folder.
    pub path: PathBuf,
    /// What it is.
    pub delta: FinishedDelta,
}

/// Why a delta could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A file.
    #[error("{operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A payload's head.
    #[error("read the head of {path}")]
    Head {
        /// The payload.
        path: PathBuf,
        /// What is wrong.
        source: ReadHeadError,
    },
    /// A full payload could not be turned back into images.
    #[error("restore the images of {build}")]
    Restore {
        /// The build.
        build: String,
        /// What went wrong.
        source: VerifyError,
    },
    /// A partition is missing.
    #[error("the payload of {build} does not make the {partition} that its manifest lists")]
    LeftOut {
        /// The build.
        build: String,
        /// The partition.
        partition: PartitionName,
    },
    /// The generator.
    #[error("make the delta")]
    Generate(#[source] GenerateError),
    /// The delta does not do what it says.
    #[error("apply the delta as a proof")]
    Proof(#[source] VerifyError),
    /// A payload makes another build.
    #[error("{path} makes other partitions than the manifest lists")]
    OtherBuild {
        /// The payload.
        path: PathBuf,
        /// What differs.
        source: HeadError,
    },
}

/// Makes the delta, applies it to the restored source images and compares what comes out with the manifest.
pub fn delta(task: &Task) -> Result<Made, MakeError> {
    let old = restore(&task.from_payload, &task.from, &task.folder.join("from"))?;
    let new = restore(&task.to_payload, &task.to, &task.folder.join("to"))?;
    let path = task.folder.join("delta.payload");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(file_error("create", &path))?;
    let (old, new) = (images(&old), images(&new));
    let options = Options {
        scratch: task.folder.clone(),
        ..Options::default()
    };
    let summary =
        millet_payload::write_delta(&old, &new, &options, &(), &mut file).map_err(MakeError::Generate)?;
    let head = head(&file, &path)?;
    head.check_against(&task.to.partitions)
        .map_err(|source| MakeError::OtherBuild {
            path: path.clone(),
            source,
        })?;
    seek(&mut file, &path, head.blobs_offset())?;
    let mut blobs = BufReader::new(&mut file);
    millet_payload::verify(&head, &mut blobs, &old, &task.folder, &mut |_| ()).map_err(MakeError::Proof)?;
    let (size, sha256) = digest(&mut file, &path)?;
    Ok(Made {
        path,
        delta: FinishedDelta {
            size,
            sha256,
            metadata_size: summary.metadata_size,
            metadata_sha256: summary.metadata_sha256,
        },
    })
}

/// Turns a full payload back into images, which have the manifest's hashes.
fn restore(payload: &Path, manifest: &BuildManifest, folder: &Path) -> Result<Images, MakeError> {
    std::fs::create_dir(folder).map_err(file_error("create", folder))?;
    let mut file = File::open(payload).map_err(file_error("open", payload))?;
    let head = head(&file, payload)?;
    let other = |partition: &PartitionName| MakeError::LeftOut {
        build: manifest.build.to_string(),
        partition: partition.clone(),
    };
    head.check_against(&manifest.partitions)
        .map_err(|source| MakeError::OtherBuild {
            path: payload.to_owned(),
            source,
        })?;
    seek(&mut file, payload, head.blobs_offset())?;
    let create = |name: &PartitionName| {
        let path = folder.join(format!("{name}.img"));
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
    };
    let images = millet_payload::make_images(&head, &mut BufReader::new(file), &[], &create, &mut |_| ())
        .map_err(|source| MakeError::Restore {
            build: manifest.build.to_string(),
            source,
        })?;
    let left_out = manifest
        .partitions
        .iter()
        .find(|entry| !images.contains_key(&entry.name));
    left_out.map_or(Ok(images), |entry| Err(other(&entry.name)))
}

fn images(files: &Images) -> Vec<Image<'_>> {
    files
        .iter()
        .map(|(name, file)| Image {
            name: name.clone(),
            bytes: file,
        })
        .collect()
}

fn head(payload: &File, path: &Path) -> Result<Head, MakeError> {
    let (head, _) = Head::read(payload).map_err(|source| MakeError::Head {
        path: path.to_owned(),
        source,
    })?;
    Ok(head)
}

fn digest(file: &mut File, path: &Path) -> Result<(u64, Sha256Digest), MakeError> {
    seek(file, path, 0)?;
    let mut hasher = Sha256::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(file_error("read", path))?;
        if count == 0 {
            return Ok((size, Sha256Digest(hasher.finalize().into())));
        }
        hasher.update(&buffer[..count]);
        size = size.saturating_add(count as u64);
    }
}

fn seek(file: &mut File, path: &Path, offset: u64) -> Result<(), MakeError> {
    file.seek(SeekFrom::Start(offset))
        .map(drop)
        .map_err(file_error("seek in", path))
}

fn file_error(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> MakeError {
    let path = path.to_owned();
    move |source| MakeError::File {
        operation,
        path: path.clone(),
        source,
    }
}
