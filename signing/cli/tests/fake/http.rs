use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::TOKEN;
use super::repository::FakeRepository;

/// A server on a port of its own, as long as the value lives.
pub struct FakeServer {
    address: SocketAddr,
    repository: Arc<Mutex<FakeRepository>>,
}

struct Request {
    method: String,
    path: String,
    token: bool,
    body: Vec<u8>,
}

struct Answer(u16, Vec<u8>);

impl FakeServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let repository = Arc::new(Mutex::new(FakeRepository::default()));
        let shared = Arc::clone(&repository);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &shared);
            }
        });
        Self { address, repository }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds, to look at and to bend.
    pub fn repository(&self) -> MutexGuard<'_, FakeRepository> {
        self.repository.lock().unwrap()
    }
}

fn serve(stream: TcpStream, repository: &Mutex<FakeRepository>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(request) = read(&mut reader) else { return };
    let head = request.method == "HEAD";
    let Answer(status, body) = answer(&request, &mut repository.lock().unwrap());
    let shown: &[u8] = if head { b"" } else { &body };
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(shown);
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut token, mut length) = (false, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "authorization" => token = value == format!("Bearer {TOKEN}"),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        token,
        body,
    })
}

fn answer(request: &Request, repository: &mut FakeRepository) -> Answer {
    let json = |value: serde_json::Value| Answer(200, value.to_string().into_bytes());
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    if parts.first() == Some(&"repo") {
        return match repository.file(&parts[1..].join("/")) {
            Some(bytes) => Answer(200, bytes),
            None => Answer(404, Vec::new()),
        };
    }
    if !request.token {
        return problem(401, "the token is not known", None);
    }
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["api", "v1", "online-keys"]) => json(repository.online_keys()),
        ("HEAD", ["api", "v1", "blobs", digest]) => Answer(
            if repository.blobs.contains_key(*digest) {
                200
            } else {
                404
            },
            Vec::new(),
        ),
        ("PUT", ["api", "v1", "blobs", digest]) => {
            if hex::encode(Sha256::digest(&request.body)) != *digest {
                return problem(422, "the blob has another SHA-256", None);
            }
            repository
                .blobs
                .insert((*digest).to_owned(), request.body.clone());
            Answer(201, Vec::new())
        }
        ("POST", ["api", "v1", "publications"]) => {
            let publication = serde_json::from_slice(&request.body).unwrap();
            match repository.publish(&publication) {
                Ok(()) => json(json!({"snapshot_version": 1, "builds": [], "delta_jobs": []})),
                Err(reason) => problem(422, "the publication is refused", Some(&reason)),
            }
        }
        ("POST", ["api", "v1", "models", model, "channels", channel, "rollout", ..]) => {
            let message: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            repository.rollouts.push((request.path.clone(), message.clone()));
            let build = message.get("build").cloned().unwrap_or_else(|| json!("V1"));
            json(
                json!({"model": model, "channel": channel, "build": build, "stage": "approved", "outcomes": {}}),
            )
        }
        _ => problem(404, "there is no such thing", Some(&request.path)),
    }
}

fn problem(status: u16, title: &str, detail: Option<&str>) -> Answer {
    let value = json!({"type": "test", "title": title, "status": status, "detail": detail});
    Answer(status, value.to_string().into_bytes())
}
