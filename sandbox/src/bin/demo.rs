//! The main job of the daemon on embedded parts: `make demo`.
//!
//! Three services with labels appear, certificates are issued, pushed and served; one more appears while the daemon
//! runs; a self-signed certificate is replaced, a bought one left alone. Every step is checked by a TLS handshake
//! with the balancer. Nothing is installed and nothing outside of loopback is talked to.
#![expect(clippy::print_stdout, reason = "the account that the demo prints is what it is for")]

use std::error::Error;
use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sandbox::balancer::Balancer;
use sandbox::balancer::handshake;
use sandbox::certs;
use sandbox::parts::port::Port;
use sandbox::town::Town;
use time::OffsetDateTime;
use tokio::process::Child;
use tokio::process::Command;

type Failure = Box<dyn Error + Send + Sync>;

const SHOP: &str = "shop.example.com";
const BLOG: &str = "blog.example.com";
const WWW: &str = "www.blog.example.com";
const API: &str = "api.example.com";
const NEW: &str = "new.example.com";
const OLD: &str = "old.example.com";
const BANK: &str = "bank.example.com";

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(daemon) = arguments.next() else {
        println!("usage: demo PATH-OF-THE-DAEMON [--keep]");
        return ExitCode::from(64);
    };
    let keeps = arguments.next().is_some_and(|argument| argument == "--keep");
    match tell(PathBuf::from(daemon), keeps).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tell(daemon: PathBuf, keeps: bool) -> Result<(), Failure> {
    let start = Instant::now();
    let town = Town::start().await?;
    println!(
        "A town on loopback: an ACME authority, Rancher's API and metadata, a web server, a TLS balancer."
    );

    let year = time::Duration::days(365);
    let now = now();
    let placeholder = certs::self_signed(&[OLD], now - year, now + year);
    let bought = certs::bought(&[BANK], now - year / 2, now + year / 2);
    town.rancher.add_certificate(OLD, &placeholder.cert_pem, None, &placeholder.key_pem, None);
    let chain = Some(bought.chain_pem.as_str());
    town.rancher.add_certificate(
        BANK,
        &bought.cert_pem,
        chain,
        &bought.key_pem,
        Some("bought, valid half a year"),
    );
    let bought_leaf = town.rancher.certificate(BANK).map(|held| held.leaf().to_owned());
    println!("Rancher holds a self-signed certificate for {OLD}, and a bought one for {BANK}.");

    town.announce("shop", "web", SHOP);
    town.announce("blog", "web", &format!("{BLOG} {WWW}"));
    town.announce("backend", "api", &format!("{API}, {OLD}, {BANK}"));
    println!("Three services announce: {SHOP} | {BLOG} {WWW} | {API}, {OLD}, {BANK}");

    let log = town.path("daemon.log");
    let page = Port::claim();
    let mut child = start_daemon(&daemon, &town, &page, File::create(&log)?)?;
    let der = CertificateDer::from_pem_slice(bought.cert_pem.as_bytes())?;
    let story = story(&town, (bought_leaf, der), start);
    let result = tokio::select! {
        result = story => result,
        status = child.wait() => Err(format!("the daemon ended by itself: {status:?}").into()),
        () = tokio::time::sleep(Duration::from_secs(60)) => Err("it takes longer than a minute".into()),
    };
    if let Err(error) = result {
        println!("\nThe daemon's log:\n{}", std::fs::read_to_string(&log)?);
        return Err(error);
    }
    println!("\nWhat the daemon's command `status` says:\n");
    // Its exit status says whether all is well; what it prints is for people.
    let asked = command(&daemon, &town, &page).arg("status").output().await?;
    for line in String::from_utf8_lossy(&asked.stdout).lines() {
        println!("  {line}");
    }
    if keeps {
        stay(&town, &log, &page, &mut child).await?;
    }
    child.kill().await?;
    Ok(())
}

