//! The program whose size is measured takes what is signed and refuses what is bent.

#![cfg(feature = "verifier")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/maker/mod.rs"]
mod maker;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use maker::{Repository, now};

fn judged(files: &[&[u8]]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_millet-signing-size"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = program.stdin.take().unwrap();
    for file in files {
        stdin
            .write_all(&u32::try_from(file.len()).unwrap().to_be_bytes())
            .unwrap();
        stdin.write_all(file).unwrap();
    }
    drop(stdin);
    program.wait_with_output().unwrap()
}

#[test]
fn it_verifies() {
    let repository = Repository::new();
    let now = now().as_second().to_be_bytes();
    let published = |name: &str| repository.published[name].as_slice();
    let mut files: Vec<&[u8]> = vec![
        &now,
        published("1.root.json"),
        b"",
        published("timestamp.json"),
        published("1.snapshot.json"),
        published("1.targets.json"),
        published("1.builds.rubik.json"),
    ];
    let taken = judged(&files);
    assert_eq!(String::from_utf8(taken.stdout).unwrap(), "root 1, 1 targets\n");
    assert!(taken.status.success());
    let bent = [published("1.builds.rubik.json"), b" "].concat();
    files[6] = &bent;
    let refused = judged(&files);
    assert!(!refused.status.success() && refused.stdout.is_empty());
}
