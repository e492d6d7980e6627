//! Two full payloads in, one proven delta out. Blocks for as long as it takes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use millet_payload::{
    ApplyError, Checkpoint, GenerateError, Head, HeadError, Image, Observer, Options, PREFIX, ReadAt, Slots,
    Target, VerifyError,
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
        source: HeadError,
    },
    /// A full payload could not be turned back into images.
    #[error("restore the images of {build}")]
    Restore {
        /// The build.
        build: String,
        /// What went wrong.
        source: ApplyError,
    },
    /// The images are not those that were signed.
    #[error("the payload of {build} does not make the {partition} that its manifest lists")]
    OtherImage {
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
    /// The delta makes another build.
    #[error("the delta makes other partitions than the manifest lists")]
    OtherBuild(#[source] HeadError),
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
    let head = open_head(&mut file, &path)?;
    head.check_against(&task.to.partitions)
        .map_err(MakeError::OtherBuild)?;
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
fn restore(
    payload: &Path,
    manifest: &BuildManifest,
    folder: &Path,
) -> Result<BTreeMap<PartitionName, File>, MakeError> {
    std::fs::create_dir(folder).map_err(file_error("create", folder))?;
    let mut file = File::open(payload).map_err(file_error("open", payload))?;
    let head = open_head(&mut file, payload)?;
    let build = || manifest.build.to_string();
    seek(&mut file, payload, head.blobs_offset())?;
    let slots = Folder(folder);
    let applied = millet_payload::apply(
        &head,
        Checkpoint::default(),
        &mut BufReader::new(file),
        &slots,
        &mut Unwatched,
    );
    applied.map_err(|source| MakeError::Restore {
        build: build(),
        source,
    })?;
    let mut images = BTreeMap::new();
    for entry in &manifest.partitions {
        let path = slots.path(&entry.name);
        let file = File::open(&path).map_err(file_error("open", &path))?;
        let sha256 =
            millet_payload::hash(&file, entry.size, &mut |_| ()).map_err(file_error("read back", &path))?;
        if sha256 != entry.sha256 {
            return Err(MakeError::OtherImage {
                build: build(),
                partition: entry.name.clone(),
            });
        }
        images.insert(entry.name.clone(), file);
    }
    Ok(images)
}

fn images(files: &BTreeMap<PartitionName, File>) -> Vec<Image<'_>> {
    files
        .iter()
        .map(|(name, file)| Image {
            name: name.clone(),
            bytes: file,
        })
        .collect()
}

fn open_head(file: &mut File, path: &Path) -> Result<Head, MakeError> {
    let no_head = |source| MakeError::Head {
        path: path.to_owned(),
        source,
    };
    seek(file, path, 0)?;
    let mut prefix = [0; PREFIX];
    file.read_exact(&mut prefix).map_err(file_error("read", path))?;
    let size = millet_payload::metadata_size(&prefix).map_err(no_head)?;
    let mut head = prefix.to_vec();
    let rest = size.saturating_sub(PREFIX as u64);
    file.take(rest)
        .read_to_end(&mut head)
        .map_err(file_error("read", path))?;
    Head::parse(&head).map_err(no_head)
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

/// A folder of images as the slot that a full payload is written to.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn path(&self, name: &PartitionName) -> PathBuf {
        self.0.join(format!("{name}.img"))
    }
}

impl Slots for Folder<'_> {
    fn source(&self, name: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        Err(io::Error::other(format!("a full payload reads no {name}")))
    }

    fn target(&self, name: &PartitionName, size: u64) -> io::Result<Box<dyn Target>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name))?;
        file.set_len(size)?;
        Ok(Box::new(ImageFile(file)))
    }
}

/// An image that nobody needs after a power cut.
struct ImageFile(File);

impl Target for ImageFile {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(&self.0, data, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl ReadAt for ImageFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(&self.0, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.0)
    }
}

struct Unwatched;

impl Observer for Unwatched {
    fn written(&mut self, _: u64) {}

    fn checkpoint(&mut self, _: Checkpoint) -> io::Result<()> {
        Ok(())
    }

    fn stop(&self) -> bool {
        false
    }
}
