//! Clients that take their time, on real sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use millet_server::patience::{Pace, Patience};

use crate::engineer::sha256;
use crate::world::World;

/// A server with four places that waits a second for anything: long enough for requests on a busy machine.
fn impatient() -> World {
    let mut world = World::new();
    let short = Duration::from_secs(1);
    world.patience = Patience {
        head: short,
        message: short,
        pace: Pace {
            span: short,
            bytes: 1000,
        },
    };
    world.connections = 4;
    world.restart();
    world
}

fn send(world: &World, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.base.trim_start_matches("http://")).unwrap();
    // Far above what is waited for, so that a server that never answers fails the test.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// What comes until the server closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn half_requests_do_not_keep_others_out() {
    let world = impatient();
    let half: Vec<_> = (0..10)
        .map(|_| send(&world, "GET /healthz HTTP/1.1\r\nHost:"))
        .collect();
    assert_eq!(world.get("/healthz").status, 200);
    for stream in half {
        assert_eq!(rest(stream), "");
    }
}

#[test]
fn who_has_nothing_to_ask_any_more_is_let_go() {
    let world = impatient();
    let answered = rest(send(&world, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"));
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
}

#[test]
fn half_a_message_is_refused() {
    let world = impatient();
    for path in ["votes", "feedback", "reports"] {
        let head = format!("POST /api/v1/{path} HTTP/1.1\r\nHost: here\r\nContent-Length: 500\r\n\r\n{{");
        let answer = rest(send(&world, &head));
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
    }
}

#[test]
fn an_upload_may_take_long_but_not_stand_still() {
    let world = impatient();
    let bytes = vec![b'x'; 10_000];
    let head = format!(
        "PUT /api/v1/blobs/{} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        sha256(&bytes),
        world.token,
        bytes.len()
    );
    let stopped = rest(send(&world, &format!("{head}xxx")));
    assert!(stopped.starts_with("HTTP/1.1 408"), "{stopped}");

    let mut steady = send(&world, &head);
    for piece in bytes.chunks(1000) {
        std::thread::sleep(Duration::from_millis(150));
        steady.write_all(piece).unwrap();
    }
    let answer = rest(steady);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
