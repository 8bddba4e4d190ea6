//! Who is asked through a proxy, and who never is.

use std::net::SocketAddr;
use std::sync::Arc;

use sandbox::parts::port::Port;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::World;

/// A forward proxy: tunnels (CONNECT) and requests with a whole URL. It keeps the head that each connection began with.
struct Forward {
    address: SocketAddr,
    heads: Arc<watch::Sender<Vec<String>>>,
}

impl Forward {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(watch::Sender::new(Vec::new()));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, Arc::clone(&kept)));
            }
        });
        Self { address, heads }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every head so far.
    fn heads(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }

    /// How many connections so far began with a request to an origin.
    fn count(&self, origin: &str) -> usize {
        self.heads()
            .iter()
            .filter(|head| head.lines().next().is_some_and(|line| line.contains(origin)))
            .count()
    }
}

async fn forward(mut client: TcpStream, heads: Arc<watch::Sender<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head.clone()).ok()?;
    heads.send_modify(|heads| heads.push(text.clone()));
    let mut words = text.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let authority = target.strip_prefix("http://").unwrap_or(target).split('/').next()?;
    let mut server = TcpStream::connect(authority).await.ok()?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    } else {
        server.write_all(&head).await.ok()?;
    }
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

/// Host and port of a URL.
fn origin(url: &str) -> &str {
    url.split("//").nth(1).unwrap().split('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rancher_and_metadata_are_never_asked_through_a_proxy_of_the_environment() {
    let world = World::start().await;
    let proxy = Forward::start().await;
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        world.announce("shop", &name.to_lowercase(), "a.example.com");
        let mut daemon = world.settings().with(name, proxy.url()).start();
        world.pushed("a.example.com").await;
        daemon.settles().await;
        for url in [world.rancher.api_url(), world.rancher.metadata_url()] {
            assert_eq!(proxy.count(origin(&url)), 0, "{name}: {:?}", proxy.heads());
        }
        daemon.stop().await;
    }
    assert!(proxy.heads().iter().all(|head| !head.contains("uthorization")), "{:?}", proxy.heads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_asked_through_the_proxy_of_the_environment_and_the_start_says_so() {
    let world = World::start().await;
    let proxy = Forward::start().await;
    let mut daemon = world
        .settings()
        .with("HTTPS_PROXY", format!("http://someone:very-secret@{}", proxy.address))
        .with("NO_PROXY", "internal.example.com")
        .with("DOMAINS", "a.example.com")
        .start();
    let line = daemon.says("proxy variables are obeyed for the CA and for notices").await;
    let told = line["proxies"].as_str().unwrap();
    assert!(told.contains(&format!("HTTPS_PROXY=http://{}", proxy.address)), "{told}");
    assert!(told.contains("NO_PROXY=internal.example.com"), "{told}");
    world.pushed("a.example.com").await;
    daemon.settles().await;
    assert!(!daemon.text().contains("very-secret"));
    assert!(proxy.count(origin(&world.production.directory_url())) > 0);
    assert_eq!(proxy.count(origin(&world.rancher.api_url())), 0, "{:?}", proxy.heads());
    // Our own look at a name is where the CA would go.
    assert_eq!(proxy.count(&format!(":{}", world.web.port())), 0, "{:?}", proxy.heads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rancher_is_asked_through_the_proxy_that_its_own_setting_names() {
    let world = World::start().await;
    let proxy = Forward::start().await;
    let named = format!("http://someone:very-secret@{}", proxy.address);
    let mut daemon = world
        .settings()
        .with("RANCHER_PROXY", &named)
        .with("NO_PROXY", "*")
        .with("DOMAINS", "a.example.com")
        .start();
    world.pushed("a.example.com").await;
    daemon.settles().await;
    let heads = proxy.heads();
    assert!(proxy.count(origin(&world.rancher.api_url())) > 0, "{heads:?}");
    assert!(
        heads.iter().all(|head| head.to_lowercase().contains("proxy-authorization: basic ")),
        "{heads:?}"
    );
    for url in [world.rancher.metadata_url(), world.production.directory_url()] {
        assert_eq!(proxy.count(origin(&url)), 0, "{heads:?}");
    }
    let start = daemon.with("\"starting\"");
    assert!(
        start[0].to_string().contains(&format!("RANCHER_PROXY=http://{}", proxy.address)),
        "{start:?}"
    );
    assert!(!daemon.text().contains("very-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_away_is_named_without_its_password() {
    let world = World::start().await;
    let closed = Port::claim();
    let named = format!("http://someone:very-secret@127.0.0.1:{}", closed.number());
    let mut daemon =
        world.settings().with("RANCHER_PROXY", named).with("DOMAINS", "a.example.com").start();
    let line = daemon.says("Rancher cannot be read").await;
    let error = line["error"].as_str().unwrap();
    let way = format!("through http://127.0.0.1:{} (RANCHER_PROXY)", closed.number());
    assert!(error.contains(&way) && !error.contains("very-secret"), "{error}");
}
