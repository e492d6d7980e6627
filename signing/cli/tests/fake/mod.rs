//! A workshop, and a server that works: it keeps blobs, checks publications and signs the online roles.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod http;
mod repository;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub use http::FakeServer;

pub const TOKEN: &str = "a-token-for-tests";

/// The weekly command. Its last word is the build.
pub const PUBLISH: [&str; 9] = [
    "publish",
    "--model",
    "rubik",
    "--images",
    "images",
    "--channel",
    "beta",
    "--build",
    "V1",
];

/// Lets what was published go further. Its last word is the build.
pub const PROMOTE: [&str; 7] = [
    "promote",
    "--model",
    "rubik",
    "--channel",
    "stable",
    "--build",
    "V1",
];

/// Has millet.toml's keys sign for a model that is new.
pub const NEW_MODEL: [&[&str]; 1] = [&["model", "add", "rubik"]];

/// Has other keys sign for a model that has builds.
pub const OTHER_KEYS: [&[&str]; 3] = [
    &["sign", "request", "--out", "keys.json", "--yes"],
    &["sign", "keys.json", "--yes"],
    &["sign", "import", "keys.json", "--yes"],
];

/// A folder in which a release engineer works.
pub struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// An empty one.
    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// One with keys, token and millet.toml for the model `rubik`.
    pub fn for_server(server: &FakeServer) -> Self {
        let workshop = Self::empty();
        for name in ["root1", "root2", "root3", "targets1", "targets2", "builds1"] {
            workshop.ok(&["key", "new", name, "--out", "keys", "--no-passphrase"]);
        }
        workshop.write("publish.token", TOKEN.as_bytes());
        fs::set_permissions(workshop.path("publish.token"), fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            r#"server = "{}"
token = "publish.token"

[root]
keys = ["file:keys/root1.key", "file:keys/root2.key", "file:keys/root3.key"]
threshold = 2

[targets]
keys = ["file:keys/targets1.key", "file:keys/targets2.key"]
threshold = 2

[models.rubik]
keys = ["file:keys/builds1.key"]
security_patch = "2026-11-05"
"#,
            server.address()
        );
        workshop.write("millet.toml", config.as_bytes());
        workshop
    }

    /// One with a repository on the server, and images for the model.
    pub fn with_model(server: &FakeServer) -> Self {
        let workshop = Self::for_server(server);
        workshop.ok(&["repo", "init", "--yes"]);
        workshop.ok(&["model", "add", "rubik"]);
        workshop.write("images/system.img", &noise(1, 40 * 4096));
        workshop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Puts other text in the place of some in millet.toml.
    pub fn change_config(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("millet.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(self.path("millet.toml"), text.replace(from, to)).unwrap();
    }

    /// Runs `millet` here.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&self.command(arguments).output().unwrap())
    }

    /// A `millet` that can be started here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millet"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs `millet` with passphrases, a line each, on its file descriptor 0.
    pub fn with_passphrases(&self, lines: &str, arguments: &[&str]) -> Finished {
        let mut child = self
            .command(arguments)
            .args(["--passphrase-fd", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A run that ends before it asks has closed its end.
        let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
        Finished::of(&child.wait_with_output().unwrap())
    }

    /// Runs `millet`, which must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Finished {
        self.run(arguments).ok()
    }

    /// Runs `millet`, which must fail and say each of `words` on stderr and nothing on stdout.
    pub fn refused(&self, arguments: &[&str], words: &[&str]) {
        self.run(arguments).refused(words);
    }
}

pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// It failed and said each of `words` on stderr and nothing on stdout.
    pub fn refused(&self, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in: {}", self.stderr);
        }
    }

    /// It succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

/// Bytes that do not repeat and do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
    let mut state = seed | 1;
    let step = std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    });
    step.take(length).collect()
}
