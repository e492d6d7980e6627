//! The server, over HTTP.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use millet_protocol::Sha256Digest;
use millet_protocol::api::{OnlineKeys, Problem, Publication, Published};
use millet_signing::metadata::TargetFile;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, SendBody};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::keys::read_secret;
use crate::output;
use crate::progress::Meter;

/// Longest answer of the API that is read, in bytes.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Longest small target, such as a manifest, that is read, in bytes.
const LONGEST_TARGET: u64 = 4 * 1024 * 1024;

/// A server and the right to publish there.
pub struct Client {
    agent: Agent,
    server: String,
    token: Zeroizing<String>,
}

impl Client {
    /// Reads the token; connects to nothing yet.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let token = read_secret(&config.token).context("the server's publishing token is needed")?;
        let token = Zeroizing::new(token.trim().to_owned());
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{} holds no token", config.token.display());
        }
        let local = ["http://127.", "http://localhost", "http://[::1]"];
        if config.server.starts_with("http://")
            && !local.iter().any(|prefix| config.server.starts_with(prefix))
        {
            output::say(
                "warning: the server's address is http, so the publishing token travels readable by everyone",
            );
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            // A large upload may take hours, but never stands still; the answer waits for hashing and for the lease.
            .timeout_per_write(Some(Duration::from_secs(120)))
            .timeout_recv_response(Some(Duration::from_secs(600)))
            .timeout_per_read(Some(Duration::from_secs(120)))
            .max_redirects(0)
            .user_agent(concat!("millet/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            server: config.server.clone(),
            token,
        })
    }

    /// The address, for people.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The keys that the server signs with.
    pub fn online_keys(&self) -> anyhow::Result<OnlineKeys> {
        self.get("/api/v1/online-keys")
    }

    /// Publishes signed metadata, all or nothing.
    pub fn publish(&self, publication: &Publication) -> anyhow::Result<Published> {
        self.post("/api/v1/publications", publication)
    }

    /// Asks for JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let what = || format!("cannot get {}{path}", self.server);
        let request = self
            .agent
            .get(format!("{}{path}", self.server))
            .header("authorization", self.bearer().as_str());
        answer(request.call().with_context(what)?).with_context(what)
    }

    /// Sends JSON and reads the answer's.
    pub fn post<T: DeserializeOwned>(&self, path: &str, message: &impl Serialize) -> anyhow::Result<T> {
        let what = || format!("cannot post to {}{path}", self.server);
        let request = self
            .agent
            .post(format!("{}{path}", self.server))
            .header("authorization", self.bearer().as_str());
        answer(request.send_json(message).with_context(what)?).with_context(what)
    }

    /// A file of the repository's metadata; `None` when there is no such file.
    pub fn metadata(&self, name: &str, max_length: u64) -> anyhow::Result<Option<Vec<u8>>> {
        self.file(&format!("/repo/metadata/{name}"), max_length)
    }

    /// A small target, checked against what signed metadata says of it.
    pub fn target(&self, path: &str, file: &TargetFile) -> anyhow::Result<Vec<u8>> {
        let sha256 = file
            .sha256()
            .with_context(|| format!("signed metadata names no SHA-256 for {path}"))?;
        if file.length > LONGEST_TARGET {
            bail!("{path} has {} bytes, too many for a document", file.length);
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let address = format!("/repo/targets/{folder}/{sha256}.{name}").replace("//", "/");
        let bytes = self
            .file(&address, file.length)?
            .with_context(|| format!("the server does not have {path}"))?;
        if !file.matches(&bytes) {
            bail!("{path} is not the file that signed metadata names");
        }
        Ok(bytes)
    }

    /// Uploads a file unless the server has it; says whether it had to.
    pub fn upload(&self, sha256: &Sha256Digest, path: &Path, meter: &Meter) -> anyhow::Result<bool> {
        let address = format!("{}/api/v1/blobs/{sha256}", self.server);
        let what = || format!("cannot upload {}", path.display());
        let head = self
            .agent
            .head(&address)
            .header("authorization", self.bearer().as_str());
        let head = head.call().with_context(what)?;
        match head.status() {
            StatusCode::OK => return Ok(false),
            StatusCode::NOT_FOUND => {}
            _ => {
                return answer::<serde_json::Value>(head)
                    .map(|_| false)
                    .with_context(what);
            }
        }
        let file = File::open(path).with_context(what)?;
        let length = file.metadata().with_context(what)?.len();
        let mut body = Counted {
            inner: file,
            meter,
            done: 0,
        };
        let request = self
            .agent
            .put(&address)
            .header("authorization", self.bearer().as_str())
            .header("content-type", "application/octet-stream")
            .header("content-length", length.to_string());
        let mut response = request
            .send(SendBody::from_reader(&mut body))
            .with_context(what)?;
        if !response.status().is_success() {
            return Err(refusal(&mut response)).with_context(what);
        }
        Ok(true)
    }

    fn file(&self, path: &str, max_length: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let what = || format!("cannot get {}{path}", self.server);
        let mut response = self
            .agent
            .get(format!("{}{path}", self.server))
            .call()
            .with_context(what)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let mut bytes = Vec::new();
                let reader = response.body_mut().with_config().limit(u64::MAX).reader();
                // One byte more than allowed is enough to know that it is too long.
                reader
                    .take(max_length.saturating_add(1))
                    .read_to_end(&mut bytes)
                    .with_context(what)?;
                if u64::try_from(bytes.len()).is_ok_and(|length| length > max_length) {
                    bail!(
                        "{}{path} is longer than the {max_length} bytes that are accepted",
                        self.server
                    );
                }
                Ok(Some(bytes))
            }
            _ => Err(refusal(&mut response)).with_context(what),
        }
    }

    fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.token.as_str()))
    }
}

/// Reads JSON, or the problem that stands in its place (RFC 9457).
fn answer<T: DeserializeOwned>(mut response: Response<Body>) -> anyhow::Result<T> {
    if !response.status().is_success() {
        return Err(refusal(&mut response));
    }
    let body = response.body_mut().with_config().limit(LONGEST_ANSWER);
    body.read_json()
        .context("the server's answer is not what it should be")
}

fn refusal(response: &mut Response<Body>) -> anyhow::Error {
    let status = response.status();
    let body = response
        .body_mut()
        .with_config()
        .limit(64 * 1024)
        .read_to_vec()
        .unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(Problem {
            title,
            detail: Some(detail),
            ..
        }) => anyhow!("{title}: {detail}"),
        Ok(Problem { title, .. }) => anyhow!("{title}"),
        Err(_) if status == StatusCode::UNAUTHORIZED => {
            anyhow!("the server does not know the token: copy its publish.token anew")
        }
        Err(_) => anyhow!("the server answered {status}"),
    }
}

/// Tells a meter what went over the wire.
struct Counted<'a> {
    inner: File,
    meter: &'a Meter,
    done: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.done = self
            .done
            .saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        self.meter.set(self.done);
        Ok(length)
    }
}
