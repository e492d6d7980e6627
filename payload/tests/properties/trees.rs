//! Trees of files from a seed, and what a week does to them.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::archive::{Entry, deflated, stored, zip};
use crate::maker::text;
use crate::support::{BLOCK, Dice};

/// Paths and contents.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// In every tree; in a week some bytes are put into one of its members.
pub const CHANGED_ARCHIVE: &str = "app/changed.apk";
/// In every tree; every member of it changes in a week, and so does its own name.
pub const VERSIONED_ARCHIVE: [&str; 2] = ["app/editor-1.2.apk", "app/editor-1.3.apk"];
/// In every tree; whole blocks that do not compress, and another folder after a week.
pub const MOVED: [&str; 2] = ["data/moved.bin", "lib/there/moved.so"];

/// Programs, text, noise and archives.
pub fn tree(seed: u64) -> Tree {
    let mut dice = Dice::new(seed);
    let mut tree = Tree::new();
    for index in 0..3 + dice.below(6) {
        let length = dice.below(90_000);
        tree.insert(format!("bin/tool-{index}"), code(dice.next(), length));
    }
    for index in 0..dice.below(12) {
        let length = dice.below(6000);
        tree.insert(format!("etc/{index}.conf"), text(dice.next() | 1, length));
    }
    for index in 0..dice.below(4) {
        let picture = png(&code(dice.next(), dice.below(30_000)));
        tree.insert(format!("share/picture-{index}.png"), picture);
        let manual = gzip(&text(dice.next() | 1, dice.below(60_000)));
        tree.insert(format!("share/manual-{index}.gz"), manual);
    }
    for index in 0..dice.below(4) {
        let seed = dice.next();
        tree.insert(format!("app/{index}.apk"), apk(seed, 1 + dice.below(6), None));
    }
    tree.insert(CHANGED_ARCHIVE.to_owned(), apk(seed, 6, None));
    tree.insert(VERSIONED_ARCHIVE[0].to_owned(), versioned(seed ^ 5, "1.2"));
    tree.insert(MOVED[0].to_owned(), noise(dice.next(), 20 * BLOCK));
    tree
}

/// Files change in place, grow, move to other paths, come and go.
pub fn week(seed: u64, old: &Tree, week: u64) -> Tree {
    let mut dice = Dice::new(seed ^ week);
    let mut new = Tree::new();
    for (path, content) in old {
        let mut content = content.clone();
        let at = dice.below(content.len());
        match dice.below(8) {
            0 => continue,
            1 => {
                for _ in 0..dice.below(50).min(content.len()) {
                    let at = dice.below(content.len());
                    content[at] = dice.next() as u8;
                }
            }
            2 => {
                let length = dice.below(300);
                content.splice(at..at, noise(dice.next(), length)).for_each(drop);
            }
            3 => content.truncate(at),
            4 => {
                new.insert(format!("moved/{path}"), content);
                continue;
            }
            _ => {}
        }
        new.insert(path.clone(), content);
    }
    for index in 0..dice.below(3) {
        new.insert(format!("bin/new-{index}"), code(dice.next(), dice.below(40_000)));
    }
    for path in [CHANGED_ARCHIVE, VERSIONED_ARCHIVE[0], MOVED[0]] {
        new.remove(path);
        new.remove(&format!("moved/{path}"));
    }
    let member = dice.below(6);
    new.insert(CHANGED_ARCHIVE.to_owned(), apk(seed, 6, Some(member)));
    new.insert(VERSIONED_ARCHIVE[1].to_owned(), versioned(seed ^ 5, "1.3"));
    new.insert(MOVED[1].to_owned(), old[MOVED[0]].clone());
    new
}

/// An archive of so many compressed members and a stored one; some bytes are put into the member `changed`.
pub fn apk(seed: u64, members: usize, changed: Option<usize>) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut entries: Vec<Entry> = Vec::new();
    for index in 0..members {
        let mut content = text(dice.next() | 1, 40_000 + dice.below(60_000));
        if changed == Some(index) {
            let at = content.len() / 3;
            content.splice(at..at, *b"put in a week later").for_each(drop);
        }
        entries.push(deflated(&format!("lib/{index}.so"), &content));
    }
    entries.push(stored("resources.arsc", &code(dice.next(), 3000)));
    zip(&entries)
}

/// An archive whose members all begin with its version.
fn versioned(seed: u64, version: &str) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut member = |index: usize| {
        let mut content = version.repeat(1 + index).into_bytes();
        content.extend(text(dice.next() | 1, 60_000));
        deflated(&format!("editor/part-{index}.so"), &content)
    };
    zip(&(0..5).map(&mut member).collect::<Vec<_>>())
}

/// Numbers of which many have a few bytes in common, as instructions have.
pub fn code(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        let word = dice.below(700) as u32;
        bytes.extend_from_slice(&(word * word).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Bytes that nothing makes smaller.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..length).map(|_| (dice.next() >> 32) as u8).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// As much of a picture as a search for deflate looks at (PNG, third edition, sections 5.2 and 5.3).
fn png(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", vec![7; 13]),
        (b"IDAT", encoder.finish().unwrap()),
        (b"IEND", Vec::new()),
    ] {
        picture.extend((data.len() as u32).to_be_bytes());
        let start = picture.len();
        picture.extend(kind);
        picture.extend(data);
        picture.extend(crc32fast::hash(&picture[start..]).to_be_bytes());
    }
    picture
}
