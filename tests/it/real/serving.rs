//! A pair that does not fit makes HAProxy refuse every certificate: none may come from us.

use std::fs;

use crate::real::haproxy::Rules;
use crate::real::scene::Scene;
use crate::real::scene::leaf_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pair_that_does_not_fit_is_never_pushed() {
    let scene = Scene::start().await;
    let settings = scene.settings().with("DOMAINS", "a.example.com, b.example.com");
    let mut daemon = settings.clone().start();
    scene.pushed(&daemon, &["a.example.com", "b.example.com"]).await;
    daemon.settles().await;
    drop(daemon.stop().await);
    let before = scene.rancher.certificates();
    let rules = Rules::default();
    let mut balancer = scene.balancer(&rules).await;

    // Somebody copied the wrong key, and Rancher has lost one of the two.
    let key = |name: &str| scene.path("store").join("archive").join(name).join("privkey1.pem");
    for (to, from) in [("a.example.com", "b.example.com"), ("b.example.com", "a.example.com")] {
        let wrong = before.iter().find(|held| held.name.as_deref() == Some(from)).unwrap();
        fs::write(key(to), &wrong.key).unwrap();
    }
    scene.rancher.remove_certificate(&before[0].id);
    let lost = before[0].name.clone().unwrap();
    let kept = before[1].name.clone().unwrap();
    let mut daemon = settings.start();
    daemon.settles().await;

    // What Rancher still holds comes back with its key. What it has lost is not pushed with a wrong one, and was
    // asked for less than a day ago.
    assert!(scene.rancher.certificate(&lost).is_none(), "{}", daemon.text());
    assert_eq!(scene.leaf(&kept), before[1].leaf());
    assert_eq!(scene.production.issued(), 2, "{}", daemon.text());
    assert!(daemon.text().contains("certificate restored from Rancher"));
    let certificates = scene.rancher.certificates();
    balancer.load(&rules, &certificates).await.unwrap();
    let root = scene.production.root_pem().await;
    let chain = balancer.served(&kept, &root).await.unwrap();
    assert_eq!(leaf_of(&chain), before[1].leaf());

    // HAProxy would have refused it, and everything with it.
    let mut wrong = certificates;
    wrong[0].key.clone_from(&before[0].key);
    let refused = balancer.load(&rules, &wrong).await.unwrap_err();
    assert!(refused.contains("inconsistencies between private key"), "{refused}");
    drop(balancer.served(&kept, &root).await.unwrap());
}
