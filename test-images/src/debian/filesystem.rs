//! Trees into images, the same bytes on every run.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::tools::{Tools, run};
use super::tree::{BLOCK, Demand, Entry};
use super::{DebianError, at};

/// One instant for every file and filesystem: 2009-01-01, as AOSP's `build_image.py` gives its images.
const EPOCH: u64 = 1_230_768_000;
const UUID: &str = "4d696c6c-6574-4465-6269-616e00000001";
const HASH_SEED: &str = "4d696c6c-6574-4465-6269-616e00000002";

/// Blocks of an ext4 image that holds this much: some per cent for extents, bitmaps and folders that grew, as an
/// image for a partition of fixed size has. A multiple of 4 MiB.
pub fn ext4_blocks(demand: Demand) -> u64 {
    let inodes = ext4_inodes(demand) / (BLOCK / 256);
    let blocks = demand.blocks + demand.blocks / 32 + inodes + 1024;
    blocks.next_multiple_of(1024)
}

/// Inodes of that image.
pub fn ext4_inodes(demand: Demand) -> u64 {
    (demand.inodes + demand.inodes / 16 + 64).next_multiple_of(512)
}

/// Makes an ext4 image without a journal, since a system image is mounted read-only.
pub fn ext4(
    tools: &Tools,
    tree: &Path,
    entries: &[Entry],
    (blocks, inodes): (u64, u64),
    image: &Path,
) -> Result<(), DebianError> {
    let _ = fs::remove_file(image);
    let mut command = tools.mke2fs.command();
    command
        .env("E2FSPROGS_FAKE_TIME", EPOCH.to_string())
        .args([
            "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-I", "256", "-L", "system",
        ])
        .args(["-O", "^has_journal,^resize_inode", "-U", UUID])
        .arg("-E")
        .arg(format!(
            "hash_seed={HASH_SEED},root_owner=0:0,no_copy_xattrs,lazy_itable_init=0,nodiscard"
        ))
        .args(["-N", &inodes.to_string(), "-d"])
        .arg(tree)
        .arg(image)
        .arg(blocks.to_string());
    run(command)?;
    normalise(tools, entries, image)
}

/// Makes an erofs image, compressed as AOSP does by default.
pub fn erofs(tools: &Tools, tree: &Path, image: &Path) -> Result<(), DebianError> {
    let _ = fs::remove_file(image);
    let mut command = tools.mkfs_erofs.command();
    command
        .args(["--quiet", "-zlz4hc,9", "-x-1", "--all-root"])
        .arg(format!("-T{EPOCH}"))
        .arg(format!("-U{UUID}"))
        .arg(image)
        .arg(tree);
    run(command)?;
    pad(image)
}

/// Copies a kernel and pads it to whole blocks.
pub fn kernel(vmlinuz: &Path, image: &Path) -> Result<(), DebianError> {
    fs::copy(vmlinuz, image).map_err(at("copy", vmlinuz))?;
    pad(image)
}

fn pad(image: &Path) -> Result<(), DebianError> {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(image)
        .map_err(at("open", image))?;
    let length = file.metadata().map_err(at("read", image))?.len();
    file.set_len(length.next_multiple_of(BLOCK))
        .map_err(at("pad", image))
}

/// mke2fs takes owners and times from the tree, where an ordinary user owns everything and a change time cannot be
/// set; debugfs gives every inode the same ones afterwards.
fn normalise(tools: &Tools, entries: &[Entry], image: &Path) -> Result<(), DebianError> {
    let mut script = tempfile::NamedTempFile::new().map_err(at("create", image))?;
    script
        .write_all(normalisation(entries).as_bytes())
        .map_err(at("write", script.path()))?;
    let mut command = tools.debugfs.command();
    command
        .env("E2FSPROGS_FAKE_TIME", EPOCH.to_string())
        .args(["-w", "-f"])
        .arg(script.path())
        .arg(image);
    run(command).map(drop)
}

/// debugfs(8), `set_inode_field`.
fn normalisation(entries: &[Entry]) -> String {
    let mut script = String::new();
    for Entry { path, uid, gid } in entries {
        // In debugfs a quotation mark within quotation marks is written twice.
        let path = String::from_utf8_lossy(path.as_os_str().as_bytes()).replace('"', "\"\"");
        let mut set = |field: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(script, "set_inode_field \"/{path}\" {field} {value}");
        };
        for field in ["atime", "ctime", "mtime"] {
            set(field, &format!("@{EPOCH}"));
        }
        if *uid != 0 {
            set("uid", "0");
        }
        if *gid != 0 {
            set("gid", "0");
        }
    }
    // Counts what was written by how it was written; libext2fs leaves a zero alone.
    script.push_str("set_super_value kbytes_written 0\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_is_asked() {
        let demand = Demand {
            blocks: 100_000,
            inodes: 10_000,
        };
        assert!(ext4_inodes(demand) > demand.inodes);
        assert!(ext4_blocks(demand) > demand.blocks + ext4_inodes(demand) / 16);
        assert_eq!(ext4_blocks(demand) % 1024, 0);
    }

    #[test]
    fn owners_are_set_only_where_they_differ() {
        let entries = [
            Entry {
                path: "a \"b\"".into(),
                uid: 1000,
                gid: 0,
            },
            Entry {
                path: "c".into(),
                uid: 0,
                gid: 0,
            },
        ];
        let script = normalisation(&entries);
        assert!(script.contains("set_inode_field \"/a \"\"b\"\"\" uid 0\n"));
        assert_eq!(script.lines().count(), 8);
    }
}
