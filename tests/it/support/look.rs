//! A look at a daemon from outside, as a browser or Prometheus takes it.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use sandbox::parts::port::Port;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Daemon;
use super::Settings;
use super::guarded;

/// What came back.
pub(crate) struct Page {
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Settings {
    /// A daemon that can be looked at, on a port of its own.
    pub(crate) async fn start_seen(self) -> (Daemon, Port) {
        let port = Port::claim();
        let listen = format!("127.0.0.1:{}", port.number());
        let mut daemon = self.with("LISTEN", listen).start();
        daemon.says("starting").await;
        (daemon, port)
    }
}

/// Asks for a path; HTTP/1.0, so that the end of the answer is that of the connection.
pub(crate) async fn look(port: &Port, path: &str) -> Page {
    let asking = async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Page { head: head.to_owned(), body: body.to_owned() }
    };
    guarded(path, asking).await
}
