//! The page and its address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rancher_lets_encrypt::view::http;
use rancher_lets_encrypt::view::http::Seen;
use rancher_lets_encrypt::view::status::Health;
use rancher_lets_encrypt::view::status::Part;
use rancher_lets_encrypt::view::status::live::Live;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tracing::info;
use tracing::warn;

use crate::adapters::Adapters;
use crate::adapters::now;

/// How often an address that is taken is tried again.
const LISTEN_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Serves those who look. Where the address is taken the daemon goes on without its page, tells so, and tries again: a
/// renewal is worth more than a page.
pub(crate) async fn show(
    address: SocketAddr,
    seen: Seen,
    live: &Arc<Live<Adapters>>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => {
            tokio::spawn(http::serve(listener, seen, stop));
            return;
        }
        Err(error) => error,
    };
    let since = now();
    warn!(listen = %address, %error, "no page: the address cannot be listened on, tried again: free it or change LISTEN");
    live.stands(page_part(Err((address, error, since))));
    let live = Arc::clone(live);
    tokio::spawn(async move {
        let listener = loop {
            tokio::time::sleep(LISTEN_AGAIN).await;
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(error) => live.stands(page_part(Err((address, error, since)))),
            }
        };
        info!(listen = %address, "page served");
        live.stands(page_part(Ok(address)));
        http::serve(listener, seen, stop).await
    });
}

/// How the page stands that nobody could see at first.
fn page_part(listens: Result<SocketAddr, (SocketAddr, io::Error, OffsetDateTime)>) -> Part {
    let name = "page".to_owned();
    match listens {
        Ok(address) => Part {
            name,
            health: Health::Ok,
            detail: format!("served at {address}"),
            advice: None,
            since: None,
        },
        Err((address, error, since)) => Part {
            name,
            health: Health::Attention,
            detail: format!("not served: {address} cannot be listened on: {error}"),
            advice: Some("free the address, or change `LISTEN`".to_owned()),
            since: Some(since),
        },
    }
}
