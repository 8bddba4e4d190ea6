//! Asks the running daemon.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::StatusCode;

use crate::client;
use crate::client::Roots;
use crate::view::status::Status;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens there.
    NobodyThere,
    /// Somebody does, and answers something else.
    Wrong(String),
}

/// Where a daemon that listens at `address` is reached from this host.
pub fn base(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("http://{ip}:{}", address.port())
}

/// Asks for a path; answers status and body.
pub async fn get(
    address: SocketAddr,
    path: &str,
    connect_timeout: Duration,
) -> Result<(StatusCode, String), NoAnswer> {
    let url = format!("{}{path}", base(address));
    let wrong = |error: String| NoAnswer::Wrong(format!("{url}: {error}"));
    let builder = client::with_roots(client::builder(connect_timeout), &Roots::default());
    let client = builder
        .and_then(|builder| builder.build().map_err(|error| client::explain(&error)))
        .map_err(wrong)?;
    let response = client.get(&url).send().await.map_err(|error| {
        if error.is_connect() { NoAnswer::NobodyThere } else { wrong(client::explain(&error)) }
    })?;
    let status = response.status();
    let body = response.text().await.map_err(|error| wrong(client::explain(&error)))?;
    Ok((status, body))
}

/// How everything stands, by the running daemon.
pub async fn status(address: SocketAddr, connect_timeout: Duration) -> Result<Status, NoAnswer> {
    let (status, body) = get(address, "/status.json", connect_timeout).await?;
    if status != StatusCode::OK {
        return Err(NoAnswer::Wrong(format!("{}: answered {status}", base(address))));
    }
    serde_json::from_str(&body).map_err(|error| {
        NoAnswer::Wrong(format!(
            "{}: answers something else than our status: {error}",
            base(address)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_listens_everywhere_is_reached_at_loopback() {
        for (listen, url) in [
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("[::]:80", "http://[::1]:80"),
            ("10.0.0.1:9", "http://10.0.0.1:9"),
            ("[fd00::1]:9", "http://[fd00::1]:9"),
        ] {
            assert_eq!(base(listen.parse().unwrap()), url);
        }
    }
}
