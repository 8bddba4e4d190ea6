//! How fast, and at what cost: `make bench`. Prints figures; asserts nothing.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use sandbox::bare::Bare;
use sandbox::bare::Tokens;
use sandbox::certs::CertificateAuthority;
use sandbox::certs::Subject;
use sandbox::parts::dns::Dns;
use sandbox::parts::pebble::Pebble;
use sandbox::parts::pebble::PebbleSettings;
use sandbox::rancher::Rancher;
use sandbox::town::Town;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Command;

mod running;
mod syncs;

use running::Running;
use syncs::sync_cost;
use syncs::syncs;

type Failure = Box<dyn Error + Send + Sync>;

/// What can be asked for by name, in the order in which it is done.
const PARTS: [&str; 7] = ["one", "many", "syncs", "idle", "pebble", "label", "fresh"];
const MANY: usize = 200;
/// Orders at once against Pebble.
const PEBBLES: usize = 4;
const FRESH: usize = 10_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_part = |name: &String| PARTS.contains(&name.as_str());
    let (daemon, wanted) = match arguments.split_first() {
        Some((daemon, wanted)) if wanted.iter().all(is_part) => (daemon, wanted),
        Some(_) | None => {
            println!("usage: bench PATH-OF-THE-DAEMON [{}]...", PARTS.join("|"));
            return ExitCode::from(64);
        }
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        println!("another TLS provider is installed");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(all(Path::new(daemon), wanted)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn all(daemon: &Path, wanted: &[String]) -> Result<(), Failure> {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|own| own == name);
    let mut towns = Towns::default();
    if is_wanted("one") {
        one(daemon, &mut towns).await?;
    }
    if is_wanted("many") {
        many(daemon, &mut towns).await?;
    }
    if is_wanted("syncs") {
        syncs(daemon, &mut towns).await?;
    }
    if is_wanted("idle") {
        idle(daemon, &mut towns).await?;
    }
    if is_wanted("pebble") {
        pebble(daemon, &mut towns).await?;
    }
    if is_wanted("label") {
        label(daemon, &mut towns).await?;
    }
    if is_wanted("fresh") {
        fresh(daemon).await?;
    }
    Ok(())
}

/// Towns whose folders are removed when everything is measured: ext4 without a journal makes files slowly for a minute
/// after many were removed nearby (`recently_deleted` in its `ialloc.c`), and one measurement would pay for another.
#[derive(Default)]
struct Towns(Vec<Town>);

impl Towns {
    fn keep(&mut self, town: Town) {
        self.0.push(town);
    }
}

/// A file system that needs no disk, where there is one.
fn memory() -> Option<&'static Path> {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).is_ok().then_some(memory)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}.example.com")).collect()
}

async fn holds(rancher: &Rancher, count: usize, running: &Running) -> Result<(), Failure> {
    let enough = rancher.until(move |model| model.certificates_made() >= count as u64);
    match tokio::time::timeout(Duration::from_secs(120), enough).await {
        Ok(()) => Ok(()),
        Err(_) => Err(running.failed("not all certificates arrived")),
    }
}

async fn one(daemon: &Path, towns: &mut Towns) -> Result<(), Failure> {
    let town = Town::start().await?;
    let start = Instant::now();
    let running = Running::start(daemon, &town, &[("DOMAINS", "one.example.com")])?;
    holds(&town.rancher, 1, &running).await?;
    println!(
        "one name, from start of the process to Rancher: {:.3} s",
        start.elapsed().as_secs_f64()
    );
    towns.keep(town);
    running.stop().await
}

async fn many(daemon: &Path, towns: &mut Towns) -> Result<(), Failure> {
    let disk = std::env::temp_dir();
    println!(
        "a small file written and synced in {}: {:.2} ms",
        disk.display(),
        sync_cost(&disk)?.as_secs_f64() * 1000.0
    );
    for at_once in [4, 8, 16] {
        let bare = bare_time(at_once).await?;
        println!(
            "{MANY} names, {at_once} orders at once, sandbox CA: bare client {:.2} s",
            bare.as_secs_f64()
        );
        for place in [Some(disk.as_path()), memory()].into_iter().flatten() {
            let town = Town::start_in(place).await?;
            let cost = daemon_cost(daemon, &town, at_once).await?;
            println!("  daemon, store in {}: {}", place.display(), cost.beside(bare));
            towns.keep(town);
        }
    }
    Ok(())
}

/// What the daemon took for many names.
struct Cost {
    time: Duration,
    cpu: Duration,
    mebibytes: u64,
}

