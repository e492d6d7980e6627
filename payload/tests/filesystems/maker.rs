//! Images made by the filesystems' own tools, and what those tools say of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BLOCK: u64 = 4096;

/// Path, size, and the 4 KiB blocks in the order of the content; a block is not repeated for its second half.
pub type Listing = BTreeMap<String, (u64, Vec<u64>)>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// mke2fs, then commands for debugfs; judged by debugfs.
    Ext4(&'static [&'static str]),
    /// mkfs.erofs; judged by dump.erofs.
    Erofs,
}

pub struct Recipe {
    pub name: &'static str,
    pub tool: Tool,
    pub arguments: &'static [&'static str],
}

/// What the fixtures are made with, and fresh images too.
pub const RECIPES: [Recipe; 13] = [
    // Blocks that are reserved and not written, inside a hole and behind the end.
    recipe(
        "ext4",
        Tool::Ext4(&["fallocate /etc/sparse 20 30", "fallocate /etc/exact 2 9"]),
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
    ),
    recipe(
        "ext4-1k",
        Tool::Ext4(&[]),
        &["-t", "ext4", "-b", "1024", "-O", "^has_journal"],
    ),
    recipe(
        "ext4-64k",
        Tool::Ext4(&[]),
        &["-t", "ext4", "-b", "65536", "-O", "^has_journal"],
    ),
    recipe(
        "ext4-inline",
        Tool::Ext4(&[]),
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal,inline_data"],
    ),
    recipe(
        "ext2",
        Tool::Ext4(&[]),
        &["-t", "ext2", "-b", "1024", "-I", "128"],
    ),
    recipe("erofs", Tool::Erofs, &[]),
    recipe("erofs-no-inline", Tool::Erofs, &["-Enoinline_data"]),
    recipe("erofs-chunks", Tool::Erofs, &["--chunksize=8192"]),
    recipe(
        "erofs-chunk-indexes",
        Tool::Erofs,
        &["--chunksize=4096", "-Eforce-chunk-indexes"],
    ),
    recipe("erofs-lz4hc", Tool::Erofs, &["-zlz4hc"]),
    recipe("erofs-big-clusters", Tool::Erofs, &["-zlz4hc", "-C65536"]),
    recipe(
        "erofs-full-indexes",
        Tool::Erofs,
        &["-zlz4", "-Elegacy-compress", "-C16384"],
    ),
    recipe("erofs-inline-ends", Tool::Erofs, &["-zlz4hc", "-Eztailpacking"]),
];

/// Makes the image; `false` if its tool is not installed.
pub fn make(recipe: &Recipe, tree: &Path, image: &Path) -> bool {
    let Some(tool) = find(if recipe.tool == Tool::Erofs {
        "mkfs.erofs"
    } else {
        "mke2fs"
    }) else {
        return false;
    };
    let mut command = Command::new(tool);
    match recipe.tool {
        Tool::Ext4(edits) => {
            command.args(["-q", "-F", "-E", "root_owner=0:0", "-d"]).arg(tree);
            run(command.args(recipe.arguments).arg(image).arg("16M"));
            let debugfs = find("debugfs").expect("e2fsprogs has both");
            for edit in edits {
                run(Command::new(&debugfs).args(["-w", "-R", edit]).arg(image));
            }
        }
        Tool::Erofs => {
            command.args(["-T1700000000", "--all-root", "-x-1"]);
            run(command.args(recipe.arguments).arg(image).arg(tree));
        }
    }
    true
}

/// What the filesystem's own tool says of the files of `tree` in `image`.
pub fn judge(recipe: &Recipe, tree: &Path, image: &Path) -> Listing {
    let mut paths = Vec::new();
    regular_files(tree, Path::new(""), &mut paths);
    paths.sort();
    let mut seen = Vec::new();
    let mut listing = Listing::new();
    for path in paths {
        let metadata = fs::metadata(tree.join(&path)).unwrap();
        let identity = std::os::unix::fs::MetadataExt::ino(&metadata);
        if seen.contains(&identity) {
            continue;
        }
        seen.push(identity);
        let mut blocks = match recipe.tool {
            Tool::Ext4(_) => ext4_blocks(image, &path, metadata.len()),
            Tool::Erofs => erofs_blocks(image, &path),
        };
        blocks.dedup();
        if !blocks.is_empty() {
            listing.insert(path, (metadata.len(), blocks));
        }
    }
    listing
}

/// Text that compresses as programs do, from a seed.
pub fn text(mut seed: u64, length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        seed = next(seed);
        text.extend_from_slice(format!("{:x} ", (seed >> 40) % 2000 * 7_654_321).as_bytes());
    }
    text.truncate(length);
    text
}

