use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{DebianError, at};

/// Bytes of a block of every image here.
pub const BLOCK: u64 = 4096;

/// What a tree asks of a filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Blocks of file content, folders and long symbolic links.
    pub blocks: u64,
    /// Files, folders and links.
    pub inodes: u64,
}

/// A file, folder or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative to the tree, empty for the tree itself.
    pub path: PathBuf,
    /// Who owns it here.
    pub uid: u32,
    /// Which group owns it here.
    pub gid: u32,
}

/// Lists a tree in order of path, and adds up what it asks of a filesystem. Names of one file count once.
pub fn survey(tree: &Path) -> Result<(Vec<Entry>, Demand), DebianError> {
    let mut entries = Vec::new();
    let mut demand = Demand::default();
    let mut seen = BTreeSet::new();
    let mut folders = vec![tree.to_owned()];
    let root = fs::symlink_metadata(tree).map_err(at("read", tree))?;
    entries.push(Entry {
        path: PathBuf::new(),
        uid: root.uid(),
        gid: root.gid(),
    });
    while let Some(folder) = folders.pop() {
        demand.blocks += 1;
        demand.inodes += 1;
        for child in fs::read_dir(&folder).map_err(at("list", &folder))? {
            let path = child.map_err(at("list", &folder))?.path();
            let metadata = fs::symlink_metadata(&path).map_err(at("read", &path))?;
            entries.push(Entry {
                path: path.strip_prefix(tree).unwrap_or(&path).to_owned(),
                uid: metadata.uid(),
                gid: metadata.gid(),
            });
            if metadata.is_dir() {
                folders.push(path);
            } else if seen.insert(metadata.ino()) {
                demand.inodes += 1;
                // ext4 keeps a symbolic link below 60 bytes in its inode.
                let stored = if metadata.is_symlink() && metadata.len() < 60 {
                    0
                } else {
                    metadata.len()
                };
                demand.blocks += stored.div_ceil(BLOCK);
            }
        }
    }
    entries.sort();
    Ok((entries, demand))
}

/// Finds the one file of a folder whose name begins so.
pub fn find_file(folder: &Path, prefix: &str) -> Result<PathBuf, DebianError> {
    let entries = fs::read_dir(folder).map_err(at("list", folder))?;
    let mut names = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let found = names.next().map(|entry| entry.path());
    found.ok_or_else(|| DebianError::NoSuchFile(folder.join(format!("{prefix}*"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_file_count_once() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("bin")).unwrap();
        fs::write(tree.path().join("bin/a"), vec![1; 4097]).unwrap();
        fs::hard_link(tree.path().join("bin/a"), tree.path().join("bin/b")).unwrap();
        std::os::unix::fs::symlink("a", tree.path().join("bin/c")).unwrap();
        let (entries, demand) = survey(tree.path()).unwrap();
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["", "bin", "bin/a", "bin/b", "bin/c"]);
        assert_eq!(demand, Demand { blocks: 4, inodes: 4 });
        assert!(
            find_file(&tree.path().join("bin"), "c")
                .unwrap()
                .ends_with("bin/c")
        );
        assert!(find_file(tree.path(), "vmlinuz-").is_err());
    }
}
