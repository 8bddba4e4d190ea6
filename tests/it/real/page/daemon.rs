//! The page of the built daemon, as things happen to it.

use reqwest::Client;
use sandbox::authority::settings::AuthoritySettings;
use sandbox::parts::port::Port;

use crate::real::page::browser::look;
use crate::support::World;

const A: &str = "a.example.com";
const BROKEN: &str = "broken.example.com";
const PAUSED: &str = "paused.example.org";

fn listen(port: &Port) -> String {
    format!("127.0.0.1:{}", port.number())
}

fn url(port: &Port) -> String {
    format!("http://{}/", listen(port))
}

fn set(world: &World, set: impl FnOnce(&mut AuthoritySettings)) {
    world.production.set(set);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_well() {
    let world = World::start().await;
    world.announce("shop", "web", "shop.example.com www.shop.example.com");
    let port = Port::claim();
    let settings = world.settings().with("DOMAINS", A);
    let mut daemon = settings.with("LISTEN", listen(&port)).start();
    for name in [A, "shop.example.com"] {
        world.pushed(name).await;
    }
    daemon.settles().await;
    let look = look(&url(&port)).await;
    look.is_clean();
    assert_eq!(look.between("<title>", "</title>"), "OK · rancher-lets-encrypt");
    assert!(look.between("<h1>", "</h1>").starts_with("OK: 2 certificates; "));
    look.shows("<bdi>shop/web</bdi>");
    look.shows("<dt>On disk and at Rancher</dt>");
    look.shows("no balancer lists it");
    look.shows("active: this instance holds the store");
    look.shows_no(" open=\"\"");

    // Only looking is possible, and nothing is kept in the browser.
    // Somebody else may have installed one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder().no_proxy().build().unwrap();
    for path in ["", "style.css", "refresh.js", "favicon.ico", "status.json"] {
        let address = format!("{}{path}", url(&port));
        let answer = client.get(&address).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(!headers.contains_key("set-cookie"));
        let answer = client.post(&address).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        assert!(client.head(&address).send().await.unwrap().status().is_success());
    }
    let nowhere = client.get(format!("{}nowhere", url(&port))).send();
    assert_eq!(nowhere.await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_or_is_held_up_says_why_and_what_to_do() {
    let world = World::start().await;
    set(&world, |settings| {
        settings.unresolved.insert(BROKEN.to_owned());
        settings.paused.insert(PAUSED.to_owned());
    });
    // All of a limit is used by others of the same domain.
    world.has_spent(50);
    let port = Port::claim();
    let domains = format!("{A}, broken.example.net, {BROKEN}, {PAUSED}");
    set(&world, |settings| {
        settings.unresolved.insert("broken.example.net".to_owned());
    });
    let settings = world.settings().with("DOMAINS", domains);
    let settings = settings.with("CA_LIMITS", "letsencrypt");
    let mut daemon = settings.with("LISTEN", listen(&port)).start();
    daemon.mentions("validation of broken.example.net failed").await;
    daemon.settles().await;
    let look = look(&url(&port)).await;
    look.is_clean();
    assert_eq!(look.between("<title>", "</title>"), "Needs attention · rancher-lets-encrypt");
    // The authority's answer, and the next step.
    look.shows("validation of broken.example.net failed");
    look.shows("the name needs an A or AAAA record that everybody sees");
    // A pause: a person opens the address.
    let link = look.between("class=\"button\" href=\"", "\"");
    assert!(link.starts_with("https://portal.sandbox.example/sfe/v1/unpause?jwt="), "{link}");
    look.shows("rel=\"noreferrer noopener\"");
    // Limits: what is used, and when it comes back.
    look.shows("<bdi>new certificates for example.com</bdi>");
    look.shows("<td>50 of 50 in a week</td><td><b>none</b></td><td>one more in 3 hours");
    look.shows("What waits");
    assert_eq!(world.issued(A).len(), 0, "{}", daemon.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_wanted_and_standing_by_are_told() {
    let world = World::start().await;
    let ports = [Port::claim(), Port::claim()];
    let settings = |port| world.settings().with("LISTEN", listen(port));
    let mut first = settings(&ports[0]).start();
    first.settles().await;
    let mut second = settings(&ports[1]).start();
    second.says("not started yet").await;

    let empty = look(&url(&ports[0])).await;
    empty.is_clean();
    assert_eq!(empty.between("<title>", "</title>"), "Nothing wanted · rancher-lets-encrypt");
    empty.shows("There are two ways to name hosts");
    empty.shows("com.danieldent.rancher-lets-encrypt.hosts");

    let waiting = look(&url(&ports[1])).await;
    waiting.is_clean();
    assert_eq!(waiting.between("<title>", "</title>"), "Standing by · rancher-lets-encrypt");
    let holder = format!("process {} on ", first.pid());
    assert!(waiting.between("<h1>", "</h1>").contains(&holder));
    waiting.shows("This one takes over as soon as the other ends.");
}
