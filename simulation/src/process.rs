//! A process as it is started, stopped, crashes and is started again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rancher_lets_encrypt::config::CaLimits;
use rancher_lets_encrypt::config::SelfCheck;
use rancher_lets_encrypt::core::bundle::KeyType;
use rancher_lets_encrypt::decide::classify::Policy;
use rancher_lets_encrypt::decide::classify::ReplaceForeign;
use rancher_lets_encrypt::ports::World;
use rancher_lets_encrypt::store::Store;
use rancher_lets_encrypt::work::context::Settings;
use rancher_lets_encrypt::work::daemon::Daemon;
use rancher_lets_encrypt::work::daemon::Snapshot;
use rancher_lets_encrypt::work::reconcile::Reconciler;
use rancher_lets_encrypt::work::start;
use time::Duration;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::authority::PRODUCTION;
use crate::authority::STAGING;
use crate::life::Life;
use crate::observer::listen;
use crate::outside::Outside;

/// The loop of the daemon is not looked at from outside here.
const LONGEST_REST: Duration = Duration::days(1);

/// Runs a world to its end on one thread, whose clock stands still while something is done and jumps while all wait.
pub fn on_virtual_clock<T>(world: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output can be built")
        .block_on(world)
}

/// Settings of the daemon, as far as they are not in the rules.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// What a failed fetch of our own token means.
    pub self_check: SelfCheck,
    /// Orders in flight at once.
    pub concurrency: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self { self_check: SelfCheck::Require, concurrency: 8 }
    }
}

/// Whether an instance is to run.
#[derive(Debug, Default)]
pub struct Switch {
    is_on: AtomicBool,
    turned: Notify,
    again: Notify,
}

impl Switch {
    /// Lets it run, or not.
    pub fn turn(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
        self.turned.notify_one();
    }

    /// Ends the present life, upon which the next one begins.
    pub fn restart(&self) {
        self.again.notify_waiters();
    }

    async fn is(&self, is_on: bool) {
        while self.is_on.load(Ordering::Relaxed) != is_on {
            self.turned.notified().await;
        }
    }
}

/// Keeps an instance running while its switch is on, also after crashes.
pub async fn supervise(outside: Outside, instance: usize, habits: Habits, switch: Arc<Switch>) {
    loop {
        switch.is(true).await;
        tokio::select! {
            biased;
            () = switch.is(false) => {}
            () = switch.again.notified() => {}
            () = async {
                stand_by(&outside, instance).await;
                live(&outside, instance, habits).await;
            } => {}
        }
        let down = {
            let mut state = outside.state();
            state.places[instance].is_running = false;
            state.promises.calm_since = None;
            let longest =
                if state.dice.chance(50) { Duration::days(3) } else { Duration::minutes(10) };
            state.dice.time(Duration::seconds(5), longest)
        };
        outside.freed.notify_waiters();
        tokio::time::sleep(down.unsigned_abs()).await;
    }
}

/// Waits for the lock of the store.
async fn stand_by(outside: &Outside, instance: usize) {
    loop {
        let freed = outside.freed.notified();
        if !outside.state().is_locked(instance) {
            return;
        }
        freed.await;
    }
}

/// Ends a life with everything that still runs for it.
struct End(Life);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// One life, from its start to its end or crash.
pub async fn live(outside: &Outside, instance: usize, habits: Habits) {
    let life = Life::new(outside.clone(), instance);
    let _end = End(life.clone());
    {
        let mut state = outside.state();
        state.places[instance].is_running = true;
        state.places[instance].turns_since = None;
        state.promises.calm_since = None;
        state.note(format!("[{instance}] starts"));
        if let Some(path) = state.trouble.defect.forgotten {
            drop(state.home(instance).volume.remove(Path::new(path)));
        }
    }
    let daemon = run(life.clone(), habits);
    tokio::select! {
        biased;
        () = life.crashed() => {}
        () = daemon => {}
    }
}

async fn run(life: Life, habits: Habits) {
    let (rules, domains, defect) = {
        let state = life.outside.state();
        (state.promises.rules, state.domains.domains(), state.trouble.defect)
    };
    let (production, staging) =
        if defect.trusts_staging { (STAGING, PRODUCTION) } else { (PRODUCTION, STAGING) };
    let replace_foreign =
        if defect.replaces_all { ReplaceForeign::Always } else { rules.replace_foreign };
    let settings = Settings {
        policy: Policy {
            place: "Rancher",
            is_staging: rules.is_staging,
            production_directory: production.to_owned(),
            staging_directory: staging.to_owned(),
            renew_before: rules.renew_before,
            replace_foreign,
        },
        email: None,
        loop_time: if defect.is_restless { Duration::SECOND } else { rules.loop_time },
        key_type: KeyType::Ec256,
        self_check: habits.self_check,
        concurrency: habits.concurrency,
        longest_rest: LONGEST_REST,
        // Nobody looks whether the loop turns.
        patience: Duration::days(7),
        left_out: Vec::new(),
        ca_limits: if defect.ignores_limits { CaLimits::None } else { CaLimits::Auto },
    };
    let store =
        Arc::new(Store::new(Arc::clone(life.disk()), Path::new("/store"), Path::new("/webroot")));
    let engine = Arc::new(start::open_context(life, store, settings, &|_| ()).await);
    start::sweep_webroot(&engine).await;
    let reconciler = Reconciler::start(Arc::clone(&engine), domains, true).await;
    let snapshot = watch::Sender::new(Snapshot::default());
    let listens = listen(Arc::clone(&engine), snapshot.subscribe());
    let runs = Daemon::new(engine, reconciler, snapshot).run(std::future::pending());
    // Neither ends by itself.
    tokio::join!(biased; runs, listens);
}
