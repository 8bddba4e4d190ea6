//! Commands that end by themselves.

use std::process::ExitCode;
use std::sync::Arc;

use rancher_lets_encrypt::config::Config;
use rancher_lets_encrypt::config::LogFormat;
use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::decide::table::Action;
use rancher_lets_encrypt::dry::Dry;
use rancher_lets_encrypt::ports::World;
use rancher_lets_encrypt::store::request::RenewalRequest;
use rancher_lets_encrypt::view::check::Preflight;
use rancher_lets_encrypt::view::check::report::Grade;
use rancher_lets_encrypt::view::cli::ATTENTION;
use rancher_lets_encrypt::view::cli::BAD_SETTINGS;
use rancher_lets_encrypt::view::cli::Form;
use rancher_lets_encrypt::view::cli::HELD;
use rancher_lets_encrypt::view::cli::ask;
use rancher_lets_encrypt::view::cli::ask::NoAnswer;
use rancher_lets_encrypt::view::cli::render;
use rancher_lets_encrypt::view::status::Health;
use rancher_lets_encrypt::view::status::Heard;
use rancher_lets_encrypt::view::status::Phase;
use rancher_lets_encrypt::view::status::Status;
use rancher_lets_encrypt::view::status::certificate::Certificate;
use rancher_lets_encrypt::view::status::certificate::Copy;
use rancher_lets_encrypt::view::status::live;
use rancher_lets_encrypt::work::context::Context;
use rancher_lets_encrypt::work::context::Settings;
use rancher_lets_encrypt::work::daemon::Daemon;
use rancher_lets_encrypt::work::daemon::Ended;
use rancher_lets_encrypt::work::daemon::Snapshot;
use rancher_lets_encrypt::work::reconcile::Reconciler;
use rancher_lets_encrypt::work::start;
use serde::Serialize;
use tokio::sync::watch;

use crate::Lock;
use crate::adapters::Adapters;
use crate::adapters::SystemClock;
use crate::adapters::now;
use crate::log;
use crate::program;
use crate::refuse;
use crate::stop_signals;
use crate::store;
use crate::try_lock;

/// Makes one pass and does what it finds.
pub(crate) async fn once(config: Config, form: Form) -> ExitCode {
    log_to_stderr(&config);
    let world = match Adapters::new(&config) {
        Ok(world) => world,
        Err(faults) => return refuse(&faults),
    };
    let stop = match stop_signals() {
        Ok(stop) => stop,
        Err(error) => return fail(&format!("signals cannot be listened for: {error}")),
    };
    let store = store(&config, &world);
    let lock = match try_lock(&store, world.disk()) {
        Ok(Lock::Ours(lock)) => lock,
        Ok(Lock::Anothers(holder)) => {
            eprintln!("another instance holds the store: {holder}");
            return ExitCode::from(HELD);
        }
        Err(error) => return fail(&error.to_string()),
    };
    let context = match Context::open(world, store, Settings::from(&config)).await {
        Ok(context) => Arc::new(context),
        Err((_, error)) => return fail(&error.to_string()),
    };
    start::sweep_webroot(&context).await;
    start::warn_if_ephemeral(&context).await;
    let (domains, reads_labels) = (config.domains.clone(), config.reads_labels);
    let reconciler = Reconciler::start(Arc::clone(&context), domains, reads_labels).await;
    let snapshot = watch::Sender::new(Snapshot::default());
    let seen = snapshot.subscribe();
    let work = Daemon::new(Arc::clone(&context), reconciler, snapshot).once();
    tokio::select! {
        biased;
        () = stop => {
            // Held until the process ends: a write in hand ends after this.
            std::mem::forget(lock);
            return fail("stopped, orders stay resumable");
        }
        () = tell_progress(seen.clone()) => {}
        () = work => {}
    }
    let status = live::of(&context, &program(&config), &seen.borrow(), Heard::default(), now());
    drop(lock);
    answer(&status, form, render::status);
    exit_code(&status)
}

/// A line for each job that has ended.
async fn tell_progress(mut seen: watch::Receiver<Snapshot>) {
    let mut told = 0;
    while seen.changed().await.is_ok() {
        let snapshot = seen.borrow_and_update();
        let ended: u64 = snapshot.ended.values().sum();
        if ended == told {
            continue;
        }
        told = ended;
        let count = |is_meant: fn(&str, Ended) -> bool| -> u64 {
            let meant = snapshot.ended.iter().filter(|((what, how), _)| is_meant(what, *how));
            meant.map(|(_, count)| count).sum()
        };
        let issued = count(|what, how| what == "obtain" && how == Ended::Ok);
        let failed = count(|_, how| how == Ended::Failed);
        let certificates = snapshot.report.as_ref().map_or(0, |report| report.rows.len());
        eprintln!("{issued} issued, {failed} failed; {certificates} certificate(s) in all");
    }
    std::future::pending().await
}

