//! What anyone who reaches the status port can make of it: little.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use sandbox::parts::port::Port;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Daemon;
use crate::support::World;
use crate::support::guarded;
use crate::support::look::look;

/// The most that a daemon with few certificates may ever take, in KiB. At rest it has two thirds of it, its code included.
const MOST_KIB: u64 = 40 << 10;

/// The most memory that it ever had, in KiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn connect(port: &Port) -> TcpStream {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()))).await.unwrap()
}

/// Sends all of it, as far as it is taken, and gives what comes back until the end.
async fn send(port: &Port, request: Vec<u8>) -> String {
    let (mut reads, mut writes) = connect(port).await.into_split();
    let sends = tokio::spawn(async move {
        // Who answers early closes amid the request.
        drop(writes.write_all(&request).await);
        writes
    });
    let mut answer = Vec::new();
    // What is still under way to a connection that is closed resets it; what was answered before has come.
    drop(guarded("the answer", reads.read_to_end(&mut answer)).await);
    drop(sends.await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A client of HTTP/2 that asks for the page two hundred times at once and takes none of it.
fn greedy() -> Vec<u8> {
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // The window of each stream is nothing, so that all answers stay where they are.
    sent.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for stream in 0..200 {
        // GET, http, `/`, and the authority `a`, in the words of HPACK's table.
        sent.extend(frame(1, 5, 2 * stream + 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a']));
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_speaks_http_1_only() {
    let world = World::start().await;
    let (daemon, port) = world.settings().start_seen().await;
    let answer = send(&port, greedy()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    assert_eq!(look(&port, "/healthz").await.body, "ok\n");
    assert!(peak(&daemon) < MOST_KIB, "{} KiB", peak(&daemon));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_without_measure_are_refused() {
    let world = World::start().await;
    let (daemon, port) = world.settings().start_seen().await;
    let many: String = (0..10_000).map(|number| format!("x-{number}: {number}\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    let large = format!("x: {}\r\n", "y".repeat(20 << 10));
    // As many as a browser sends, with its cookies.
    let some: String =
        (0..40).map(|number| format!("x-{number}: {}\r\n", "c".repeat(50))).collect();
    for (headers, answers) in [
        (many, "HTTP/1.1 431"),
        (long, "HTTP/1.1 431"),
        (large, "HTTP/1.1 431"),
        (some, "HTTP/1.1 200"),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let answer = send(&port, request.into_bytes()).await;
        assert!(answer.starts_with(answers), "{answers}: {answer:?}");
    }
    assert!(peak(&daemon) < MOST_KIB, "{} KiB", peak(&daemon));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowds_take_no_more_memory_than_is_set_aside_for_them() {
    let world = World::start().await;
    let (daemon, port) = world.settings().start_seen().await;
    let mut crowd = Vec::new();
    for number in 0..64_usize {
        let stream = connect(&port).await;
        let sent = match number % 3 {
            0 => greedy(),
            1 => format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(1 << 20)).into_bytes(),
            // Asks, and reads nothing.
            _ => b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100),
        };
        // As much as is taken at once; what waits in the kernel is not the daemon's.
        drop(stream.try_write(&sent));
        crowd.push(stream);
        if number.is_multiple_of(8) {
            // By now what was sent before has been read.
            assert_eq!(look(&port, "/healthz").await.body, "ok\n");
        }
    }
    assert_eq!(look(&port, "/healthz").await.body, "ok\n");
    assert!(peak(&daemon) < MOST_KIB, "{} KiB", peak(&daemon));
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_not_the_status_ports_are_refused_once_its_own_are_known() {
    let world = World::start().await;
    for (own, foreign_gets) in
        [(None, "HTTP/1.1 200"), (Some("certs.example.com, certs"), "HTTP/1.1 421")]
    {
        let mut settings = world.settings();
        if let Some(own) = own {
            settings = settings.with("STATUS_HOSTS", own);
        }
        let (_daemon, port) = settings.start_seen().await;
        let address = format!("127.0.0.1:{}", port.number());
        for (host, gets) in [
            ("evil.example.net", foreign_gets),
            ("certs.example.com:8080", "HTTP/1.1 200"),
            ("localhost", "HTTP/1.1 200"),
            (address.as_str(), "HTTP/1.1 200"),
        ] {
            for path in ["/", "/status.json", "/metrics", "/healthz"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let answer = send(&port, request.into_bytes()).await;
                assert!(answer.starts_with(gets), "{own:?} {host} {path}: {answer}");
            }
        }
    }
}