impl Cost {
    fn beside(&self, bare: Duration) -> String {
        format!(
            "{:.2} s ({:.2} times); {:.1} ms CPU each, {} MiB at most",
            self.time.as_secs_f64(),
            self.time.as_secs_f64() / bare.as_secs_f64(),
            self.cpu.as_secs_f64() * 1000.0 / MANY as f64,
            self.mebibytes,
        )
    }
}

async fn bare_time(at_once: usize) -> Result<Duration, Failure> {
    let town = Town::start().await?;
    let tokens = Arc::new(Tokens::default());
    let server = tokens.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let port = server.port();
    town.production.set(|settings| settings.validation_port = port);
    let directory = town.production.directory_url();
    let bare = Bare::register(&directory, town.production.tls_root_pem(), tokens).await?;
    let start = Instant::now();
    Arc::new(bare).obtain_all(&names(MANY), at_once).await?;
    Ok(start.elapsed())
}

async fn daemon_cost(daemon: &Path, town: &Town, at_once: usize) -> Result<Cost, Failure> {
    let (domains, at_once) = (names(MANY).join(","), at_once.to_string());
    let start = Instant::now();
    let vars = [("DOMAINS", domains.as_str()), ("CONCURRENCY", &at_once)];
    let running = Running::start(daemon, town, &vars)?;
    holds(&town.rancher, MANY, &running).await?;
    let time = start.elapsed();
    let (cpu, mebibytes) = running.cost()?;
    running.stop().await?;
    Ok(Cost { time, cpu, mebibytes })
}

/// What a daemon takes that has nothing to do, with many certificates and without, as most people run it: with the public
/// roots, and somebody who may look.
async fn idle(daemon: &Path, towns: &mut Towns) -> Result<(), Failure> {
    const WATCHED: Duration = Duration::from_secs(30);
    for count in [0, MANY] {
        let town = Town::start().await?;
        let domains = names(count).join(",");
        let mut vars = vec![("DOMAINS", domains.as_str()), ("LISTEN", "127.0.0.1:0")];
        if count == 0 {
            vars.push(("ACME_CA_FILE", ""));
        }
        let running = Running::start(daemon, &town, &vars)?;
        holds(&town.rancher, count, &running).await?;
        // What was begun is over by then, and so are the threads that it took.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let (before, _) = running.cost()?;
        tokio::time::sleep(WATCHED).await;
        let (after, peak) = running.cost()?;
        println!(
            "idle, {count} certificates: {:.1} MiB at present, {peak} at most; {:.2} s CPU in {} s",
            running.resident()? as f64 / 1024.0,
            (after - before).as_secs_f64(),
            WATCHED.as_secs(),
        );
        towns.keep(town);
        running.stop().await?;
    }
    Ok(())
}

