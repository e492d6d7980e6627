use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use millet_signing::metadata::{DelegatedRole, MetaFile, Role, Root, Snapshot, TargetFile, Targets};
use millet_signing::{Ed25519Key, Signer, file_name, metadata, sign};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What a server has: a status and a body for each path; for any other path 404.
type Pages = BTreeMap<String, (u16, Vec<u8>)>;

/// A path whose body stops before its end, and the connections that wait for the rest.
type Held = (String, Vec<TcpStream>);

/// A repository on a server, and a client process beside it.
pub struct Bench {
    pub root: Root,
    pub root_keys: Vec<Ed25519Key>,
    pub timestamp: u64,
    pub timestamp_expires: Timestamp,
    pub timestamp_key: u8,
    pub snapshot: u64,
    pub roles: BTreeMap<String, Targets>,
    pub folder: TempDir,
    address: String,
    pages: Arc<Mutex<Pages>>,
    asked: Arc<Mutex<Vec<String>>>,
    held: Arc<Mutex<Held>>,
}

pub fn key(seed: u8) -> Ed25519Key {
    Ed25519Key::from_seed(&[seed; 32])
}

/// The clients run by the system's clock.
pub fn far() -> Timestamp {
    "2099-12-31T00:00:00Z".parse().unwrap()
}

pub fn past() -> Timestamp {
    "2020-01-01T00:00:00Z".parse().unwrap()
}

impl Bench {
    /// A repository with empty targets, published, and a client that trusts its root.
    pub fn new() -> Self {
        let mut bench = Self::uninitialised();
        bench.publish();
        let root = bench.folder.path().join("first.json");
        fs::write(&root, bench.page("1.root.json")).unwrap();
        bench.client(&["init", root.to_str().unwrap()], 0);
        bench
    }

    pub fn uninitialised() -> Self {
        let mut root = Root::new(far());
        for (role, seed) in [("root", 1), ("targets", 2), ("snapshot", 3), ("timestamp", 4)] {
            root.set_role(role, &[key(seed).public_key().clone()], 1).unwrap();
        }
        let (pages, asked, held) = (Arc::default(), Arc::default(), Arc::default());
        Self {
            root,
            root_keys: vec![key(1)],
            timestamp: 0,
            timestamp_expires: far(),
            timestamp_key: 4,
            snapshot: 0,
            roles: BTreeMap::from([("targets".to_owned(), Targets::new(far()))]),
            folder: tempfile::tempdir().unwrap(),
            address: serve(Arc::clone(&pages), Arc::clone(&asked), Arc::clone(&held)),
            pages,
            asked,
            held,
        }
    }

    /// Adds a delegation from `parent`, signed by key 5.
    pub fn delegate(&mut self, parent: &str, name: &str, path: &str, terminating: bool) {
        let public = key(5).public_key().clone();
        let delegations = self
            .roles
            .get_mut(parent)
            .unwrap()
            .delegations
            .get_or_insert_default();
        delegations.keys.insert(public.id(), public.clone());
        delegations.roles.push(DelegatedRole {
            name: name.to_owned(),
            keyids: vec![public.id()],
            threshold: 1,
            paths: Some(vec![path.to_owned()]),
            path_hash_prefixes: None,
            terminating,
            other: BTreeMap::new(),
        });
        self.roles
            .entry(name.to_owned())
            .or_insert_with(|| Targets::new(far()));
    }

    /// Lists a target and puts it on the server; `at` is its path there without the hash.
    pub fn target(&mut self, role: &str, path: &str, at: &str, bytes: &[u8]) {
        let file = TargetFile::of(bytes);
        self.roles
            .get_mut(role)
            .unwrap()
            .targets
            .insert(path.to_owned(), file);
        let (folder, name) = at
            .rsplit_once('/')
            .map_or(("", at), |(folder, name)| (folder, name));
        let slash = if at.contains('/') { "/" } else { "" };
        let hash = hex::encode(Sha256::digest(bytes));
        self.put(&format!("/targets/{folder}{slash}{hash}.{name}"), bytes);
        self.put(&format!("/targets/{at}"), bytes);
    }

    /// Signs everything as it stands; snapshot and timestamp get the next version.
    pub fn publish(&mut self) {
        self.publish_root();
        self.snapshot += 1;
        let mut snapshot = Snapshot::new(self.snapshot, far());
        for (role, targets) in &self.roles {
            let seed = if role == "targets" { 2 } else { 5 };
            let bytes = sign(targets, &[&key(seed)]).unwrap();
            snapshot.set_role(role, MetaFile::of(targets.version, &bytes));
            self.publish_file(role, targets.version, &bytes);
        }
        let bytes = sign(&snapshot, &[&key(3)]).unwrap();
        self.publish_file("snapshot", self.snapshot, &bytes);
        self.timestamp += 1;
        self.publish_timestamp(MetaFile::of(self.snapshot, &bytes));
    }

