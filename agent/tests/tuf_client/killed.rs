//! A client that is killed while a file comes in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::bench::Bench;

/// Every file under a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(_) => return BTreeMap::new(),
    };
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

/// Red when `Updater::drive` keeps bytes before `supply` has checked them, or the client stores a target before
/// `Updater::fetch` has (`updater.rs`): a client that checks what it finds on the disk trusts then what a kill left there.
#[test]
fn l08_a_kill_while_a_file_comes_in_leaves_nothing_trusted() {
    let mut bench = Bench::new();
    bench.target("targets", "one", "one", b"the only target there is");
    bench.roles.get_mut("targets").unwrap().version = 2;
    bench.publish();
    let target = format!(
        "/targets/{}.one",
        hex::encode(Sha256::digest("the only target there is"))
    );
    let before = files(&bench.metadata());
    assert_eq!(before.keys().collect::<Vec<_>>(), ["root.json"]);
    for path in [
        "/metadata/timestamp.json",
        "/metadata/2.snapshot.json",
        "/metadata/2.targets.json",
        &target,
    ] {
        bench.hold(path);
        let mut client = bench
            .command()
            .args(bench.download_arguments(&["one"]))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut waited = 0;
        while !bench.holds() {
            assert!(waited < 1000, "{path} was never asked for");
            waited += 1;
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(20));
        client.kill().unwrap();
        client.wait().unwrap();
        // A refresh keeps its files when it has come to its end: before, also what did verify is not there yet.
        let kept = files(&bench.metadata());
        if path == target {
            assert_eq!(kept["targets.json"], bench.page("2.targets.json"));
        } else {
            assert_eq!(kept, before, "{path}");
        }
        assert!(files(&bench.targets()).is_empty(), "{path}");
    }
    bench.hold("");
    bench.download(&["one"], 0);
}
