//! `millet-tuf-client` as a process, against a repository behind a small HTTP/1.0 server on this machine.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod bench;
mod killed;

use std::fs;
use std::os::unix::fs::symlink;

use millet_signing::Signer;
use millet_signing::metadata::MetaFile;
use sha2::{Digest, Sha256};

use bench::{Bench, far, key, past};

const CHAIN: [&str; 4] = [
    "2.root.json",
    "timestamp.json",
    "1.snapshot.json",
    "1.targets.json",
];

#[test]
fn init_asks_nobody_and_takes_no_root_that_did_not_sign_itself() {
    let bench = Bench::new();
    assert!(bench.asked().is_empty());
    bench.trusts("root.json", &bench.page("1.root.json"));
    let mut bench = Bench::uninitialised();
    bench.root_keys = vec![key(9)];
    bench.publish();
    let root = bench.folder.path().join("first.json");
    fs::write(&root, bench.page("1.root.json")).unwrap();
    bench.client(&["init", root.to_str().unwrap()], 1);
    let said = bench.refresh(1);
    assert!(said.contains("root.json"), "{said}");
    assert!(bench.asked().is_empty());
}

#[test]
fn every_file_is_asked_for_once_and_kept_as_it_was_served() {
    let bench = Bench::new();
    bench.refresh(0);
    assert_eq!(bench.asked(), CHAIN);
    let served = [
        ("root.json", "1.root.json"),
        ("timestamp.json", "timestamp.json"),
        ("snapshot.json", "1.snapshot.json"),
        ("targets.json", "1.targets.json"),
    ];
    for (kept, name) in served {
        bench.trusts(kept, &bench.page(name));
    }
    assert_eq!(fs::read_dir(bench.metadata()).unwrap().count(), 4);
    bench.refresh(0);
    assert_eq!(bench.asked(), CHAIN[..2]);
}

#[test]
fn a_new_root_is_kept_although_the_timestamp_behind_it_is_bad() {
    let mut bench = Bench::new();
    bench.refresh(0);
    bench.root = bench.root.next(far());
    bench
        .root
        .set_role("root", &[key(8).public_key().clone()], 1)
        .unwrap();
    bench.root_keys = vec![key(1), key(8)];
    bench.publish_root();
    let good = bench.page("timestamp.json");
    bench.put("/metadata/timestamp.json", b"{}");
    bench.refresh(1);
    bench.trusts("root.json", &bench.page("2.root.json"));
    bench.trusts("timestamp.json", &good);
    // The old key has no say any more.
    bench.root = bench.root.next(far());
    bench.root_keys = vec![key(1)];
    bench.publish_root();
    bench.refresh(1);
    bench.trusts("root.json", &bench.page("2.root.json"));
}

#[test]
fn an_expired_root_on_the_way_is_no_matter_and_at_the_end_it_is() {
    let mut bench = Bench::new();
    bench.root = bench.root.next(past());
    bench.publish_root();
    let said = bench.refresh(1);
    assert!(said.contains("expired"), "{said}");
    bench.trusts("root.json", &bench.page("2.root.json"));
    bench.root = bench.root.next(far());
    bench.publish_root();
    bench.refresh(0);
}

#[test]
fn what_is_older_or_expired_is_refused_and_what_was_known_stays() {
    let mut bench = Bench::new();
    bench.publish();
    bench.refresh(0);
    let known = bench.page("timestamp.json");
    bench.timestamp = 1;
    bench.publish_timestamp(MetaFile::of(2, &bench.page("2.snapshot.json")));
    let said = bench.refresh(1);
    assert!(said.contains("back from version 2 to 1"), "{said}");
    bench.trusts("timestamp.json", &known);
    bench.timestamp = 3;
    bench.timestamp_expires = past();
    bench.publish_timestamp(MetaFile::of(2, &bench.page("2.snapshot.json")));
    bench.refresh(1);
    bench.trusts("timestamp.json", &known);
    // A newer timestamp is kept although the snapshot that it names is an older one's bytes.
    bench.timestamp_expires = far();
    bench.publish_timestamp(MetaFile::of(3, b"other"));
    bench.refresh(1);
    bench.trusts("timestamp.json", &bench.page("timestamp.json"));
    bench.trusts("snapshot.json", &bench.page("2.snapshot.json"));
}

#[test]
fn rotated_keys_end_a_fast_forward() {
    let mut bench = Bench::new();
    bench.timestamp = 1_000_000;
    bench.publish();
    bench.refresh(0);
    bench.timestamp = 1;
    bench.root = bench.root.next(far());
    bench.timestamp_key = 7;
    bench
        .root
        .set_role("timestamp", &[key(7).public_key().clone()], 1)
        .unwrap();
    bench.publish();
    bench.refresh(0);
    bench.trusts("timestamp.json", &bench.page("timestamp.json"));
}

/// Red when `get_once` (`net/mod.rs`) takes another status for `Fetched::NotFound`.
#[test]
fn l25_only_404_says_that_there_is_no_newer_root() {
    let bench = Bench::new();
    for status in [403, 410, 500, 503] {
        bench.fail("/metadata/2.root.json", status);
        let said = bench.refresh(1);
        assert!(said.contains(&status.to_string()), "{said}");
        assert_eq!(bench.asked(), ["2.root.json"]);
    }
}

