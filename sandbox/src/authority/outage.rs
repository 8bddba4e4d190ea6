//! Being away, and coming back at the same address.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use crate::serve::Server;

/// How connections fail while the authority is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// They are taken and closed at once.
    Closed,
    /// Nothing listens.
    Refused,
}

/// What is at the address.
pub(super) enum Presence {
    Closing(Closing),
    Here(Server),
    /// The socket is bound and does not listen, so nobody else gets the port meanwhile.
    Refusing(TcpSocket),
    /// Only while one becomes another.
    Nothing,
}

/// Takes connections and closes them, until it is dropped.
pub(super) struct Closing(JoinHandle<()>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Presence {
    /// Frees the address, for this to take it again at once.
    async fn clear(&mut self) {
        match std::mem::replace(self, Self::Nothing) {
            Self::Here(server) => server.stop().await,
            Self::Closing(mut closing) => {
                closing.0.abort();
                // It was told to end, so how it ended is no news.
                drop((&mut closing.0).await);
            }
            Self::Refusing(socket) => drop(socket),
            Self::Nothing => {}
        }
    }

    pub(super) async fn leave(&mut self, how: Outage, at: SocketAddr) -> io::Result<()> {
        self.clear().await;
        let socket = bound(at)?;
        *self = match how {
            Outage::Refused => Self::Refusing(socket),
            Outage::Closed => Self::Closing(closing(socket.listen(BACKLOG)?)),
        };
        Ok(())
    }

    /// A socket that listens where something else was before.
    pub(super) async fn listen(&mut self, at: SocketAddr) -> io::Result<TcpListener> {
        if let Self::Refusing(_) = self
            && let Self::Refusing(socket) = std::mem::replace(self, Self::Nothing)
        {
            return socket.listen(BACKLOG);
        }
        self.clear().await;
        bound(at)?.listen(BACKLOG)
    }
}

const BACKLOG: u32 = 1024;

fn bound(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections that just ended still have the port.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    Ok(socket)
}

fn closing(listener: TcpListener) -> Closing {
    Closing(tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    }))
}