/// The same against Pebble, at few orders at once: with many it may hang.
async fn pebble(daemon: &Path, towns: &mut Towns) -> Result<(), Failure> {
    let town = Town::start().await?;
    let tls = CertificateAuthority::new(&Subject::new("Sandbox", "Bench Web Root"), &[]);
    let roots = town.path("pebble-roots.pem");
    fs::write(&roots, tls.root_pem())?;
    let roots = roots.to_string_lossy().into_owned();
    let dns = Dns::start(&tls.root_pem()).await;
    let tokens = Arc::new(Tokens::default());
    let server = tokens.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    // One for each client, so that each finds it empty.
    let settings =
        |port| PebbleSettings { refused_nonces: 5, ..PebbleSettings::new(port, dns.address()) };
    let first = Pebble::start(settings(server.port()), town.path("first"), &tls).await;
    let bare = Arc::new(Bare::register(&first.directory_url(), &tls.root_pem(), tokens).await?);
    let start = Instant::now();
    bare.obtain("warm-up.example.com").await?;
    let bare_one = start.elapsed();
    let names = names(MANY);
    let start = Instant::now();
    bare.obtain_all(&names, PEBBLES).await?;
    let bare_time = start.elapsed();
    drop(first);
    let second = Pebble::start(settings(town.web.port()), town.path("second"), &tls).await;
    let directory = second.directory_url();
    let concurrency = PEBBLES.to_string();
    let domains = names.join(",");
    let vars = [
        ("ACME_DIRECTORY", directory.as_str()),
        ("ACME_CA_FILE", &roots),
        ("CONCURRENCY", &concurrency),
    ];
    let start = Instant::now();
    let running = Running::start(
        daemon,
        &town,
        &[vars.as_slice(), &[("DOMAINS", "one.example.com")]].concat(),
    )?;
    holds(&town.rancher, 1, &running).await?;
    println!(
        "one name, Pebble: bare client {:.3} s, daemon from its start to Rancher {:.3} s",
        bare_one.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    running.stop().await?;
    let start = Instant::now();
    let running =
        Running::start(daemon, &town, &[vars.as_slice(), &[("DOMAINS", &domains)]].concat())?;
    holds(&town.rancher, 1 + MANY, &running).await?;
    let time = start.elapsed();
    let (cpu, mebibytes) = running.cost()?;
    let cost = Cost { time, cpu, mebibytes };
    println!(
        "{MANY} names, {PEBBLES} orders at once, Pebble: bare client {:.2} s, daemon {}",
        bare_time.as_secs_f64(),
        cost.beside(bare_time)
    );
    towns.keep(town);
    running.stop().await
}

async fn label(daemon: &Path, towns: &mut Towns) -> Result<(), Failure> {
    let town = Town::start().await?;
    let running = Running::start(daemon, &town, &[("DOMAINS", "first.example.com")])?;
    holds(&town.rancher, 1, &running).await?;
    let start = Instant::now();
    town.announce("shop", "web", "label.example.com");
    holds(&town.rancher, 2, &running).await?;
    println!(
        "a label that appears, to the certificate in Rancher: {:.3} s",
        start.elapsed().as_secs_f64()
    );
    towns.keep(town);
    running.stop().await
}

/// Issues very many certificates once, then watches passes that have nothing to do.
async fn fresh(daemon: &Path) -> Result<(), Failure> {
    // Nothing is measured that waits for a disk: what passes read is in the page cache anyway.
    let place = memory().map_or_else(std::env::temp_dir, Path::to_owned);
    let town = Town::start_in(&place).await?;
    announce_all(&town);
    let vars = [("SELF_CHECK", "off"), ("CONCURRENCY", "16"), ("LOG", "warn")];
    let start = Instant::now();
    let running = Running::start(daemon, &town, &vars)?;
    let enough = town.rancher.until(|model| model.certificates_made() >= FRESH as u64);
    tokio::time::timeout(Duration::from_secs(900), enough)
        .await
        .map_err(|_| running.failed("not all arrived"))?;
    println!(
        "{FRESH} certificates issued and pushed in {:.1} s, store in {}",
        start.elapsed().as_secs_f64(),
        place.display()
    );
    running.stop().await?;
    let before = newest_change(&town.store())?;
    let lists = |town: &Town| town.rancher.faults().count("list-certificates");
    let listed = lists(&town);
    let mut child = Command::new(daemon)
        .env_clear()
        .envs(town.environment())
        .envs([("LOOP_TIME", "1"), ("LOG_FORMAT", "json")])
        .env("LOG", "warn,rancher_lets_encrypt::work::daemon=debug")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(out).lines();
    let running = Running { child, log: town.path("daemon.log") };
    let mut times = Vec::new();
    let mut costs = Vec::new();
    while times.len() < 6 {
        let line = lines.next_line().await?.ok_or("the daemon ended")?;
        let value: serde_json::Value = serde_json::from_str(&line)?;
        if value["message"] == "pass ended" {
            times.push(value["elapsed_ms"].as_u64().unwrap_or(0));
            costs.push(running.cost()?);
        }
    }
    let (first, (last, peak)) = (costs[0].0, costs[costs.len() - 1]);
    let pages = (lists(&town) - listed) as f64 / times.len() as f64;
    println!(
        "{FRESH} fresh certificates: first pass {} ms, then {:?} ms, of which the daemon works {:.0} ms; {pages:.1} list requests a pass; {peak} MiB at most",
        times[0],
        &times[1..],
        (last - first).as_secs_f64() * 1000.0 / (costs.len() - 1) as f64,
    );
    let after = newest_change(&town.store())?;
    println!(
        "newest change of a file in the store, before and after these passes: {before} and {after} (s.ns)"
    );
    running.stop().await
}

/// By labels: so many names are more than one variable of the environment may hold.
fn announce_all(town: &Town) {
    const EACH: usize = 100;
    for (number, names) in names(FRESH).chunks(EACH).enumerate() {
        town.announce("bench", &format!("web{number}"), &names.join(","));
    }
}

/// The newest change (ctime) of any certificate file or record; the lock and the wake-up are signed at every start.
fn newest_change(store: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut newest = (0, 0);
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.path().symlink_metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != "lock" {
                newest = newest.max((metadata.ctime(), metadata.ctime_nsec()));
            }
        }
    }
    Ok(format!("{}.{:09}", newest.0, newest.1))
}
