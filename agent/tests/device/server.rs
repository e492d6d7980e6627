use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// A static file server with ranges and entity tags, and with faults on demand. One request for each connection.
pub struct Server {
    pub address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    log: Vec<Asked>,
}

/// What a request was.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub status: u16,
    pub body: String,
}

/// What goes wrong for requests whose path ends so, and how many times.
pub struct Fault {
    pub path: &'static str,
    pub times: u32,
    pub kind: Kind,
}

pub enum Kind {
    /// The connection closes after so many bytes of the body.
    Drop(usize),
    /// An answer without a body.
    Status(u16, Option<&'static str>),
    /// Ranges are ignored.
    NoRanges,
    /// The body has no end.
    Endless,
    /// As `Endless`, and with this status.
    EndlessStatus(u16),
    /// Of the body one byte comes at a time, after so long each.
    Drip(Duration),
    /// This length is claimed in place of the body's.
    ClaimLength(u64),
    /// This range is claimed in place of the one that comes.
    ClaimRange(&'static str),
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared::default()));
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // A client that goes away is the client's business.
                let _ = connection.and_then(|connection| serve(&connection, &serving));
            }
        });
        Self { address, shared }
    }

    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.shared.lock().unwrap().files.insert(path.to_owned(), bytes);
    }

    /// Changes the one file whose path ends so.
    pub fn change(&self, end: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut shared = self.shared.lock().unwrap();
        let mut found: Vec<_> = shared
            .files
            .iter_mut()
            .filter(|(path, _)| path.ends_with(end))
            .collect();
        assert_eq!(found.len(), 1, "{end}");
        change(found[0].1);
    }

    /// Everything that it has, for whoever goes back to it.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.shared.lock().unwrap().files.clone()
    }

    /// What it has from now on.
    pub fn set_files(&self, files: BTreeMap<String, Vec<u8>>) {
        self.shared.lock().unwrap().files = files;
    }

    pub fn fault(&self, path: &'static str, times: u32, kind: Kind) {
        self.shared
            .lock()
            .unwrap()
            .faults
            .push(Fault { path, times, kind });
    }

    pub fn heal(&self) {
        self.shared.lock().unwrap().faults.clear();
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.lock().unwrap().log)
    }
}

fn serve(connection: &TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;

    let mut shared = shared.lock().unwrap();
    let (status, head, mut answer) = shared.answer(method, path, &headers);
    let mut cut = usize::MAX;
    let mut length = format!("Content-Length: {}\r\n", answer.len());
    let (mut endless, mut drip) = (false, None);
    let mut status = status;
    let mut head = head;
    if let Some(fault) = shared
        .faults
        .iter_mut()
        .find(|fault| path.ends_with(fault.path) && fault.times > 0)
    {
        fault.times -= 1;
        match fault.kind {
            Kind::Drop(after) => cut = after,
            Kind::Status(code, retry_after) => {
                status = code;
                answer = Vec::new();
                length = "Content-Length: 0\r\n".to_owned();
                head = retry_after.map_or_else(String::new, |value| format!("Retry-After: {value}\r\n"));
            }
            Kind::NoRanges if status == 206 => {
                status = 200;
                head = String::new();
                answer = shared.files[path].clone();
                length = format!("Content-Length: {}\r\n", answer.len());
            }
            Kind::NoRanges => {}
            Kind::Endless => endless = true,
            Kind::EndlessStatus(code) => (status, endless) = (code, true),
            Kind::Drip(every) => drip = Some(every),
            Kind::ClaimLength(claimed) => length = format!("Content-Length: {claimed}\r\n"),
            Kind::ClaimRange(claimed) => head = format!("Content-Range: {claimed}\r\n"),
        }
    }
    shared.log.push(Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        range: headers.get("range").cloned(),
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    drop(shared);
    if endless {
        length = String::new();
    }
    let mut connection = connection;
    write!(
        connection,
        "HTTP/1.1 {status} -\r\nConnection: close\r\n{length}{head}\r\n"
    )?;
    if let Some(every) = drip {
        for byte in answer {
            connection.write_all(&[byte])?;
            std::thread::sleep(every);
        }
        return Ok(());
    }
    connection.write_all(&answer[..cut.min(answer.len())])?;
    if endless {
        // Until the client has had enough.
        loop {
            connection.write_all(&[b' '; 4096])?;
        }
    }
    Ok(())
}

impl Shared {
    fn answer(&self, method: &str, path: &str, headers: &BTreeMap<String, String>) -> (u16, String, Vec<u8>) {
        if method == "POST" {
            return (202, String::new(), Vec::new());
        }
        let Some(bytes) = self.files.get(path) else {
            return (404, String::new(), Vec::new());
        };
        let Some(range) = headers.get("range") else {
            let etag = format!("\"{}\"", hex::encode(&Sha256::digest(bytes)[..8]));
            if headers.get("if-none-match") == Some(&etag) {
                return (304, String::new(), Vec::new());
            }
            return (200, format!("ETag: {etag}\r\n"), bytes.clone());
        };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        if first >= bytes.len() {
            return (416, String::new(), Vec::new());
        }
        let last = last.min(bytes.len() - 1);
        let head = format!("Content-Range: bytes {first}-{last}/{}\r\n", bytes.len());
        (206, head, bytes[first..=last].to_vec())
    }
}