#[test]
fn roles_are_fetched_when_a_searched_path_leads_to_them() {
    let mut bench = Bench::new();
    bench.delegate("targets", "../a", "a/*", false);
    bench.delegate("targets", "b", "b/*", true);
    bench.delegate("b", "c", "b/*", false);
    bench.delegate("targets", "never", "b/*", false);
    bench.target("c", "b/x", "b/x", b"x of c");
    bench.roles.get_mut("targets").unwrap().version = 2;
    bench.publish();
    bench.refresh(0);
    bench.asked();
    bench.download(&["b/x"], 0);
    let asked = bench.asked();
    assert_eq!(asked[2..4], ["1.b.json", "1.c.json"]);
    assert_eq!(asked.len(), 5, "{asked:?}");
    bench.download(&["a/none"], 1);
    assert_eq!(bench.asked()[2..], ["1...%2Fa.json"]);
    bench.trusts("..%2Fa.json", &bench.page("1...%2Fa.json"));
    // They stay for the next time, also over a refresh that has no need of them.
    bench.refresh(0);
    bench.asked();
    bench.download(&["b/x"], 0);
    assert_eq!(bench.asked(), ["2.root.json", "timestamp.json"]);
    bench.download(&["b/y"], 1);
    assert_eq!(bench.asked(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn targets_come_in_order_until_one_fails_and_are_not_fetched_twice() {
    let mut bench = Bench::new();
    for name in ["one", "two", "three"] {
        bench.target("targets", name, name, name.as_bytes());
    }
    bench.target("targets", "sp ace?", "sp%20ace%3F", b"quoted");
    bench.roles.get_mut("targets").unwrap().version = 2;
    bench.publish();
    let folder = bench.targets();
    bench.download(&["one", "sp ace?"], 0);
    assert_eq!(fs::read(folder.join("one")).unwrap(), b"one");
    assert_eq!(fs::read(folder.join("sp%20ace%3F")).unwrap(), b"quoted");
    bench.asked();
    bench.download(&["one", "none", "two"], 1);
    assert_eq!(bench.asked(), ["2.root.json", "timestamp.json"]);
    assert!(!folder.join("two").exists());
    // Other bytes of the same length, on the disk and from the server.
    fs::write(folder.join("one"), "eno").unwrap();
    bench.download(&["one"], 0);
    assert_eq!(fs::read(folder.join("one")).unwrap(), b"one");
    let at = format!("/targets/{}.two", hex::encode(Sha256::digest("two")));
    bench.put(&at, b"owt");
    let said = bench.download(&["two"], 1);
    assert!(said.contains("not those that signed metadata names"), "{said}");
    assert!(!folder.join("two").exists());
}

/// Red without `file_stem` in `file_name`, or without `persist` in `store` (`target_folder.rs`). A device has no such
/// folder: it keeps documents under their hashes.
#[test]
fn l07_names_and_links_lead_nowhere_else() {
    let mut bench = Bench::new();
    let hostile = ["../escape", "a/../../escape", "/escape"];
    for name in hostile {
        bench.target("targets", name, name, b"hostile");
    }
    bench.target("targets", "linked", "linked", b"content");
    bench.roles.get_mut("targets").unwrap().version = 2;
    bench.publish();
    let (outside, folder) = (bench.folder.path().join("outside"), bench.targets());
    fs::create_dir(&folder).unwrap();
    fs::write(&outside, "content").unwrap();
    symlink(&outside, folder.join("linked")).unwrap();
    bench.download(&["linked"], 0);
    assert!(fs::symlink_metadata(folder.join("linked")).unwrap().is_file());
    fs::write(&outside, "untouched").unwrap();
    assert_eq!(fs::read(folder.join("linked")).unwrap(), b"content");
    for name in hostile {
        bench.download(&[name], 0);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
    let mut beside: Vec<_> = fs::read_dir(bench.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    beside.sort();
    assert_eq!(beside, ["first.json", "metadata", "outside", "targets"]);
}

#[test]
fn plain_names_when_snapshots_are_not_consistent() {
    let mut bench = Bench::new();
    bench.root = bench.root.next(far());
    bench.root.consistent_snapshot = false;
    bench.target("targets", "folder/one", "folder/one", b"one");
    bench.roles.get_mut("targets").unwrap().version = 2;
    bench.publish();
    bench.download(&["folder/one"], 0);
    assert_eq!(
        bench.asked(),
        [
            "2.root.json",
            "3.root.json",
            "timestamp.json",
            "snapshot.json",
            "targets.json",
            "/targets/folder/one"
        ]
    );
}

#[test]
fn whatever_is_wrong_with_the_arguments_the_code_is_1() {
    let bench = Bench::new();
    bench.client(&[], 1);
    bench.client(&["--nonsense"], 1);
    bench.client(&["refresh"], 1);
    bench.client(&["--metadata-url", "ftp://nowhere", "refresh"], 1);
    bench.client(&["--help"], 0);
}
