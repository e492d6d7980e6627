//! Clients that take their time, on real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millet_server::listen::listen;
use millet_server::patience::{Pace, Patience};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::engineer::sha256;
use crate::world::World;

const SHORT: Duration = Duration::from_secs(1);

/// A server with four places. A test shortens only what it waits to see run out: its own threads may stand still too.
fn server(patience: Patience) -> World {
    let mut world = World::new();
    world.patience = patience;
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
    let world = server(Patience {
        head: SHORT,
        ..Patience::default()
    });
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
    let world = server(Patience {
        head: SHORT * 3,
        ..Patience::default()
    });
    let answered = rest(send(&world, "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"));
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
}

#[test]
fn half_a_message_is_refused_whatever_it_announces() {
    let world = server(Patience {
        message: SHORT,
        ..Patience::default()
    });
    let lengths = [(500, 408), (1_000_000_000_000_u64, 413)];
    let half: Vec<_> = ["votes", "feedback", "reports"]
        .iter()
        .flat_map(|path| lengths.map(|(length, status)| (path, length, status)))
        .map(|(path, length, status)| {
            let head =
                format!("POST /api/v1/{path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n{{");
            (send(&world, &head), format!("HTTP/1.1 {status}"))
        })
        .collect();
    for (stream, status) in half {
        let answer = rest(stream);
        assert!(answer.starts_with(&status), "{answer}");
    }
}

#[test]
fn a_message_without_a_length_is_read_as_far_as_it_may_be() {
    let world = server(Patience::default());
    let long = format!(
        "POST /api/v1/votes HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n{}\r\n0\r\n\r\n",
        " ".repeat(0x10001)
    );
    let answer = rest(send(&world, &long));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// The head of an upload of so many bytes, and they.
fn upload(world: &World, length: usize) -> (String, Vec<u8>) {
    let bytes = vec![b'x'; length];
    let head = format!(
        "PUT /api/v1/blobs/{} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n",
        sha256(&bytes),
        world.token,
    );
    (head, bytes)
}

#[test]
fn an_upload_may_not_stand_still() {
    let world = server(Patience {
        pace: Pace {
            span: SHORT,
            bytes: 1000,
        },
        ..Patience::default()
    });
    let (head, _) = upload(&world, 10_000);
    let stopped = rest(send(&world, &format!("{head}xxx")));
    assert!(stopped.starts_with("HTTP/1.1 408"), "{stopped}");
}

#[test]
fn an_upload_may_take_longer_than_a_message() {
    let world = server(Patience {
        message: SHORT,
        ..Patience::default()
    });
    let (head, bytes) = upload(&world, 10_000);
    let mut steady = send(&world, &head);
    for piece in bytes.chunks(1000) {
        std::thread::sleep(SHORT / 5);
        steady.write_all(piece).unwrap();
    }
    let answer = rest(steady);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Far more than the systems of both sides hold.
const ANSWER: usize = 32 << 20;

/// A server of one long answer: its address.
fn long_answer(runtime: &Runtime, pace: Pace) -> SocketAddr {
    let patience = Patience {
        pace,
        ..Patience::default()
    };
    let router = axum::Router::new().fallback(|| async { vec![0; ANSWER] });
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(listen(listener, router, patience, 4, CancellationToken::new()));
    address
}

/// What is read of the long answer by someone who begins with so many pieces of 16 KiB, a moment before each, and then hurries.
fn read_slowly(address: SocketAddr, pieces: u32, moment: Duration) -> usize {
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Left to itself the system lets it grow, and takes steps of a sixteenth of it.
    stream.set_recv_buffer_size(64 << 10).unwrap();
    stream.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(stream);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut piece = vec![0; 16 << 10];
    let mut read = 0;
    for _ in 0..pieces {
        std::thread::sleep(moment);
        stream.read_exact(&mut piece).unwrap();
        read += piece.len();
    }
    std::thread::sleep(moment);
    // A connection that was given up ends early, with or without an error.
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        read += count;
    }
    read
}

#[test]
fn an_answer_may_be_taken_slowly_but_not_left() {
    let runtime = Runtime::new().unwrap();
    let pace = Pace {
        span: SHORT * 5,
        bytes: 30 << 10,
    };
    let address = long_answer(&runtime, pace);
    // More than what is promised for a span, 512 bytes a second for five minutes, since moments may last longer.
    let moment = SHORT / 10;
    let slow = std::thread::spawn(move || read_slowly(address, 90, moment));
    assert!(read_slowly(address, 0, SHORT * 12) < ANSWER);
    assert!(slow.join().unwrap() > ANSWER);
}
