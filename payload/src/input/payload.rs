//! A full payload, also of other people's making: its images are what it makes.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::{ImageForm, InputError, Member, Members};
use crate::format::{HEADER_SIZE, metadata_size};
use crate::read::Head;
use crate::storage::{ReadAt, step};
use crate::verify;

/// Applies the payload to files in `scratch` and keeps what it makes, each with the SHA-256 that its head promises.
pub(super) fn open(
    bytes: &dyn ReadAt,
    origin: &str,
    scratch: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Members, InputError> {
    let head = read_head(bytes, origin)?;
    if head.is_delta() {
        return Err(InputError::Delta(origin.to_owned()));
    }
    let mut blobs = BufReader::with_capacity(
        1 << 20,
        Sequential {
            bytes,
            at: head.blobs_offset(),
            left: head.blobs_length(),
        },
    );
    let total = head.blobs_length();
    let made = verify::make(&head, &mut blobs, &[], scratch, &mut |done| progress(done, total));
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

fn read_head(bytes: &dyn ReadAt, origin: &str) -> Result<Head, InputError> {
    let read = |error| InputError::read(origin)(error);
    let refused = |error| InputError::Head {
        origin: origin.to_owned(),
        error,
    };
    let has = bytes.size().map_err(read)?;
    let cut_off = |needs| InputError::CutOff {
        origin: origin.to_owned(),
        has,
        needs,
    };
    let mut prefix = [0; HEADER_SIZE];
    if has < HEADER_SIZE as u64 {
        return Err(cut_off(HEADER_SIZE as u64));
    }
    bytes.read_exact_at(&mut prefix, 0).map_err(read)?;
    let size = metadata_size(&prefix).map_err(refused)?;
    if size > has {
        return Err(cut_off(size));
    }
    let mut head = vec![0; usize::try_from(size).map_err(|_| cut_off(size))?];
    bytes.read_exact_at(&mut head, 0).map_err(read)?;
    let head = Head::parse(&head).map_err(refused)?;
    let needs = head.blobs_offset().saturating_add(head.blobs_length());
    if needs > has {
        return Err(cut_off(needs));
    }
    Ok(head)
}

/// Bytes in their order, from a place on.
struct Sequential<'a> {
    bytes: &'a dyn ReadAt,
    at: u64,
    left: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = step(self.left, buffer.len());
        self.bytes.read_exact_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}