/// `bought` is the leaf that is to be left alone, as Rancher shows it and as it is served.
async fn story(
    town: &Town,
    bought: (Option<String>, CertificateDer<'_>),
    start: Instant,
) -> Result<(), Failure> {
    let (bought_leaf, bought_der) = bought;
    let mut ids = Vec::new();
    for name in [SHOP, BLOG, API, OLD] {
        pushed(town, name).await;
        let held = town.rancher.certificate(name).ok_or("Rancher lost it again")?;
        println!(
            "  {:>5.2} s  {name}: issued and in Rancher as {}",
            start.elapsed().as_secs_f64(),
            held.id
        );
        ids.push(held.id);
    }
    ids.extend(town.rancher.certificate(BANK).map(|held| held.id));
    let listed: Vec<&str> = ids.iter().map(String::as_str).collect();
    let service = town.rancher.add_balancer("balancer", listed.first().copied(), &listed, "active");
    let balancer = Balancer::start(&town.rancher, &service).await?;
    println!(
        "A balancer that lists these certificates starts. Handshakes, verified against the authority's root:"
    );
    for name in [SHOP, BLOG, WWW, API, OLD] {
        served(town, &balancer, name).await?;
        println!("  {name}: served");
    }
    let left = town.rancher.certificate(BANK).map(|held| held.leaf().to_owned());
    if left != bought_leaf
        || town
            .production
            .issued()
            .iter()
            .any(|issued| issued.names.iter().any(|name| name == BANK))
    {
        return Err("the bought certificate was not left alone".into());
    }
    balancer.until(|serving| serving.serving(BANK).is_some()).await;
    let chain = handshake(balancer.address(), BANK, None).await?;
    if chain.first().map(Vec::as_slice) != Some(&*bought_der) {
        return Err("the balancer does not serve the bought certificate".into());
    }
    println!("  {BANK}: served, still the bought one, and nothing was ordered for it");

    println!("A fourth service appears: {NEW}");
    let appeared = Instant::now();
    town.announce("campaign", "web", NEW);
    pushed(town, NEW).await;
    println!(
        "  {:>5.2} s after its label appeared: issued and in Rancher",
        appeared.elapsed().as_secs_f64()
    );
    ids.extend(town.rancher.certificate(NEW).map(|held| held.id));
    let listed: Vec<&str> = ids.iter().map(String::as_str).collect();
    town.rancher.set_balancer_certificates(&service, listed.first().copied(), &listed);
    served(town, &balancer, NEW).await?;
    println!("  {NEW}: served");
    println!(
        "Done in {:.2} s: {} certificates issued, {} wake-up(s) of the balancers.",
        start.elapsed().as_secs_f64(),
        town.production.issued().len(),
        town.rancher.wakes().len()
    );
    Ok(())
}

fn command(daemon: &PathBuf, town: &Town, page: &Port) -> Command {
    let mut command = Command::new(daemon);
    command
        .env_clear()
        .envs(town.environment())
        .env("LISTEN", format!("127.0.0.1:{}", page.number()))
        .stdin(Stdio::null());
    command
}

fn start_daemon(daemon: &PathBuf, town: &Town, page: &Port, log: File) -> std::io::Result<Child> {
    command(daemon, town, page).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).spawn()
}

/// Waits until Rancher holds what the authority issued.
fn pushed<'a>(town: &'a Town, name: &'a str) -> impl Future<Output = ()> + 'a {
    town.rancher.until(move |model| {
        let leaf = model.certificate(name).map(|held| held.leaf().to_owned());
        leaf.is_some_and(|leaf| {
            town.production.issued().iter().any(|issued| issued.leaf_sha256 == leaf)
        })
    })
}

/// Waits until the balancer serves it, then shakes hands as a browser would.
async fn served(town: &Town, balancer: &Balancer, name: &str) -> Result<(), Failure> {
    balancer.until(|serving| serving.serving(name).is_some()).await;
    handshake(balancer.address(), name, Some(&town.production.issuing_root_pem())).await?;
    Ok(())
}

async fn stay(
    town: &Town,
    log: &std::path::Path,
    page: &Port,
    child: &mut Child,
) -> Result<(), Failure> {
    println!("\nStaying up until Ctrl-C or the daemon ends:");
    println!("  status page     http://127.0.0.1:{}/", page.number());
    println!("  ACME directory  {}", town.production.directory_url());
    println!("  Rancher API     {}", town.rancher.api_url());
    println!("  metadata        {}", town.rancher.metadata_url());
    println!("  web server      http://127.0.0.1:{}", town.web.port());
    println!("  store           {}", town.store().display());
    println!("  log             {}", log.display());
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        status = child.wait() => println!("the daemon ended: {:?}", status?),
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the demo lives in real time")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
