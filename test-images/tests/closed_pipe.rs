//! A reader that goes away ends no program.

use std::process::Command;

#[test]
fn a_reader_that_has_gone_away_has_heard_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (images, device) = (path("images"), path("device"));
    for (arguments, code) in [
        (
            vec![
                "synthetic",
                "--seed",
                "7",
                "--week",
                "1",
                "--size",
                "6",
                "--out",
                &images,
            ],
            0,
        ),
        (vec!["device", "create", &device, "--images", &images], 0),
        (
            vec!["device", "flash", &device, "--slot", "a", "--images", &images],
            0,
        ),
        (vec!["boot", &device], 0),
        (vec!["selftest", &device], 0),
        (vec!["boot", "/nowhere"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Command::new(env!("CARGO_BIN_EXE_millet-test-images"))
            .args(&arguments)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
}
