//! What DNS says about a name, each kind of record and of failure by itself.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::config::ResolverOpts;
use hickory_resolver::net::DnsError;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::system_conf::read_system_conf;
use thiserror::Error;

use crate::probe::caa::Record;

/// The kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

impl Family {
    /// The kind that an address is of.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The type of their records.
    pub fn record(self) -> &'static str {
        match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        }
    }
}

/// Why DNS gave no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Nothing {
    /// NXDOMAIN.
    #[error("the name does not exist (NXDOMAIN)")]
    NoName,
    /// NOERROR, and no record of this type.
    #[error("there is no such record")]
    NoRecord,
    /// SERVFAIL: the servers of the domain do not answer, or their signatures (DNSSEC) are wrong.
    #[error("the name server could not find out (SERVFAIL)")]
    Failure,
    /// Another refusal.
    #[error("the name server refuses to say ({0})")]
    Refused(String),
    /// No answer in time.
    #[error("the name server does not answer")]
    Silence,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Asks name servers. Nothing is remembered between two questions.
#[derive(Clone)]
pub struct Dns {
    resolver: Arc<TokioResolver>,
    servers: String,
    limit: Duration,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dns").field(&self.servers).finish()
    }
}

/// Reads the address of a name server; its port is 53 unless it says otherwise.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = text.parse().ok();
    let address =
        address.or_else(|| Some((bare.unwrap_or(text).parse::<IpAddr>().ok()?, 53).into()));
    address.ok_or_else(|| {
        format!(
            "`{}`: the name server is an IP address, with a port if that is not 53, like 1.1.1.1 or 127.0.0.1:8053",
            text.escape_debug()
        )
    })
}

impl Dns {
    /// Asks whom the system asks (`/etc/resolv.conf`).
    pub fn of_system(limit: Duration) -> Result<Self, String> {
        let (config, options) =
            read_system_conf().map_err(|error| format!("/etc/resolv.conf: {error}"))?;
        Self::build(config, options, limit)
    }

    /// Asks one server.
    pub fn at(server: SocketAddr, limit: Duration) -> Result<Self, String> {
        let mut at = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut at.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![at]);
        Self::build(config, ResolverOpts::default(), limit)
    }

    fn build(
        config: ResolverConfig,
        mut options: ResolverOpts,
        limit: Duration,
    ) -> Result<Self, String> {
        options.cache_size = 0;
        // The CA does not have our /etc/hosts.
        options.use_hosts_file = ResolveHosts::Never;
        let servers = config.name_servers().iter().map(|server| {
            let port = server.connections.first().map_or(53, |first| first.port);
            match port {
                53 => server.ip.to_string(),
                port => SocketAddr::from((server.ip, port)).to_string(),
            }
        });
        let servers = servers.collect::<Vec<_>>().join(", ");
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
        let resolver = builder.build().map_err(|error| error.to_string())?;
        let resolver = Arc::new(resolver);
        Ok(Self { resolver, servers, limit })
    }

    /// Who is asked.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The addresses of a name, of one kind.
    pub async fn addresses(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, Nothing> {
        let records = match family {
            Family::V4 => self.look(name, RecordType::A).await?,
            Family::V6 => self.look(name, RecordType::AAAA).await?,
        };
        let addresses = records.into_iter().filter_map(|data| data.ip_addr());
        some(addresses.collect())
    }

    /// All addresses of a name, in the order in which a CA takes them.
    pub(super) async fn everywhere(&self, name: &str) -> Result<Vec<SocketAddr>, Nothing> {
        let (v6, v4) =
            tokio::join!(self.addresses(name, Family::V6), self.addresses(name, Family::V4));
        match (v6, v4) {
            (Err(_), Err(nothing)) => Err(nothing),
            (v6, v4) => {
                let all = v6.into_iter().chain(v4).flatten();
                Ok(all.map(|ip| (ip, 0).into()).collect())
            }
        }
    }

    /// The CAA records that stand at a name, and where: at the name itself, or where its alias leads (RFC 8659,
    /// section 3).
    pub async fn caa(&self, name: &str) -> Result<(String, Vec<Record>), Nothing> {
        let found = self.found(name, RecordType::CAA).await?;
        let mut owner = name.to_owned();
        let mut records = Vec::new();
        for (at, data) in found {
            let RData::CAA(caa) = data else { continue };
            owner = at;
            records.push(Record {
                // Many take the lowest bit for the critical one, and CAs know that they do.
                is_critical: caa.issuer_critical || caa.reserved_flags & 1 == 1,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            });
        }
        Ok((owner, some(records)?))
    }

    async fn look(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Nothing> {
        Ok(self.found(name, kind).await?.into_iter().map(|(_, data)| data).collect())
    }

    /// The records of an answer, each with the name that it stands at, in lower case and without the last dot.
    async fn found(&self, name: &str, kind: RecordType) -> Result<Vec<(String, RData)>, Nothing> {
        // The last dot keeps the domains that /etc/resolv.conf searches out of it.
        let asked = self.resolver.lookup(format!("{name}."), kind);
        match tokio::time::timeout(self.limit, asked).await {
            Err(_) => Err(Nothing::Silence),
            Ok(Err(error)) => Err(nothing(&error)),
            Ok(Ok(found)) => {
                let records = found.answers().iter().map(|record| {
                    let at = record.name.to_ascii().to_ascii_lowercase();
                    (at.trim_end_matches('.').to_owned(), record.data.clone())
                });
                Ok(records.collect())
            }
        }
    }
}

fn some<T>(found: Vec<T>) -> Result<Vec<T>, Nothing> {
    if found.is_empty() {
        return Err(Nothing::NoRecord);
    }
    Ok(found)
}

fn nothing(error: &NetError) -> Nothing {
    if matches!(error, NetError::Timeout | NetError::NoConnections) {
        return Nothing::Silence;
    }
    let NetError::Dns(error) = error else {
        return Nothing::Other(error.to_string());
    };
    let code = if let DnsError::NoRecordsFound(none) = error {
        none.response_code
    } else if let DnsError::ResponseCode(code) = error {
        *code
    } else {
        return Nothing::Other(error.to_string());
    };
    if code == ResponseCode::NXDomain {
        Nothing::NoName
    } else if code == ResponseCode::NoError {
        Nothing::NoRecord
    } else if code == ResponseCode::ServFail {
        Nothing::Failure
    } else {
        Nothing::Refused(code.to_string())
    }
}

/// What is wrong with an address that a CA is to reach; none if it is a public one.
pub fn oddness(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) => oddness_v4(v4),
        IpAddr::V6(v6) => oddness_v6(v6),
    }
}

