//! What clients that mean no good can take, over real connections to the loopback address.

#![expect(clippy::disallowed_methods, reason = "tests read the clock and the process's own memory")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use millrace_serve::{Limits, serve_always};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn start(limits: Limits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let large = "x".repeat(4 << 20);
    let router = Router::new().route("/", get(|| async { "ok" })).route("/large", get(|| async move { large }));
    tokio::spawn(serve_always(listener, router, limits));
    address
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

/// Asks for a path, and returns what comes within five seconds.
async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address).await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await;
    answer
}

/// Returns whether the other side hangs up within a time.
async fn is_hung_up(stream: &mut TcpStream, within: Duration) -> bool {
    let mut bytes = [0; 1024];
    tokio::time::timeout(within, async { while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {} })
        .await
        .is_ok()
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("it is a number");
    pages * 4096
}

/// What took a worker's memory before: heads that never end, from one pod.
#[tokio::test]
async fn three_hundred_half_heads_of_390_kb_take_no_memory() {
    let limits = Limits { connections: 512, of_one_peer: 512, ..Limits::HEALTH };
    let address = start(limits).await;
    assert!(ask(address, "/").await.ends_with("ok"));
    let before = resident();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Filler: {}", "x".repeat(390_000));
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(address).await;
        // It stops reading, answers 431 and hangs up; what the kernel does not take is not ours.
        let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(head.as_bytes())).await;
        streams.push(stream);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes of {}", 300 * head.len());
    assert!(ask(address, "/").await.ends_with("ok"));
}

#[tokio::test]
async fn a_head_that_is_too_large_or_slow_ends_its_connection() {
    let address = start(Limits { head: Duration::from_millis(300), ..Limits::HEALTH }).await;
    let large = ask(address, &format!("/{}", "x".repeat(20_000))).await;
    assert!(large.starts_with("HTTP/1.1 4"), "{large}");
    let mut slow = connect(address).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("it is taken");
    assert!(is_hung_up(&mut slow, Duration::from_secs(3)).await);
    let mut idle = connect(address).await;
    assert!(is_hung_up(&mut idle, Duration::from_secs(3)).await);
}

#[tokio::test]
async fn one_peer_keeps_nobody_out() {
    let address = start(Limits { connections: 8, of_one_peer: 2, ..Limits::HEALTH }).await;
    let (_first, _second) = (connect(address).await, connect(address).await);
    let mut third = connect(address).await;
    assert!(is_hung_up(&mut third, Duration::from_secs(3)).await, "it has two already");
    let mut other = tokio::net::TcpSocket::new_v4().expect("a socket");
    other = {
        other.bind("127.0.0.2:0".parse().expect("an address")).expect("all of 127/8 is ours");
        other
    };
    let mut other = other.connect(address).await.expect("it listens");
    other.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("it is taken");
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let limits = Limits { connections: 1, lifetime: Some(Duration::from_millis(300)), ..Limits::HEALTH };
    let address = start(limits).await;
    let begun = Instant::now();
    let mut deaf = connect(address).await;
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it is taken");
    // There is one place only, so this is answered when the other has been cut.
    let mut answer = ask(address, "/").await;
    while !answer.ends_with("ok") && begun.elapsed() < Duration::from_secs(20) {
        answer = ask(address, "/").await;
    }
    assert!(answer.ends_with("ok"), "{answer}");
}
