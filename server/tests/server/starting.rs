//! The real process at its start: what it makes, what it says of it, and what it leaves alone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::engineer::Engineer;
use crate::world::World;

/// A folder in which anything may happen.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn command(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millet-server"));
    command.args(["serve", "--listen", listen, "--data"]).arg(data);
    // What a test reads is said, not logged; a slow disk is logged at any moment.
    command.env("RUST_LOG", "off");
    command
}

/// What a server says until it listens, and then it is ended; or all that it says when it never does.
fn start(data: &Path) -> Vec<String> {
    let mut child = command(data, "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let listening = line.starts_with("listening on ");
        said.push(line);
        if listening {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

fn keys(data: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millet-server"))
        .args(["keys", "--data"])
        .arg(data)
        .args(more)
        .output()
        .unwrap()
}

fn shown(data: &Path) -> Vec<String> {
    let output = keys(data, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// `made the ROLE key ID` as `ROLE ID`.
fn made(said: &[String]) -> Vec<String> {
    said.iter()
        .filter_map(|line| line.strip_prefix("made the "))
        .map(|line| line.replace(" key ", " "))
        .collect()
}

fn words(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn a_folder_of_someone_elses_is_left_alone() {
    for file in [
        "work/thesis/chapter1",
        "keys/root1.key",
        "publish.token",
        "instance/site.cfg",
    ] {
        let place = Place::new();
        place.write(file, "precious");
        let said = start(&place.path("")).join("\n");
        let holds = file.split('/').next().unwrap();
        assert!(said.contains(&format!("it holds {holds:?}")), "{said}");
        assert!(said.contains("give --data a folder of its own"), "{said}");
        assert_eq!(fs::read_to_string(place.path(file)).unwrap(), "precious");
        let names = fs::read_dir(place.path("")).unwrap().count();
        assert_eq!(names, 1, "nothing is put beside {file}");
    }
}

#[test]
fn a_start_begins_in_an_empty_folder_and_goes_on_after_an_interruption() {
    let place = Place::new();
    // A file system of its own, and all that a power cut can leave before the folder is the server's.
    fs::create_dir(place.path("lost+found")).unwrap();
    place.write("lock", "");
    place.write("instance.new", "00");
    let data = place.path("");
    assert_eq!(made(&start(&data)).len(), 4);

    // Cut off while the token and the second key were about to be put in place.
    let rename = |from: &str, to: &str| fs::rename(place.path(from), place.path(to)).unwrap();
    rename("publish.token", "publish.token.new");
    let before = shown(&data);
    for role in ["timestamp", "deltas", "rollouts"] {
        rename(&format!("keys/{role}.key"), &format!("keys/{role}.key.new"));
    }
    assert_eq!(made(&start(&data)), words(&before));
    assert_eq!(shown(&data), before);
    // Cut off before the first key was in place: the drafts may be half written.
    fs::remove_dir_all(place.path("keys")).unwrap();
    place.write("keys/snapshot.key.new", "-----BEGIN");
    assert_eq!(made(&start(&data)), words(&shown(&data)));
}

#[test]
fn it_says_what_it_made_and_shows_its_keys_later() {
    let place = Place::new();
    let data = place.path("data");
    let early = keys(&data, &[]);
    assert_eq!(early.status.code(), Some(1));
    assert!(!data.exists(), "asking makes nothing");

    let first = start(&data);
    assert!(
        first[0].starts_with("made ") && first[0].ends_with("/data"),
        "{first:?}"
    );
    assert!(
        first[1].contains("publish.token: whoever holds it may publish"),
        "{first:?}"
    );
    assert_eq!(made(&first), words(&shown(&data)));
    let json = keys(&data, &["--json"]).stdout;
    let json: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let json: Vec<_> = json
        .iter()
        .map(|line| {
            format!(
                "{} {}",
                line["role"].as_str().unwrap(),
                line["keyid"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(json, made(&first));

    // Nothing is new the second time.
    assert_eq!(start(&data).len(), 1);
    fs::remove_file(place.path("data/publish.token")).unwrap();
    let token = start(&data);
    assert_eq!(token.len(), 2, "{token:?}");
    assert!(token[0].starts_with("wrote "), "{token:?}");

    fs::rename(place.path("data/keys"), place.path("old")).unwrap();
    let replaced = start(&data);
    assert_eq!(made(&replaced), words(&shown(&data)));
    assert_ne!(made(&replaced), made(&first));
}

#[test]
fn a_key_that_is_missing_beside_others_is_not_replaced() {
    let place = Place::new();
    let data = place.path("data");
    start(&data);
    let (key, kept) = (data.join("keys/timestamp.key"), place.path("kept"));
    fs::rename(&key, &kept).unwrap();
    let said = start(&data).join("\n");
    assert!(said.contains("keys/timestamp.key is missing"), "{said}");
    assert!(said.contains("The server was broken into"), "{said}");
    assert!(!key.exists());
    let shown = keys(&data, &[]);
    assert_eq!(shown.status.code(), Some(1));
    fs::rename(&kept, &key).unwrap();
    assert_eq!(start(&data).len(), 1);
}

#[test]
fn it_says_that_the_repository_names_other_keys() {
    let mut world = World::new();
    Engineer::begin(&world);
    world.stop();
    let data = world.data();
    let said = start(&data).join("\n");
    assert!(!said.contains("warning"), "{said}");
    fs::rename(data.join("keys"), data.join("../keys")).unwrap();
    for made in [4, 0] {
        let said = start(&data).join("\n");
        assert_eq!(said.matches("made the ").count(), made, "{said}");
        let roles = "warning: the repository names other keys than this server's for snapshot, timestamp, deltas.rubik, rollouts.rubik";
        assert!(said.contains(roles), "{said}");
        assert!(said.contains("The server was broken into"), "{said}");
    }
}

#[test]
fn it_serves_on_when_nobody_reads_what_it_says() {
    let place = Place::new();
    let data = place.path("data");
    // The port was free a moment ago; others may have taken it since.
    let served = (0..10).find_map(|_| {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut child = command(&data, &address.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        // It makes its folder once the address is its own.
        let answers = || data.exists() && ureq::get(format!("http://{address}/healthz")).call().is_ok();
        for _ in 0..600 {
            if answers() {
                return Some(child);
            }
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not answer")
    });
    let mut child = served.unwrap();
    assert_eq!(terminate(&mut child), Some(0));
}

fn terminate(child: &mut Child) -> Option<i32> {
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    child.wait().unwrap().code()
}
