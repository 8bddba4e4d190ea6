//! Starts the daemon: settings, log, adapters, lock, loop, exit code.

use std::fs::File;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use rancher_lets_encrypt::backends::host;
use rancher_lets_encrypt::backends::rancher;
use rancher_lets_encrypt::client;
use rancher_lets_encrypt::client::Roots;
use rancher_lets_encrypt::config::Config;
use rancher_lets_encrypt::config::Delivery;
use rancher_lets_encrypt::config::Fault;
use rancher_lets_encrypt::config::Faults;
use rancher_lets_encrypt::core::text::one_line;
use rancher_lets_encrypt::disk;
use rancher_lets_encrypt::disk::RealDisk;
use rancher_lets_encrypt::ports::World;
use rancher_lets_encrypt::store::LOCK;
use rancher_lets_encrypt::store::Store;
use rancher_lets_encrypt::store::StoreError;
use rancher_lets_encrypt::view::cli::Arguments;
use rancher_lets_encrypt::view::cli::BAD_SETTINGS;
use rancher_lets_encrypt::view::cli::Command;
use rancher_lets_encrypt::view::http::Seen;
use rancher_lets_encrypt::view::notify::Notifier;
use rancher_lets_encrypt::view::notify::deliver::Door;
use rancher_lets_encrypt::view::notify::heartbeat;
use rancher_lets_encrypt::view::status::Phase;
use rancher_lets_encrypt::view::status::Program;
use rancher_lets_encrypt::view::status::Setting;
use rancher_lets_encrypt::view::status::live::Live;
use rancher_lets_encrypt::work::context::Settings;
use rancher_lets_encrypt::work::daemon::Daemon;
use rancher_lets_encrypt::work::daemon::Snapshot;
use rancher_lets_encrypt::work::reconcile::Reconciler;
use rancher_lets_encrypt::work::start;
use rancher_lets_encrypt::work::watch::between_passes;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;
use tracing::error;
use tracing::info;
use tracing::warn;

#[path = "main/adapters.rs"]
mod adapters;
#[path = "main/commands.rs"]
mod commands;
#[path = "main/log.rs"]
mod log;
#[path = "main/page.rs"]
mod page;

use adapters::Adapters;
use adapters::now;

/// What keeps the loop, the clients and those who look busy is waiting: more threads would only take memory, on a host
/// of many cores.
const MOST_WORKERS: usize = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::from_vars(std::env::vars_os(), &|path| std::fs::read(path)) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MOST_WORKERS))
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match arguments.command {
            None | Some(Command::Run) => run(config).await,
            Some(Command::Once(form)) => commands::once(config, form).await,
            Some(Command::Plan(form)) => commands::plan(&config, form).await,
            Some(Command::Status(form)) => commands::status(&config, form).await,
            Some(Command::Explain { name, form }) => commands::explain(&config, &name, form).await,
            Some(Command::Renew { name }) => commands::renew(&config, &name).await,
            Some(Command::Check { name, dns, form }) => {
                commands::check(&config, &name, dns.as_deref(), form).await
            }
            Some(Command::CheckConfig(form)) => commands::check_config(&config, form),
            Some(Command::Healthcheck) => commands::healthcheck(&config).await,
        }
    });
    // A write in hand ends; anything else that still waits is not worth waiting for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    code
}

fn refuse(faults: &Faults) -> ExitCode {
    eprintln!("{faults}");
    ExitCode::from(BAD_SETTINGS)
}