/// Shows what a pass would do.
pub(crate) async fn plan(config: &Config, form: Form) -> ExitCode {
    log_to_stderr(config);
    match look(config, true).await {
        Ok(status) => {
            answer(&status, form, render::plan);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Shows how everything stands.
pub(crate) async fn status(config: &Config, form: Form) -> ExitCode {
    match known_status(config).await {
        Ok(status) => {
            answer(&status, form, render::status);
            exit_code(&status)
        }
        Err(code) => code,
    }
}

/// Shows everything that is known of one certificate.
pub(crate) async fn explain(config: &Config, name: &str, form: Form) -> ExitCode {
    let (certificate, status) = match known_certificate(config, name).await {
        Ok(known) => known,
        Err(code) => return code,
    };
    if form.json {
        print_json(&certificate)
    } else {
        print(&render::explain(&certificate, &status))
    }
}

/// Leaves a request that the running daemon takes.
pub(crate) async fn renew(config: &Config, name: &str) -> ExitCode {
    let (certificate, status) = match known_certificate(config, name).await {
        Ok(known) => known,
        Err(code) => return code,
    };
    if let Some(why) = unrenewable(&certificate) {
        eprintln!("nothing is asked for, because nothing would be done: {why}");
        return ExitCode::from(ATTENTION);
    }
    let certificate = match domain_name(&certificate.name) {
        Ok(name) => name,
        Err(code) => return code,
    };
    let world = match Adapters::new(config) {
        Ok(world) => world,
        Err(faults) => return refuse(&faults),
    };
    let store = store(config, &world);
    let request =
        RenewalRequest { certificate: certificate.clone(), asked_at: now(), taken_at: None };
    if let Err(error) = store.prepare().and_then(|()| store.ask_renewal(&request)) {
        return fail(&error.to_string());
    }
    let taker = match status.phase {
        Phase::NotRunning => "no daemon runs here: the next one takes it when it starts",
        Phase::Starting | Phase::Waiting { .. } | Phase::StandingBy { .. } | Phase::Running => {
            "the daemon that holds the store takes it within 10 seconds"
        }
    };
    print(&format!(
        "Asked for a new certificate of {certificate}; {taker}.\n\
         Waits after failures are skipped, but where the CA itself has said when to come back. An order that is \
         at work goes on at its own pace. At most one certificate of the same names comes in a day, and limits of \
         the CA hold all the same: `explain {certificate}` shows what happens.\n"
    ))
}

/// Why a renewal would not be done, whoever asks for it: another's certificate is left alone, and nothing is ordered in
/// the place of what cannot be read.
fn unrenewable(certificate: &Certificate) -> Option<String> {
    if certificate.action == Action::Leave.to_string() {
        return Some(certificate.reason.clone());
    }
    let Copy::Unknown { why } = &certificate.on_disk else {
        return None;
    };
    (certificate.action == Action::Wait.to_string()).then(|| {
        format!("its copy in the store cannot be read ({why}); ask again once it can, or once it is removed")
    })
}

/// Looks at a name as the CA would.
pub(crate) async fn check(config: &Config, name: &str, dns: Option<&str>, form: Form) -> ExitCode {
    let world = match Adapters::new(config) {
        Ok(world) => world,
        Err(faults) => return refuse(&faults),
    };
    let store = store(config, &world);
    let preflight = match Preflight::new(config, world.solver(), &store, name, dns) {
        Ok(preflight) => preflight,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    let stop = match stop_signals() {
        Ok(stop) => stop,
        Err(error) => return fail(&format!("signals cannot be listened for: {error}")),
    };
    let Some(report) = preflight.check(now(), stop).await else {
        return fail("stopped; the token was taken away");
    };
    print(&if form.json { report.json() } else { report.render() });
    if report.verdict == Grade::Fail { ExitCode::from(ATTENTION) } else { ExitCode::SUCCESS }
}

/// Checks the settings and shows those in force.
pub(crate) fn check_config(config: &Config, form: Form) -> ExitCode {
    let in_force = config.in_force();
    let bad: Vec<String> = config.bad_domains.iter().map(ToString::to_string).collect();
    if form.json {
        let pairs = in_force.iter().map(|(name, value)| (*name, value.as_str()));
        let settings: std::collections::BTreeMap<&str, &str> = pairs.collect();
        return print_json(&serde_json::json!({
            "settings": settings,
            "names_left_out": bad,
            "notes": config.notes,
        }));
    }
    let mut text = render::settings(&in_force);
    for bad in bad {
        text += &format!("left out of DOMAINS: {bad}\n");
    }
    for note in &config.notes {
        text += &format!("note: {note}\n");
    }
    print(&text)
}

/// Asks the daemon in this container whether its loop turns.
pub(crate) async fn healthcheck(config: &Config) -> ExitCode {
    let Some(address) = config.listen else {
        return print("LISTEN is off, nothing to ask\n");
    };
    const PATH: &str = "/healthz";
    let url = format!("{}{PATH}", ask::base(address));
    match ask::get(address, PATH, config.connect_timeout).await {
        Ok((status, _)) if status.is_success() => ExitCode::SUCCESS,
        Ok((status, _)) => fail(&format!("{url}: answered {status}")),
        Err(NoAnswer::NobodyThere) => fail(&format!("{url}: nobody listens")),
        Err(NoAnswer::Wrong(error)) => fail(&error),
    }
}

/// By the running daemon, or by the store when none runs.
async fn known_status(config: &Config) -> Result<Status, ExitCode> {
    let asked = match config.listen {
        Some(address) => ask::status(address, config.connect_timeout).await,
        None => Err(NoAnswer::NobodyThere),
    };
    match asked {
        Ok(status) => Ok(status),
        Err(NoAnswer::Wrong(error)) => Err(fail(&error)),
        Err(NoAnswer::NobodyThere) => {
            log_to_stderr(config);
            look(config, false).await
        }
    }
}

/// The same; of a daemon that knows of no certificate yet, or stands by, what the store shows.
async fn known_certificates(config: &Config) -> Result<Status, ExitCode> {
    let status = known_status(config).await?;
    match status.phase {
        Phase::Running | Phase::NotRunning => Ok(status),
        Phase::Starting | Phase::Waiting { .. } | Phase::StandingBy { .. } => {
            log_to_stderr(config);
            let seen = look(config, false).await?;
            Ok(Status { phase: status.phase, ..seen })
        }
    }
}

/// The certificate that is to cover a name, and everything else.
async fn known_certificate(config: &Config, name: &str) -> Result<(Certificate, Status), ExitCode> {
    let name = domain_name(name)?;
    let status = known_certificates(config).await?;
    match status.certificate(name.as_str()).cloned() {
        Some(certificate) => Ok((certificate, status)),
        None => Err(fail(&unknown(&name, &status))),
    }
}

/// What a pass finds, in a world in which nothing changes.
async fn look(config: &Config, asks: bool) -> Result<Status, ExitCode> {
    let adapters = Adapters::new(config).map_err(|faults| refuse(&faults))?;
    let Adapters { source, destination, webroot, .. } = adapters;
    let world = Dry::new(source, destination, asks, webroot, SystemClock);
    let store = store(config, &world);
    let opened = Context::open(world, store, Settings::from(config)).await;
    let context = Arc::new(opened.map_err(|(_, error)| fail(&error.to_string()))?);
    let (domains, reads_labels) = (config.domains.clone(), config.reads_labels);
    let mut reconciler = Reconciler::start(Arc::clone(&context), domains, reads_labels).await;
    reconciler.read_labels().await;
    let pass = reconciler.pass(&std::collections::BTreeSet::new()).await;
    let snapshot = Snapshot { report: Some(Arc::new(pass.report)), ..Snapshot::default() };
    let status = live::of(&context, &program(config), &snapshot, Heard::default(), now());
    Ok(status.without_daemon(asks))
}

/// Answers go to standard output, so the log goes elsewhere; unless it is asked for, only what is wrong is told.
fn log_to_stderr(config: &Config) {
    let is_asked_for = ["LOG", "RUST_LOG"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let filter = if is_asked_for { &config.log } else { "error" };
    log::start(filter, LogFormat::Text, std::io::stderr);
}

fn domain_name(text: &str) -> Result<DomainName, ExitCode> {
    text.parse().map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(BAD_SETTINGS)
    })
}

fn unknown(name: &DomainName, status: &Status) -> String {
    const MOST: usize = 20;
    let known: Vec<&str> =
        status.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    let (shown, more) = (known.len().min(MOST), known.len().saturating_sub(MOST));
    let mut text =
        format!("no certificate for {name} is wanted: it stands neither in DOMAINS nor in a label");
    if known.is_empty() {
        text += "; nothing is";
    } else {
        text += &format!("; wanted are {}", known[..shown].join(", "));
        if more > 0 {
            text += &format!(" and {more} more");
        }
    }
    text
}

/// 0 only if everything is well.
fn exit_code(status: &Status) -> ExitCode {
    if status.health == Health::Ok { ExitCode::SUCCESS } else { ExitCode::from(ATTENTION) }
}

fn answer(status: &Status, form: Form, render: fn(&Status) -> String) {
    if form.json {
        print_json(status);
    } else {
        print(&render(status));
    }
}

fn print_json(value: &impl Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => fail(&error.to_string()),
    }
}

/// Whoever reads may stop reading, as `head` does: that is no failure.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(ATTENTION)
}
