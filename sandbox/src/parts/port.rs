//! Ports for programs that cannot be handed a socket, nor tell which port they were given.

use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

/// Below the ports that the kernel gives to whoever asks for any.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that no other test has, in no other run on this machine either.
pub struct Port {
    number: u16,
    /// A name that the kernel gives once and takes back when the process ends, however it ends.
    _claim: UnixListener,
}

impl Port {
    /// Claims one that is free.
    pub fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Runs beside each other begin at different places only to save failed tries.
        let start = std::process::id() % u32::from(COUNT);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let offset = u16::try_from((start + step) % u32::from(COUNT)).unwrap();
            if let Some(port) = Self::claim_this(FIRST + offset) {
                return port;
            }
        }
        panic!("no port is free");
    }

    /// Claims one that others expect somebody at, in a network of the test's own.
    pub fn known(number: u16) -> Self {
        Self::claim_this(number).unwrap_or_else(|| panic!("port {number} is not free"))
    }

    fn claim_this(number: u16) -> Option<Self> {
        let name = format!("rancher-lets-encrypt-test-port-{number}");
        let name = SocketAddr::from_abstract_name(name).unwrap();
        let claim = UnixListener::bind_addr(&name).ok()?;
        let everywhere = (Ipv4Addr::UNSPECIFIED, number);
        let is_free = TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok();
        is_free.then_some(Self { number, _claim: claim })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
