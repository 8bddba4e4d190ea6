//! Requests of the tests themselves, to the management doors of the parts.

use std::sync::Once;
use std::time::Duration;

use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use reqwest::Client;
use serde_json::Value;

/// A client that trusts one root.
pub(crate) fn client(root_pem: &str) -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let roots = Roots {
        extra: Some(root_pem.as_bytes().to_vec()),
        is_extra_only: true,
    };
    let builder = client::builder(Duration::from_secs(10)).no_proxy();
    client::with_roots(builder, &roots)
        .unwrap()
        .build()
        .unwrap()
}

pub(crate) async fn get(client: &Client, url: &str) -> String {
    let response = client.get(url).send().await.unwrap();
    response.error_for_status().unwrap().text().await.unwrap()
}

pub(crate) async fn post(client: &Client, url: &str, body: &Value) {
    let response = client.post(url).json(body).send().await.unwrap();
    drop(response.error_for_status().unwrap());
}