async fn run(config: Config) -> ExitCode {
    log::start(&config.log, config.log_format, std::io::stdout);
    let stop_signals = match stop_signals() {
        Ok(stop_signals) => stop_signals,
        Err(error) => {
            error!(%error, "signals cannot be listened for");
            return ExitCode::FAILURE;
        }
    };
    let world = match Adapters::new(&config) {
        Ok(world) => world,
        Err(faults) => return refuse(&faults),
    };
    let teller = match client_for_people(&config, config.notify_ca.clone()) {
        Ok(client) => client,
        Err(accepted) => {
            let fault = Fault { name: "NOTIFY_CA_FILE", value: None, accepted };
            return refuse(&Faults(vec![fault]));
        }
    };
    let snapshot = watch::Sender::new(Snapshot::default());
    let live =
        Arc::new(Live::new(program(&config), snapshot.subscribe(), Arc::clone(&world.counts), now));
    let stopped = Arc::new(watch::Sender::new(false));
    if let Some(address) = config.listen {
        let shown = Arc::clone(&live);
        let seen = Seen {
            status: Arc::new(move || shown.status()),
            snapshot: snapshot.subscribe(),
            counts: Arc::clone(&world.counts),
            now,
            hosts: config.status_hosts.clone().into(),
        };
        page::show(address, seen, &live, wait_for(stopped.subscribe())).await;
    }
    say_hello(&config);
    let shutdown = async {
        stop_signals.await;
        info!("stopping, orders stay resumable");
        stopped.send_replace(true);
    };
    let daemon = async {
        let store = store(&config, &world);
        // Held until the process ends, not only this task: a write in hand ends after it.
        std::mem::forget(hold_lock(&store, world.disk(), &|phase| live.is_in(phase)).await);
        live.is_in(Phase::Starting);
        let engine = {
            let tell = |error: &str| live.is_in(Phase::Waiting { reason: error.to_owned() });
            let settings = Settings::from(&config);
            Arc::new(start::open_context(world, store, settings, &tell).await)
        };
        live.runs(Arc::clone(&engine));
        tokio::spawn(between_passes(Arc::clone(&engine), snapshot.subscribe()));
        tell_people(&config, teller, &engine.store, &live, &snapshot);
        start::sweep_webroot(&engine).await;
        start::warn_if_ephemeral(&engine).await;
        let reconciler =
            Reconciler::start(Arc::clone(&engine), config.domains.clone(), config.reads_labels)
                .await;
        Daemon::new(engine, reconciler, snapshot).run(std::future::pending()).await;
    };
    tokio::select! {
        () = shutdown => {}
        () = daemon => {}
    }
    info!("stopped");
    ExitCode::SUCCESS
}

/// A client of its own: what stands at other addresses is trusted by public roots, and by those of `NOTIFY_CA_FILE`.
fn client_for_people(config: &Config, extra: Option<Vec<u8>>) -> Result<reqwest::Client, String> {
    let builder = client::builder_by_variables(config.connect_timeout);
    let roots = Roots { extra, setting: Some("NOTIFY_CA_FILE"), ..Roots::default() };
    let client = client::with_roots(builder, &roots)?.build();
    client.map_err(|error| client::explain(&error))
}

/// Starts what tells people, beside the loop, from the moment on when this instance holds the store.
fn tell_people(
    config: &Config,
    client: reqwest::Client,
    store: &Arc<Store<RealDisk>>,
    live: &Arc<Live<Adapters>>,
    snapshot: &watch::Sender<Snapshot>,
) {
    if let Some(url) = config.heartbeat_url.clone() {
        tokio::spawn(heartbeat::beat(client.clone(), url, snapshot.subscribe()));
    }
    let (shown, told) = (Arc::clone(live), Arc::clone(live));
    let notifier = Notifier {
        store: Arc::clone(store),
        door: config.notify_url.clone().map(|url| Door {
            client,
            url,
            format: config.notify_format,
        }),
        status: Arc::new(move || shown.status()),
        snapshot: snapshot.subscribe(),
        tell: Arc::new(move |part| told.stands(part)),
        now,
    };
    tokio::spawn(notifier.run());
}

fn program(config: &Config) -> Program {
    let settings = config.in_force().into_iter();
    Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        destination: match config.delivery {
            Delivery::Rancher => rancher::NAME.to_owned(),
            Delivery::Host(_) => host::NAME.to_owned(),
        },
        started_at: Some(now()),
        settings: settings.map(|(name, value)| Setting { name: name.to_owned(), value }).collect(),
    }
}

async fn wait_for(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(stopped.wait_for(|is_stopped| *is_stopped).await);
}