    pub fn publish_root(&mut self) {
        let signers: Vec<&dyn Signer> = self.root_keys.iter().map(|key| key as &dyn Signer).collect();
        let bytes = sign(&self.root, &signers).unwrap();
        self.publish_file("root", self.root.version(), &bytes);
    }

    pub fn publish_timestamp(&self, snapshot: MetaFile) {
        let timestamp = metadata::Timestamp::new(self.timestamp, past(), self.timestamp_expires, snapshot);
        let bytes = sign(&timestamp, &[&key(self.timestamp_key)]).unwrap();
        self.put("/metadata/timestamp.json", &bytes);
    }

    fn publish_file(&self, role: &str, version: u64, bytes: &[u8]) {
        let name = file_name(role);
        self.put(&format!("/metadata/{name}"), bytes);
        self.put(&format!("/metadata/{version}.{name}"), bytes);
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let page = (200, bytes.to_vec());
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub fn fail(&self, path: &str, status: u16) {
        let page = (status, Vec::new());
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// From now on half of a path's body comes, and the rest not until the client goes; an empty path ends that.
    pub fn hold(&self, path: &str) {
        *self.held.lock().unwrap() = (path.to_owned(), Vec::new());
    }

    /// Whether a client waits for the rest of what is held.
    pub fn holds(&self) -> bool {
        !self.held.lock().unwrap().1.is_empty()
    }

    /// A metadata file as it is served.
    pub fn page(&self, name: &str) -> Vec<u8> {
        self.pages.lock().unwrap()[&format!("/metadata/{name}")].1.clone()
    }

    /// What was asked since the last time, without the common beginning.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let short = |path: &String| path.strip_prefix("/metadata/").unwrap_or(path).to_owned();
        asked.iter().map(short).collect()
    }

    pub fn refresh(&self, code: i32) -> String {
        self.client(
            &[
                "--metadata-url",
                &format!("{}/metadata/", self.address),
                "refresh",
            ],
            code,
        )
    }

    pub fn download(&self, names: &[&str], code: i32) -> String {
        let arguments = self.download_arguments(names);
        self.client(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), code)
    }

    pub fn download_arguments(&self, names: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = vec![
            "--metadata-url".into(),
            format!("{}/metadata", self.address),
            "--target-base-url".into(),
            format!("{}/targets/", self.address),
            "--target-dir".into(),
            self.targets().to_str().unwrap().to_owned(),
        ];
        arguments.extend(names.iter().map(|name| format!("--target-name={name}")));
        arguments.push("download".into());
        arguments
    }

    /// The client with its folder; what else it shall do is for the caller.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--metadata-dir").arg(self.metadata());
        command
    }

    /// Runs the client, wants its exit code, and hands out what it says.
    pub fn client(&self, arguments: &[&str], code: i32) -> String {
        let mut command = self.command();
        let Output { status, stderr, .. } = command.args(arguments).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    pub fn metadata(&self) -> PathBuf {
        self.folder.path().join("metadata")
    }

    pub fn targets(&self) -> PathBuf {
        self.folder.path().join("targets")
    }

    /// What the client trusts: its files are the ones that were served, byte for byte.
    pub fn trusts(&self, name: &str, bytes: &[u8]) {
        assert_eq!(fs::read(self.metadata().join(name)).unwrap(), bytes, "{name}");
    }
}

/// `cargo test` builds examples beside the tests; `cargo test --test tuf_client` by itself does not.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/millet-tuf-client");
    assert!(
        program.exists(),
        "build it first: cargo build --example millet-tuf-client"
    );
    program
}

/// A server of the plainest kind: HTTP/1.0, one answer for each connection.
fn serve(pages: Arc<Mutex<Pages>>, asked: Arc<Mutex<Vec<String>>>, held: Arc<Mutex<Held>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // A client that goes away is the client's business.
            let _ = connection.and_then(|connection| answer(connection, &pages, &asked, &held));
        }
    });
    address
}

fn answer(
    mut connection: TcpStream,
    pages: &Mutex<Pages>,
    asked: &Mutex<Vec<String>>,
    held: &Mutex<Held>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(&connection).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let page = pages.lock().unwrap().get(&path).cloned();
    asked.lock().unwrap().push(path.clone());
    let (status, body) = page.unwrap_or((404, Vec::new()));
    write!(
        connection,
        "HTTP/1.0 {status} -\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    let mut held = held.lock().unwrap();
    if held.0 != path {
        return connection.write_all(&body);
    }
    connection.write_all(&body[..body.len() / 2])?;
    held.1.push(connection);
    Ok(())
}
