//! Calls `HEARTBEAT_URL` after each pass that ran to its end, so that somebody notices when none does any more.

use std::time::Duration;

use reqwest::Client;
use tokio::sync::watch;
use tracing::info;
use tracing::warn;

use crate::client::explain;
use crate::core::bundle::Secret;
use crate::work::daemon::Snapshot;

/// How long to wait before the one try again.
const WAIT: Duration = Duration::from_secs(5);

/// Calls the address after each pass for as long as there are passes. Those that end while a call is under way are
/// answered for by the next one.
pub async fn beat(client: Client, url: Secret, mut snapshot: watch::Receiver<Snapshot>) {
    let mut passes = 0;
    let mut said = None;
    loop {
        match snapshot.wait_for(|seen| seen.passes > passes).await {
            Ok(seen) => passes = seen.passes,
            Err(_) => return,
        }
        let mut called = call(&client, &url).await;
        if called.is_err() {
            tokio::time::sleep(WAIT).await;
            called = call(&client, &url).await;
        }
        match called {
            Ok(()) => {
                if said.take().is_some() {
                    info!("heartbeat called again");
                }
            }
            Err(why) => {
                if said.as_ref() != Some(&why) {
                    warn!(error = why, "heartbeat not called: check HEARTBEAT_URL");
                    said = Some(why);
                }
            }
        }
    }
}

async fn call(client: &Client, url: &Secret) -> Result<(), String> {
    let answer = client.get(url.reveal()).send().await;
    let status = answer.map_err(|error| explain(&error))?.status();
    if status.is_success() { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
}