/// xorshift64.
pub fn next(mut seed: u64) -> u64 {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^ seed << 17
}

/// Writes a tree of files: long, short and empty ones, with holes, with several names, of noise, many in one folder.
pub fn write_tree(root: &Path) {
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let long = text(1, 48_000);
    let noise: Vec<u8> = std::iter::successors(Some(9), |seed| Some(next(*seed)))
        .skip(20)
        .take(9000)
        .map(|seed| (seed >> 32) as u8)
        .collect();
    write("bin/hello", b"#!/bin/sh\necho hello\n");
    fs::hard_link(root.join("bin/hello"), root.join("bin/again")).unwrap();
    write("lib/libbig.so", &long.repeat(8));
    write(
        "lib/libother.so",
        &[&long[20_000..], &noise, &long[..20_000]].concat(),
    );
    std::os::unix::fs::symlink("libbig.so", root.join("lib/libbig.so.1")).unwrap();
    write("lib/empty", b"");
    write("etc/noise", &noise);
    write("etc/exact", &long[..8192]);
    write("etc/tail", &long[..4097]);
    let sparse = File::create(root.join("etc/sparse")).unwrap();
    sparse.write_all_at(&long[..5000], 0).unwrap();
    sparse.write_all_at(&long[5000..6000], 400_000).unwrap();
    for index in 0..150 {
        let name = format!("app/a-package-with-quite-a-long-name-{index:03}.apk");
        write(&name, format!("package {index}\n").as_bytes());
    }
    let deep: String = (1..20).map(|depth| format!("{depth}/")).collect();
    write(&format!("deep/{deep}leaf"), &long[..100]);
    write("ünïcode/naïve", &long[..200]);
}

const fn recipe(name: &'static str, tool: Tool, arguments: &'static [&'static str]) -> Recipe {
    Recipe {
        name,
        tool,
        arguments,
    }
}

/// Where a tool is installed, if it is.
pub fn find(tool: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/usr/local/bin"]
        .map(|folder| Path::new(folder).join(tool))
        .into_iter()
        .find(|path| path.exists())
}

/// Runs a command that must succeed, and returns what it says.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Paths of all regular files of a folder.
pub fn regular_files(root: &Path, below: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            regular_files(root, &path, paths);
        } else if kind.is_file() {
            paths.push(path.to_str().unwrap().to_owned());
        }
    }
}

/// debugfs says for each of a file's blocks where it lies.
fn ext4_blocks(image: &Path, path: &str, size: u64) -> Vec<u64> {
    let mut superblock = [0; 2];
    File::open(image)
        .unwrap()
        .read_exact_at(&mut superblock, 1024 + 0x18)
        .unwrap();
    let block_size = 1024 << superblock[0];
    let mut commands = tempfile::NamedTempFile::new().unwrap();
    let blocks = size.div_ceil(block_size);
    for block in 0..blocks {
        writeln!(commands, "bmap \"/{path}\" {block}").unwrap();
    }
    let said = run(Command::new(find("debugfs").unwrap())
        .arg("-f")
        .arg(commands.path())
        .arg(image));
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("debugfs:"))
        .collect();
    // What lies in the inode has no blocks to ask for.
    if said.is_empty() {
        return Vec::new();
    }
    assert_eq!(said.len() as u64, blocks, "{path}: {said:?}");
    let mut found = Vec::new();
    for (index, line) in said.iter().enumerate() {
        if line.contains("uninit") || line.trim() == "0" {
            continue;
        }
        let start = line.trim().parse::<u64>().unwrap() * block_size;
        let length = block_size.min(size - index as u64 * block_size);
        found.extend(start / BLOCK..(start + length).div_ceil(BLOCK));
    }
    found
}

/// dump.erofs says of each extent where its bytes lie.
fn erofs_blocks(image: &Path, path: &str) -> Vec<u64> {
    let dump = find("dump.erofs").expect("erofs-utils has both");
    let said = run(Command::new(dump)
        .args(["-e", &format!("--path=/{path}")])
        .arg(image));
    let mut found = Vec::new();
    for line in said.lines() {
        let Some((_, physical)) = line.rsplit_once(" : ").filter(|(left, _)| left.contains("..")) else {
            continue;
        };
        let (range, length) = physical.split_once('|').unwrap();
        let (start, _) = range.split_once("..").unwrap();
        let (start, length): (u64, u64) = (start.trim().parse().unwrap(), length.trim().parse().unwrap());
        found.extend(start / BLOCK..(start + length).div_ceil(BLOCK));
    }
    found
}
