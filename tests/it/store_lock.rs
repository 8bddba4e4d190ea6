//! Two instances on one store: one works, the other stands by.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use rustix::process::Signal;
use sandbox::faults::Gate;
use sandbox::faults::What;
use sandbox::parts::port::Port;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Settings;
use crate::support::World;
use crate::support::daemon::Daemon;
use crate::support::guarded;

const A: &str = "a.example.com";

/// Status and body of `/healthz`.
async fn health(port: u16) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    guarded("/healthz", reading).await.unwrap();
    answer
}

struct Pair {
    world: World,
    first: Daemon,
    second: Daemon,
    port: Port,
}

impl Pair {
    fn settings(world: &World) -> Settings {
        world.settings().with("DOMAINS", A)
    }

    /// The second one stands by while the first one holds the store.
    async fn start(world: World, first: Daemon) -> Self {
        let port = Port::claim();
        let mut second =
            Self::settings(&world).with("LISTEN", format!("127.0.0.1:{}", port.number())).start();
        let line = second.says("not started yet").await;
        let reason = line["reason"].as_str().unwrap();
        let holder = format!("process {} on ", first.pid());
        assert!(reason.starts_with("standing by, another instance holds the store: "), "{reason}");
        assert!(reason.contains(&holder) && reason.contains(" since 20"), "{reason}");
        Self { world, first, second, port }
    }

    fn lock(world: &World) -> String {
        std::fs::read_to_string(world.store().join("rancher-lets-encrypt/lock")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_stands_by_and_takes_over_when_the_first_is_stopped() {
    let world = World::start().await;
    let mut first = Pair::settings(&world).start();
    world.pushed(A).await;
    first.settles().await;
    let Pair { world, mut first, mut second, port } = Pair::start(world, first).await;
    // It is well, and does nothing.
    assert!(health(port.number()).await.starts_with("HTTP/1.1 200 "));
    let asked = world.rancher.faults().seen().len();
    first.passes(1).await;
    assert!(asked < world.rancher.faults().seen().len());
    let has_begun = |daemon: &Daemon| daemon.text().contains("pass ended");
    assert!(!has_begun(&second), "{}", second.text());
    let pid = first.pid();
    assert!(Pair::lock(&world).starts_with(&format!("process {pid} on ")));
    let (status, _) = first.stop().await;
    assert!(status.success());
    second.settles().await;
    let pid = second.pid();
    assert!(Pair::lock(&world).starts_with(&format!("process {pid} on ")));
    assert_eq!(world.issued(A).len(), 1, "{}", second.text());
    assert_eq!(world.rancher.certificate(A).unwrap().puts, 0);
    assert!(health(port.number()).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_instance_takes_over_the_order_of_a_first_one_that_was_killed() {
    let world = World::start().await;
    let gate = Gate::new();
    let faults = world.production.faults();
    faults.add("certificate", 1, What::Hold(gate.clone()));
    let first = Pair::settings(&world).start();
    guarded("the download", gate.reached(1)).await;
    let Pair { world, first, mut second, .. } = Pair::start(world, first).await;
    first.signal(Signal::KILL);
    first.ends().await;
    world.pushed(A).await;
    second.settles().await;
    assert_eq!(world.issued(A).len(), 1, "{}", second.text());
    assert_eq!(world.production.orders().len(), 1, "{}", second.text());
    assert_eq!(world.production.accounts().len(), 1, "{}", second.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_not_taken_over_before_what_is_in_hand_has_ended() {
    let world = World::start().await;
    let mut first = Pair::settings(&world).start();
    world.pushed(A).await;
    first.settles().await;
    let Pair { world, first, mut second, .. } = Pair::start(world, first).await;
    // A read that does not end: a pipe in the place of a record.
    let pipe = world.store().join("rancher-lets-encrypt/certificates/pipe.example.com.json");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let path = pipe.clone();
    let opening = tokio::task::spawn_blocking(move || {
        std::fs::OpenOptions::new().write(true).open(path).unwrap()
    });
    let _held = guarded("the daemon to read the pipe", opening).await.unwrap();
    std::fs::remove_file(pipe).unwrap();
    first.signal(Signal::TERM);
    tokio::select! {
        biased;
        (_, text) = first.ends() => assert!(text.contains("stopped"), "{text}"),
        _ = second.says("pass ended") => panic!("two at once"),
    }
    second.settles().await;
    assert_eq!(world.issued(A).len(), 1, "{}", second.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_stands_by_ends_when_it_is_told_to() {
    let world = World::start().await;
    let mut first = Pair::settings(&world).start();
    first.passes(0).await;
    let Pair { second, first, .. } = Pair::start(world, first).await;
    let (status, text) = second.stop().await;
    assert!(status.success(), "{text}");
    drop(first);
}
