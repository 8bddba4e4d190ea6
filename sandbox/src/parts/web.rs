//! Requests of the tests themselves, to the management doors of the parts.

use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use serde_json::Value;

/// When a wait hangs. No assertion about time, but far above anything real: OpenBao alone tries a validation for more than
/// a minute, and a daemon that is told "still validating" looks again half a minute later.
pub const HANGS: Duration = Duration::from_secs(5 * 60);

/// Whoever hangs says what it waited for.
pub async fn guarded<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(HANGS, waiting).await;
    done.unwrap_or_else(|_| panic!("hangs while waiting for {what}"))
}

/// A client that trusts one root.
pub fn client(root_pem: &str) -> Client {
    static PROVIDER: Once = Once::new();
    // Somebody else may have installed one.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let roots = Certificate::from_pem_bundle(root_pem.as_bytes()).unwrap();
    let builder = Client::builder().tls_certs_only(roots).no_proxy();
    builder.timeout(Duration::from_secs(30)).build().unwrap()
}

/// Gets a text.
pub async fn get(client: &Client, url: &str) -> String {
    let response = client.get(url).send().await.unwrap();
    response.error_for_status().unwrap().text().await.unwrap()
}

/// Posts a JSON document.
pub async fn post(client: &Client, url: &str, body: &Value) {
    let response = client.post(url).json(body).send().await.unwrap();
    drop(response.error_for_status().unwrap());
}