fn oddness_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_private() || is_shared {
        Some("a private address")
    } else if address.is_link_local() {
        Some("a link-local address")
    } else if first == 0 || first >= 224 {
        Some("a reserved address")
    } else {
        None
    }
}

fn oddness_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unique_local() {
        Some("a private address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address.is_unspecified() || address.is_multicast() {
        Some("a reserved address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_name_server_may_lack_its_port() {
        for (text, address) in [
            ("1.1.1.1", "1.1.1.1:53"),
            ("127.0.0.1:8053", "127.0.0.1:8053"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:8053", "[::1]:8053"),
        ] {
            assert_eq!(server(text).unwrap(), address.parse().unwrap(), "{text}");
        }
        for wrong in ["", "dns.test", "1.1.1.1:x", "1.1.1.1:70000", "[1.1.1.1", "1.1.1.1\n"] {
            assert!(server(wrong).unwrap_err().contains("IP address"), "{wrong}");
        }
    }

    #[test]
    fn addresses_that_no_ca_reaches_are_known() {
        for (address, odd) in [
            ("127.0.0.1", Some("a loopback address")),
            ("10.1.2.3", Some("a private address")),
            ("172.31.0.1", Some("a private address")),
            ("172.32.0.1", None),
            ("192.168.0.1", Some("a private address")),
            ("100.64.0.1", Some("a private address")),
            ("100.128.0.1", None),
            ("169.254.169.250", Some("a link-local address")),
            ("0.0.0.0", Some("a reserved address")),
            ("224.0.0.1", Some("a reserved address")),
            ("203.0.113.7", None),
            ("::1", Some("a loopback address")),
            ("::ffff:10.0.0.1", Some("a private address")),
            ("fd00::1", Some("a private address")),
            ("fe80::1", Some("a link-local address")),
            ("::", Some("a reserved address")),
            ("ff02::1", Some("a reserved address")),
            ("2001:db8::1", None),
        ] {
            assert_eq!(oddness(address.parse().unwrap()), odd, "{address}");
        }
    }
}
