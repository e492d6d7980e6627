//! Keys that another program holds: `exec:NAME`, whose table in millet.toml says what to run.
//!
//! The program is started for each signature, without a shell. It reads one line of JSON from stdin and writes the
//! signature in base64 to stdout: 64 bytes for ed25519 (RFC 8032, section 5.1.6), DER for P-256 (RFC 3279, section
//! 2.2.3). What it says on stderr is passed on. Exit code 0 means that it signed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use millet_signing::PublicKey;
use serde::Serialize;

use super::{Holder, Request, patience};
use crate::config::ExecConfig;
use crate::output;

/// A program that signs.
pub struct Program {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    timeout: Duration,
    public: PublicKey,
}

/// What the program reads.
#[derive(Serialize)]
struct Question<'a> {
    format: u32,
    key: &'a str,
    keyid: &'a str,
    scheme: &'a str,
    role: &'a str,
    message: String,
}

/// Longest answer, in bytes: far above a signature.
const LONGEST_ANSWER: u64 = 4096;

/// Most of what a program says that is passed on, in bytes.
const MOST_WORDS: u64 = 16 * 1024;

/// How often the program is looked at.
const TICK: Duration = Duration::from_millis(10);

/// How long its pipes may stay open after its end, which is when it left something running.
const PIPES: Duration = Duration::from_secs(2);

impl Program {
    /// As millet.toml names it; `None` when the program is not on this machine. One without a `/` is looked for in
    /// `PATH`, and only when it is run.
    pub fn find(name: &str, config: &ExecConfig, folder: &Path, public: PublicKey) -> Option<Self> {
        let (program, arguments) = config.exec.split_first()?;
        let program = match program.contains('/') {
            true => {
                let path = folder.join(program);
                path.exists().then_some(path)?
            }
            false => program.into(),
        };
        Some(Self {
            name: name.to_owned(),
            program,
            arguments: arguments.to_vec(),
            timeout: Duration::from_secs(config.timeout_seconds.into()),
            public,
        })
    }

    fn ask(&self, question: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read all of it may still sign: the signature decides.
            thread::spawn(move || stdin.write_all(&question));
        }
        let answer = child.stdout.take().map(read_answer);
        let words = child.stderr.take().map(|stderr| pass_on(stderr, &self.name));
        let status = self.wait(&mut child)?;
        if let Some(words) = words {
            // So that an error stands below its reasons.
            let _ = words.recv_timeout(PIPES);
        }
        if !status.success() {
            bail!("{} ended with {status}", self.program.display());
        }
        let answer = answer
            .and_then(|answer| answer.recv_timeout(PIPES).ok())
            .with_context(|| format!("{} left its output open", self.program.display()))?;
        answer.with_context(|| format!("cannot read what {} wrote", self.program.display()))
    }

    fn wait(&self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        let what = || format!("cannot wait for {}", self.program.display());
        let mut waited = Duration::ZERO;
        while waited < self.timeout {
            if let Some(status) = child.try_wait().with_context(what)? {
                return Ok(status);
            }
            thread::sleep(TICK);
            waited = waited.saturating_add(TICK);
        }
        child.kill().with_context(what)?;
        child.wait().with_context(what)?;
        bail!(
            "{} did not sign within {} s: timeout_seconds in [keys.{}] allows more",
            self.program.display(),
            self.timeout.as_secs(),
            self.name
        )
    }
}

impl Holder for Program {
    fn unlock(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn sign(&self, request: &Request<'_>) -> anyhow::Result<Vec<u8>> {
        let id = self.public.id();
        let question = Question {
            format: 1,
            key: &self.name,
            keyid: id.as_str(),
            scheme: self.public.scheme(),
            role: request.role,
            message: BASE64.encode(request.message),
        };
        let mut line = serde_json::to_vec(&question).context("cannot write the request")?;
        line.push(b'\n');
        let answer = patience::hint_after(&format!("exec:{}", self.name), || self.ask(line))?;
        BASE64
            .decode(answer.trim_ascii())
            .with_context(|| format!("what {} wrote is not base64", self.program.display()))
    }
}

fn read_answer(stdout: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (done, answer) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut bytes);
        // Nobody listens any more after a timeout.
        let _ = done.send(read.map(|_| bytes));
    });
    answer
}

/// Passes on each line as it comes: it may ask for something.
fn pass_on(stderr: impl Read + Send + 'static, name: &str) -> Receiver<()> {
    let (done, end) = channel();
    let name = name.to_owned();
    thread::spawn(move || {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        let mut words = stderr.by_ref().take(MOST_WORDS);
        while matches!(words.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
            output::say(&format!("{name}: {text}"));
            line.clear();
        }
        // The rest is not shown, and does not block the program either.
        let _ = io::copy(&mut stderr, &mut io::sink());
        let _ = done.send(());
    });
    end
}
