//! What engineers hand over, turned into named images: a folder, an OTA zip, a zip of images, a payload.

mod error;
mod folder;
mod package;
mod payload;
mod sequence;
mod sparse;
pub(crate) mod zip;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use millet_protocol::PartitionName;

use crate::format::LARGEST_PARTITION;
use crate::storage::{Image, ReadAt};

pub use error::InputError;
pub use sequence::Sequence;
pub use sparse::{SparseError, SparseImage};
pub use zip::ZipError;

/// Images of a build, open for reading. What had to be unpacked lies in unnamed files that vanish with it.
pub struct Input {
    kind: InputKind,
    members: BTreeMap<PartitionName, Member>,
}

/// What an input was recognised as, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// A folder of `<partition>.img`.
    Folder,
    /// A zip with a `payload.bin` that is a full payload.
    Package,
    /// A zip of `<partition>.img`.
    Zip,
    /// A full payload.
    Payload,
}

/// How an image was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageForm {
    /// Byte for byte.
    Raw,
    /// In Android's sparse format.
    Sparse,
    /// Made by a payload's operations.
    Made,
}

/// One image of an input.
pub struct Member {
    /// Where it came from, for people: a path, or a path and what inside it.
    pub origin: String,
    /// How it was found there.
    pub form: ImageForm,
    /// Its bytes.
    pub bytes: Box<dyn ReadAt>,
}

impl Input {
    /// Opens what lies at `path`: a folder, or a file that [`Input::read`] reads.
    pub fn open(path: &Path, scratch: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Self, InputError> {
        let origin = path.display().to_string();
        if path.is_dir() {
            return Self::new(origin, (InputKind::Folder, folder::open(path)?));
        }
        let file = File::open(path).map_err(InputError::open(&origin))?;
        Self::read(Arc::new(file), origin, scratch, progress)
    }

    /// Reads a file, called `origin` when something is wrong with it.
    ///
    /// What must be unpacked goes into unnamed files in the directory `scratch`, which needs room for that;
    /// `progress` hears bytes of the input done and bytes in all meanwhile.
    pub fn read(
        file: Arc<dyn ReadAt>,
        origin: String,
        scratch: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, InputError> {
        let found = match magic(&*file).map_err(InputError::read(&origin))? {
            ZIP_MAGIC => package::open(file, &origin, scratch, progress)?,
            PAYLOAD_MAGIC => (
                InputKind::Payload,
                payload::open(&*file, &origin, scratch, progress)?,
            ),
            _ => return Err(InputError::Unknown(origin)),
        };
        Self::new(origin, found)
    }

    fn new(origin: String, (kind, members): (InputKind, Members)) -> Result<Self, InputError> {
        if members.is_empty() {
            return Err(InputError::NoImages { origin, kind });
        }
        Ok(Self { kind, members })
    }

    /// What the input was recognised as.
    pub fn kind(&self) -> InputKind {
        self.kind
    }

    /// The images, by partition, as the makers of payloads want them.
    pub fn images(&self) -> Vec<Image<'_>> {
        self.members
            .iter()
            .map(|(name, member)| Image {
                name: name.clone(),
                bytes: &*member.bytes,
            })
            .collect()
    }

    /// The images with where they came from, by partition.
    pub fn members(&self) -> &BTreeMap<PartitionName, Member> {
        &self.members
    }
}

/// The payload at `path`, which is a payload or an OTA package that holds one; nothing of it is checked yet.
///
/// One that is compressed in its package is unpacked to an unnamed file in the directory `scratch`.
pub fn open_payload(path: &Path, scratch: &Path) -> Result<Box<dyn ReadAt>, InputError> {
    let origin = path.display().to_string();
    let file = File::open(path).map_err(InputError::open(&origin))?;
    match magic(&file).map_err(InputError::read(&origin))? {
        ZIP_MAGIC => package::payload(Arc::new(file), &origin, scratch),
        _ => Ok(Box::new(file)),
    }
}

impl fmt::Display for InputKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Folder => "folder of images",
            Self::Package => "OTA zip",
            Self::Zip => "zip of images",
            Self::Payload => "full payload",
        })
    }
}

impl fmt::Display for ImageForm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Raw => "raw image",
            Self::Sparse => "Android sparse image",
            Self::Made => "image made by a payload",
        })
    }
}

/// The images that an input holds.
type Members = BTreeMap<PartitionName, Member>;

const PAYLOAD_MAGIC: [u8; 4] = *b"CrAU";

/// A zip's first local header. One without entries begins otherwise, and has no images.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// The first four bytes; zeros for a shorter file.
fn magic(bytes: &dyn ReadAt) -> io::Result<[u8; 4]> {
    let mut magic = [0; 4];
    if bytes.size()? >= magic.len() as u64 {
        bytes.read_exact_at(&mut magic, 0)?;
    }
    Ok(magic)
}

/// Adds an image whose file is called `<partition>.img`, whatever form it has.
fn insert(
    members: &mut Members,
    stem: &str,
    origin: String,
    bytes: Box<dyn ReadAt>,
) -> Result<(), InputError> {
    let name: PartitionName = stem.parse().map_err(|error| InputError::Name {
        origin: origin.clone(),
        error,
    })?;
    let (form, bytes): (_, Box<dyn ReadAt>) = match magic(&bytes).map_err(InputError::read(&origin))? {
        sparse::MAGIC => {
            let image = SparseImage::open(bytes).map_err(|error| InputError::Sparse {
                origin: origin.clone(),
                error,
            })?;
            (ImageForm::Sparse, Box::new(image))
        }
        _ => (ImageForm::Raw, bytes),
    };
    let size = bytes.size().map_err(InputError::read(&origin))?;
    if size == 0 {
        return Err(InputError::Empty(origin));
    }
    if size > LARGEST_PARTITION {
        return Err(InputError::TooLarge { origin, size });
    }
    let member = Member { origin, form, bytes };
    if let Some(other) = members.insert(name.clone(), member) {
        return Err(InputError::Twice {
            partition: name,
            origin: other.origin,
        });
    }
    Ok(())
}
