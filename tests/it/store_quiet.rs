//! A pass that has nothing to do writes nothing.

use crate::support::World;
use crate::support::tree::contents;
use crate::support::tree::issued_before;
use crate::support::tree::lay;
use crate::support::tree::renewal_conf;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_has_nothing_to_do_writes_nothing() {
    let world = World::start().await;
    let server = world.production.directory_url();
    let conf = renewal_conf(&world.store(), "c.example.com", &server, &["c.example.com"]);
    let pair = issued_before(&["c.example.com"], 70);
    lay(&world.store(), "c.example.com", &conf, &[pair]);
    world.announce("shop", "web", "b.example.com www.example.com");
    let settings = world.settings().with("DOMAINS", "a.example.com,c.example.com");
    for start in ["the first", "another"] {
        let mut daemon = settings.clone().start();
        world.pushed("a.example.com").await;
        world.pushed("b.example.com").await;
        daemon.settles().await;
        // The wake-up that comes last.
        while world.store().join("rancher-lets-encrypt/wake-owed").exists() {
            daemon.passes(0).await;
        }
        let seen = || (contents(&world.store()), contents(&world.webroot()));
        let before = seen();
        assert!(before.0.contains_key("live/b.example.com/cert.pem"));
        // Metadata has new versions for many reasons.
        world.rancher.reload_metadata();
        daemon.passes(2).await;
        let after = seen();
        let changed = |name: &&String| before.0.get(*name) != after.0.get(*name);
        let changed: Vec<&String> = before.0.keys().chain(after.0.keys()).filter(changed).collect();
        assert_eq!(changed, Vec::<&String>::new(), "{start} start");
        assert_eq!(before.1, after.1, "{start} start");
        daemon.stop().await;
    }
    assert_eq!(world.production.issued().len(), 2);
}