/// Listened for from now on: a container may be stopped in its first moment.
fn stop_signals() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn say_hello(config: &Config) {
    let folder = match &config.delivery {
        Delivery::Rancher => None,
        Delivery::Host(folder) => Some(folder.display().to_string()),
    };
    let is_rancher = folder.is_none();
    let domains: Vec<String> = config.domains.iter().map(ToString::to_string).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        folder,
        rancher = is_rancher.then(|| config.rancher_url.as_str()),
        metadata = is_rancher.then(|| config.metadata_url.as_str()),
        domains = domains.join(", "),
        labels = config.reads_labels,
        staging = config.is_staging,
        directory = %config.wanted_directory(),
        store = %config.store.display(),
        webroot = %config.webroot.display(),
        loop_time_s = config.loop_time.as_secs(),
        self_check = ?config.self_check,
        replace_foreign = ?config.replace_foreign,
        concurrency = config.concurrency,
        listen = config.listen.map_or_else(|| "off".to_owned(), |address| address.to_string()),
        others = others(config),
        "starting"
    );
    for bad in &config.bad_domains {
        warn!(error = %bad, "name in DOMAINS left out");
    }
    let proxies = client::proxies(std::env::vars_os());
    if !proxies.is_empty() {
        info!(proxies = proxies.join(" "), "proxy variables are obeyed for the CA and for notices");
    }
    for note in &config.notes {
        warn!(note, "setting without effect");
    }
    if config.domains.is_empty() && !config.reads_labels {
        warn!("nothing is wanted: DOMAINS is empty and DYNAMIC_CONFIG is off");
    }
    if config.is_staging {
        warn!(
            "STAGING is on: certificates are for trying out, no browser trusts them; set STAGING=False when all works"
        );
    }
}

/// The settings in force that have no field of their own in the line that says them.
fn others(config: &Config) -> String {
    const OTHERS: [&str; 16] = [
        "RANCHER_CA_FILE",
        "RANCHER_PROXY",
        "CERTBOT_EMAIL",
        "KEY_TYPE",
        "RENEW_BEFORE_DAYS",
        "ACME_CA_FILE",
        "CA_LIMITS",
        "HOST_CHECK_PORT",
        "SELF_CHECK_ADDRESS",
        "CONNECT_TIMEOUT",
        "STATUS_HOSTS",
        "NOTIFY_URL",
        "NOTIFY_FORMAT",
        "NOTIFY_CA_FILE",
        "HEARTBEAT_URL",
        "LOG",
    ];
    let in_force = config.in_force().into_iter();
    let others = in_force.filter(|(name, _)| OTHERS.contains(name));
    let others = others.map(|(name, value)| format!("{name}={value}"));
    others.collect::<Vec<_>>().join(" ")
}

/// The store that the settings name.
fn store<W: World>(config: &Config, world: &W) -> Arc<Store<W::Disk>> {
    let disk = Arc::clone(world.disk());
    Arc::new(Store::new(disk, &config.store, &config.webroot).with_key_type(config.key_type))
}

/// Who holds the store.
enum Lock {
    /// This instance, as long as the file is open.
    Ours(File),
    /// Another one, as it has signed.
    Anothers(String),
}

/// Takes the lock of the store and signs it, if it is free.
fn try_lock(store: &Store<RealDisk>, disk: &RealDisk) -> Result<Lock, StoreError> {
    store.prepare()?;
    let path = store.lock_path();
    let tried = disk.try_lock(&path);
    match tried.map_err(|error| StoreError::new(LOCK, &path, error))? {
        Some(lock) => {
            disk::sign_lock(&lock, now());
            Ok(Lock::Ours(lock))
        }
        None => {
            let holder = std::fs::read_to_string(path).unwrap_or_default();
            Ok(Lock::Anothers(one_line(holder.trim())))
        }
    }
}

/// Waits for the lock of the store. Whoever waits stands by: it takes over when the other instance ends.
async fn hold_lock(
    store: &Store<RealDisk>,
    disk: &RealDisk,
    tell: &(dyn Fn(Phase) + Sync),
) -> File {
    let mut said = String::new();
    loop {
        let fault = match try_lock(store, disk) {
            Ok(Lock::Ours(lock)) => return lock,
            Ok(Lock::Anothers(holder)) => {
                tell(Phase::StandingBy { holder: holder.clone() });
                format!("standing by, another instance holds the store: {holder}")
            }
            Err(error) => {
                let reason = error.to_string();
                tell(Phase::Waiting { reason });
                format!("the store cannot be used: {error}")
            }
        };
        if said != fault {
            warn!(reason = fault, "not started yet");
            said = fault;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}
