//! Pebble that refuses every second nonce, as an authority behind many front ends does (RFC 8555, section 6.5).

use crate::real::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_orders_at_once_are_done_though_half_of_all_nonces_are_refused() {
    let scene = Scene::with(|pebble| pebble.refused_nonces = 50).await;
    let names: Vec<String> = (0..8).map(|n| format!("n{n}.example.com")).collect();
    let settings = scene.settings().with("DOMAINS", names.join(","));
    let mut daemon = settings.with("CONCURRENCY", "8").start();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.pushed(&daemon, &names).await;
    daemon.settles().await;
    let asked = (scene.production.orders(), scene.production.issued());
    assert_eq!(asked, (8, 8), "{}", daemon.text());
}
