//! A port that can be closed and opened again without losing it to somebody else.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio::sync::Mutex;

use crate::faults::Faults;
use crate::serve::Answers;
use crate::serve::Server;

/// A port with a server behind it, or closed.
pub(crate) struct Door {
    address: SocketAddr,
    server: Mutex<Option<Server>>,
    /// Bound and never listening, so that the port refuses connections and stays ours.
    _reserved: TcpSocket,
}

impl Door {
    /// A free port of an address, closed.
    pub(crate) fn new(at: Ipv4Addr) -> io::Result<Self> {
        let reserved = bound((at, 0).into())?;
        Ok(Self { address: reserved.local_addr()?, server: Mutex::new(None), _reserved: reserved })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens it, unless it is open.
    pub(crate) async fn open(&self, faults: &Faults, answers: Arc<impl Answers>) -> io::Result<()> {
        let mut server = self.server.lock().await;
        if server.is_none() {
            let listener = bound(self.address)?.listen(1024)?;
            *server = Some(Server::start_on(listener, None, faults.clone(), answers)?);
        }
        Ok(())
    }

    /// Closes it: connections end, new ones are refused.
    pub(crate) async fn close(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.stop().await;
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Only sockets that agree to it share the port: the reserved one and those that listen.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}
