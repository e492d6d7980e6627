//! Digests of image files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use millet_protocol::Sha256Digest;
use sha2::{Digest, Sha256};

/// SHA-256 of a file.
pub fn of_file(path: &Path) -> io::Result<Sha256Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}
