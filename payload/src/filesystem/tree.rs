//! From directories to a list of files, whatever the filesystem.

use std::collections::{BTreeMap, HashSet};

use millet_protocol::BLOCK_SIZE;

use super::bytes::Bytes;
use super::{Fault, File, FilesystemError, Kind, Subject};
use crate::format::Extent;

/// A filesystem that has been opened.
pub(super) trait Tree {
    /// The inode of the root directory.
    fn root(&self) -> u64;
    /// Reads an inode that a directory, or [`Tree::root`], has named.
    fn node(&self, inode: u64) -> Result<Node, Fault>;
}

/// What an inode is.
pub(super) enum Node {
    Directory(Entries),
    File {
        size: u64,
        extents: Vec<Extent>,
    },
    /// A symbolic link, a device: nothing with content.
    Other,
}

/// The names in a directory, in the order in which they were found.
#[derive(Default)]
pub(super) struct Entries(Vec<Entry>);

struct Entry {
    name: Vec<u8>,
    inode: u64,
}

impl Entries {
    /// Adds a name, which may be anything.
    pub(super) fn push(&mut self, name: &[u8], inode: u64) -> Result<(), Fault> {
        if self.0.len() == MOST_NAMES {
            return Err(too_much("names", MOST_NAMES));
        }
        self.0.push(Entry {
            name: name.to_vec(),
            inode,
        });
        Ok(())
    }
}

/// Finds every regular file with content, ordered by path.
pub(super) fn walk(kind: Kind, tree: &dyn Tree, image: &Bytes) -> Result<Vec<File>, FilesystemError> {
    let mut walk = Walk {
        waiting: vec![(tree.root(), String::new())],
        directories: HashSet::new(),
        names: 0,
        files: BTreeMap::new(),
        path_bytes: 0,
        extents: 0,
        blocks: 0,
        most_blocks: (image.size() / BLOCK_SIZE).saturating_mul(MOST_SHARING),
    };
    while let Some((inode, path)) = walk.waiting.pop() {
        walk.visit(tree, inode, &path).map_err(|fault| FilesystemError {
            kind,
            subject: Subject::Inode {
                number: inode,
                path: path.chars().take(SHOWN_CHARACTERS).collect(),
            },
            fault,
        })?;
    }
    let mut files: Vec<File> = walk
        .files
        .into_values()
        .filter(|file| !file.extents.is_empty())
        .collect();
    // Stable: what is not UTF-8 may give two files one path, and their order must not be chance.
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Linux's PATH_MAX.
const LONGEST_PATH: usize = 4096;

/// Names in all directories together, and bytes of their paths: at most 1.5 GiB of memory, in an image of gigabytes.
const MOST_NAMES: usize = 1 << 24;
const MOST_PATH_BYTES: usize = 256 << 20;

/// Extents of all files together: 512 MiB of memory.
const MOST_EXTENTS: usize = 1 << 25;

/// How many files may share each block, on average: deduplicated images share some. Besides, each file may have its
/// end in a block that many are compressed together in, of 1 MiB at most.
const MOST_SHARING: u64 = 16;
const MOST_SHARED: u64 = (1 << 20) / BLOCK_SIZE + 1;

const SHOWN_CHARACTERS: usize = 80;

struct Walk {
    waiting: Vec<(u64, String)>,
    directories: HashSet<u64>,
    names: usize,
    files: BTreeMap<u64, File>,
    path_bytes: usize,
    extents: usize,
    blocks: u64,
    most_blocks: u64,
}

impl Walk {
    fn visit(&mut self, tree: &dyn Tree, inode: u64, path: &str) -> Result<(), Fault> {
        if let Some(link) = self.files.get_mut(&inode) {
            if path < link.path.as_str() {
                path.clone_into(&mut link.path);
            }
            return Ok(());
        }
        match tree.node(inode)? {
            Node::File { .. } | Node::Other if path.is_empty() => {
                Err(Fault::Malformed("the root is not a directory"))
            }
            Node::Other => Ok(()),
            Node::File { size, extents } => {
                self.count(&extents)?;
                let path = path.to_owned();
                self.files.insert(inode, File { path, size, extents });
                Ok(())
            }
            Node::Directory(entries) => {
                if !self.directories.insert(inode) {
                    return Err(Fault::Malformed(
                        "the directory is in more than one place of the tree",
                    ));
                }
                entries.0.iter().try_for_each(|entry| self.enter(path, entry))
            }
        }
    }

    fn enter(&mut self, directory: &str, entry: &Entry) -> Result<(), Fault> {
        if matches!(entry.name.as_slice(), b"." | b"..") {
            return Ok(());
        }
        if entry.name.is_empty() || entry.name.contains(&b'/') {
            return Err(Fault::Malformed(
                "a name in the directory is empty or has a slash",
            ));
        }
        let name = String::from_utf8_lossy(&entry.name);
        let path = if directory.is_empty() {
            name.into_owned()
        } else {
            format!("{directory}/{name}")
        };
        if path.len() > LONGEST_PATH {
            return Err(Fault::Malformed(
                "the directory lies too deep: a path has more than 4096 bytes",
            ));
        }
        self.names += 1;
        if self.names > MOST_NAMES {
            return Err(too_much("names", MOST_NAMES));
        }
        self.path_bytes += path.len();
        if self.path_bytes > MOST_PATH_BYTES {
            return Err(too_much("bytes of paths", MOST_PATH_BYTES));
        }
        self.waiting.push((entry.inode, path));
        Ok(())
    }

    /// The work of whoever reads the files is bounded, too.
    fn count(&mut self, extents: &[Extent]) -> Result<(), Fault> {
        self.extents = self.extents.saturating_add(extents.len());
        if self.extents > MOST_EXTENTS {
            return Err(too_much("extents", MOST_EXTENTS));
        }
        for extent in extents {
            self.blocks = self.blocks.saturating_add(extent.blocks);
        }
        self.most_blocks = self.most_blocks.saturating_add(MOST_SHARED);
        if self.blocks > self.most_blocks {
            return Err(Fault::TooMuch {
                what: "blocks of files, counted once for each file",
                most: self.most_blocks,
            });
        }
        Ok(())
    }
}

fn too_much(what: &'static str, most: usize) -> Fault {
    Fault::TooMuch {
        what,
        most: most as u64,
    }
}
