use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use millet_protocol::Sha256Digest;
use millet_protocol::api::Problem;
use millet_server::bounds::Bounds;
use millet_server::edge::{Clock, Random};
use millet_server::listen::listen;
use millet_server::patience::Patience;
use millet_server::{Config, Server, rollouts};
use millet_signing::{Files, Limits, Refresh, Step, Verified};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

/// A server on a data directory, and the time.
pub struct World {
    folder: tempfile::TempDir,
    pub time: Arc<Mutex<Timestamp>>,
    runtime: Option<Runtime>,
    server: Option<Arc<Server>>,
    pub base: String,
    pub token: String,
    /// What the next start allows.
    pub bounds: Bounds,
    pub least_room: u64,
    pub patience: Patience,
    pub connections: u32,
    agent: ureq::Agent,
}

pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> T {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {text}", self.status))
    }

    /// The kind of problem that the answer is, such as `build-taken`.
    pub fn problem(&self) -> String {
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        problem.kind
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub fn new() -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            time: Arc::new(Mutex::new("2026-11-20T12:00:00Z".parse().unwrap())),
            runtime: None,
            server: None,
            base: String::new(),
            token: String::new(),
            bounds: Bounds::default(),
            least_room: 0,
            patience: Patience::default(),
            connections: 100,
            agent,
        };
        world.start();
        world
    }

    /// A client of a server in another process, at the time that server says.
    pub fn client(base: String, token: String) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            time: Arc::new(Mutex::new(Timestamp::UNIX_EPOCH)),
            runtime: None,
            server: None,
            base,
            token,
            bounds: Bounds::default(),
            least_room: 0,
            patience: Patience::default(),
            connections: 100,
            agent,
        };
        let date = world.get("/healthz").header("date").to_owned();
        *world.time.lock().unwrap() = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(date)
            .unwrap();
        world
    }

    pub fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let (config, patience, connections) = (self.config(), self.patience, self.connections);
        let (server, base) = runtime.block_on(async {
            let server = Server::open(config).await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let router = server.router();
            let stop = tokio_util::sync::CancellationToken::new();
            tokio::spawn(listen(listener, router, patience, connections, stop));
            (server, base)
        });
        self.base = base;
        self.token = std::fs::read_to_string(&server.state().token_path)
            .unwrap()
            .trim()
            .to_owned();
        self.server = Some(Arc::new(server));
        self.runtime = Some(runtime);
    }

    /// Ends the server without any farewell.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
        self.server = None;
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn config(&self) -> Config {
        let time = self.time.clone();
        let counter = Arc::new(Mutex::new(0_u8));
        Config {
            data: self.data(),
            zone: TimeZone::get("Asia/Shanghai").unwrap(),
            clock: Clock::new(move || *time.lock().unwrap()),
            random: Random::new(move |bytes| {
                let mut counter = counter.lock().unwrap();
                *counter += 1;
                bytes.fill(*counter);
                Ok(())
            }),
            bounds: self.bounds,
            least_room: self.least_room,
        }
    }

    pub fn server(&self) -> Arc<Server> {
        self.server.clone().unwrap()
    }

    pub fn now(&self) -> Timestamp {
        *self.time.lock().unwrap()
    }

    pub fn pass(&self, time: SignedDuration) {
        let mut now = self.time.lock().unwrap();
        *now = now.checked_add(time).unwrap();
    }

    /// Lets the delta worker do one job. Whether there was one.
    pub fn work(&self) -> bool {
        let server = self.server();
        self.block_on(async move { server.worker().run_one().await.unwrap() })
    }

    pub fn tick(&self) {
        let server = self.server();
        self.block_on(async move {
            rollouts::tick(&server.state().writer, &server.state().store)
                .await
                .unwrap();
        });
    }

    pub fn renew(&self) -> Vec<String> {
        let server = self.server();
        self.block_on(async move { server.state().writer.renew().await.unwrap() })
    }

    pub fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.call())
    }

    pub fn head(&self, path: &str) -> Answer {
        let token = format!("Bearer {}", self.token);
        answer(
            self.agent
                .head(format!("{}{path}", self.base))
                .header("Authorization", token)
                .call(),
        )
    }

    pub fn post(&self, path: &str, message: &impl Serialize) -> Answer {
        self.post_as(&self.token, path, message)
    }

    pub fn post_as(&self, token: &str, path: &str, message: &impl Serialize) -> Answer {
        let request = self.agent.post(format!("{}/api/v1{path}", self.base));
        let request = request.header("Authorization", format!("Bearer {token}"));
        answer(request.send(serde_json::to_vec(message).unwrap()))
    }

    pub fn put_blob(&self, name: Sha256Digest, bytes: &[u8]) -> Answer {
        let request = self.agent.put(format!("{}/api/v1/blobs/{name}", self.base));
        answer(
            request
                .header("Authorization", format!("Bearer {}", self.token))
                .send(bytes),
        )
    }

    pub fn upload(&self, bytes: &[u8]) -> Sha256Digest {
        let name = Sha256Digest(Sha256::digest(bytes).into());
        let answer = self.put_blob(name, bytes);
        assert!(matches!(answer.status, 200 | 201), "{}", answer.status);
        name
    }

    /// Refreshes as a device does that trusts `root` and kept `cached`.
    pub fn refresh(&self, root: &[u8], cached: Files) -> Verified {
        let roles: Vec<String> = ["builds", "deltas", "rollouts"]
            .map(|role| format!("{role}.rubik"))
            .into();
        let mut refresh = Refresh::start(root, cached, &roles, Limits::default(), self.now()).unwrap();
        while let Step::Fetch { name, .. } = refresh.next() {
            let answer = self.get(&format!("/repo/metadata/{name}"));
            let bytes = match answer.status {
                200 => Some(answer.body),
                404 => None,
                status => panic!("{name}: {status}"),
            };
            refresh.supply(bytes).unwrap();
        }
        refresh.finish().unwrap()
    }

    /// The bytes of a target that metadata names.
    pub fn target(&self, verified: &Verified, path: &str) -> Vec<u8> {
        let file = verified
            .set
            .target(path)
            .unwrap_or_else(|| panic!("{path} is not listed"));
        let answer = self.get(&address(path, file.sha256().unwrap()));
        assert_eq!(answer.status, 200, "{path}");
        assert!(file.matches(&answer.body), "{path}");
        answer.body
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where a consistent snapshot keeps a target.
pub fn address(path: &str, sha256: Sha256Digest) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap();
    format!("/repo/targets/{folder}/{sha256}.{name}")
}

/// Status 0 stands for a connection that broke.
fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let Ok(mut response) = result else {
        return Answer {
            status: 0,
            headers: ureq::http::HeaderMap::new(),
            body: Vec::new(),
        };
    };
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_vec()
            .unwrap(),
    }
}
