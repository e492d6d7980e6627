//! Applies a payload to files and looks at the result: how a maker sees that a payload is right.

mod follow;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread::Scope;

use millet_protocol::PartitionName;

use crate::apply::{ApplyError, Checkpoint, Observer, apply, check_sources};
use crate::read::Head;
use crate::storage::{Image, Padded, ReadAt, Slots, Target};

use follow::{Hashing, Written, follow};

/// Why a payload does not make what it promises.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be applied.
    #[error("the payload could not be applied")]
    Apply(#[from] ApplyError),
    /// What was written could not be read back.
    #[error("partition {partition} could not be read back")]
    ReadBack {
        /// The partition.
        partition: PartitionName,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The operations make something else than the head promises.
    #[error("partition {0} was made, but has another SHA-256 than the payload promises")]
    OtherResult(PartitionName),
}

/// Applies a payload to files in the directory `scratch`, which vanish afterwards. See [`make_images`].
pub fn verify(
    head: &Head,
    blobs: &mut dyn Read,
    old: &[Image],
    scratch: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), VerifyError> {
    let create = |_: &PartitionName| tempfile::tempfile_in(scratch);
    make_images(head, blobs, old, &create, progress).map(drop)
}

/// What a payload makes.
pub type Made = BTreeMap<PartitionName, Arc<File>>;

/// Applies a payload whose `blobs` follow its head to the empty files that `create` opens, and compares each
/// partition's hash with what the head promises. `old` are the images that a delta reads; `progress` hears bytes of
/// blobs done. Nothing is synced: that is for the files' owner.
///
/// A thread for each partition reads it back and hashes it while it is being written.
pub fn make_images(
    head: &Head,
    blobs: &mut dyn Read,
    old: &[Image],
    create: &dyn Fn(&PartitionName) -> io::Result<File>,
    progress: &mut dyn FnMut(u64),
) -> Result<Made, VerifyError> {
    std::thread::scope(|scope| {
        let slots = FileSlots {
            old,
            create,
            scope,
            made: RefCell::default(),
        };
        if let Err(error) = apply(head, Checkpoint::default(), blobs, &slots, &mut Follow(progress)) {
            // Which operation met other bytes says little; that the whole image is another one says what to do.
            if let ApplyError::HashMismatch { what: "source", .. } = &error {
                check_sources(head, &slots, &mut |_, _| ())?;
            }
            return Err(error.into());
        }
        let mut made = slots.made.into_inner();
        let mut files = Made::new();
        for partition in head.partitions() {
            let name = &partition.name;
            let (file, hashing) = made.remove(name).ok_or_else(|| VerifyError::ReadBack {
                partition: name.clone(),
                error: io::ErrorKind::NotFound.into(),
            })?;
            let read_back = |error| VerifyError::ReadBack {
                partition: name.clone(),
                error,
            };
            if hashing.sha256().map_err(read_back)? != partition.new.sha256 {
                return Err(VerifyError::OtherResult(name.clone()));
            }
            files.insert(name.clone(), file);
        }
        Ok(files)
    })
}

struct Follow<'a>(&'a mut dyn FnMut(u64));

impl Observer for Follow<'_> {
    fn written(&mut self, blob_bytes_done: u64) {
        (self.0)(blob_bytes_done);
    }

    fn checkpoint(&mut self, _: Checkpoint) -> io::Result<()> {
        Ok(())
    }

    fn stop(&self) -> bool {
        false
    }
}

struct FileSlots<'scope, 'a> {
    old: &'a [Image<'a>],
    create: &'a dyn Fn(&PartitionName) -> io::Result<File>,
    scope: &'scope Scope<'scope, 'a>,
    made: RefCell<BTreeMap<PartitionName, (Arc<File>, Hashing<'scope>)>>,
}

impl Slots for FileSlots<'_, '_> {
    fn source(&self, name: &PartitionName) -> io::Result<Box<dyn ReadAt + '_>> {
        let image = self
            .old
            .iter()
            .find(|image| image.name == *name)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Padded::new(image.bytes)?))
    }

    fn target(&self, name: &PartitionName, size: u64) -> io::Result<Box<dyn Target>> {
        let file = (self.create)(name)?;
        file.set_len(size)?;
        let file = Arc::new(file);
        let (written, hashing) = follow(self.scope, file.clone(), size)?;
        self.made
            .borrow_mut()
            .insert(name.clone(), (file.clone(), hashing));
        Ok(Box::new(NewFile { file, written }))
    }
}

/// A file that has to be made again after a power cut.
struct NewFile {
    file: Arc<File>,
    written: Written,
}

impl Target for NewFile {
    fn write_all_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&*self.file, data, offset)?;
        self.written.add(offset, data.len() as u64);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for NewFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&*self.file)
    }
}
