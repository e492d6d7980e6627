//! Digests of image files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use millet_protocol::Sha256Digest;
use sha2::{Digest, Sha256};

/// SHA-256 of a file.
pub fn of_file(path: &Path) -> io::Result<Sha256Digest> {
    of(File::open(path)?)
}

/// SHA-256 of a file's first bytes: of the image in a partition that is larger.
pub fn of_beginning(path: &Path, length: u64) -> io::Result<Sha256Digest> {
    of(File::open(path)?.take(length))
}

fn of(mut bytes: impl Read) -> io::Result<Sha256Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(Sha256Digest(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
