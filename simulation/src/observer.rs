//! What people see and hear of an instance: its real status and the real news of it, kept in its real outbox. Only the
//! way to people is a call that never fails, and nobody looks every minute, which years of events have no time for.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use rancher_lets_encrypt::view::notify::news::LASTING;
use rancher_lets_encrypt::view::notify::news::News;
use rancher_lets_encrypt::view::notify::news::Notified;
use rancher_lets_encrypt::view::notify::notice::Kind;
use rancher_lets_encrypt::view::notify::notice::Notice;
use rancher_lets_encrypt::view::notify::outbox::Outbox;
use rancher_lets_encrypt::view::status::Health;
use rancher_lets_encrypt::view::status::Heard;
use rancher_lets_encrypt::view::status::Phase;
use rancher_lets_encrypt::view::status::Program;
use rancher_lets_encrypt::view::status::Status;
use rancher_lets_encrypt::view::status::live;
use rancher_lets_encrypt::work::context::Context;
use rancher_lets_encrypt::work::daemon::Snapshot;
use time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::life::Life;
use crate::outside::State;

/// How often it is looked, passes or not, while something is wrong.
const LOOK: Duration = Duration::hours(3);
/// How often an outbox that cannot be read is tried again.
const READ_AGAIN: Duration = Duration::minutes(5);

/// What people know of a store, whichever instance holds it.
#[derive(Debug, Default)]
pub struct Observer {
    /// What was told of each certificate since it was last said to be well.
    pub certificates: BTreeMap<String, BTreeSet<Kind>>,
    /// What else is out of order, as far as it was told.
    pub dependencies: BTreeSet<String>,
}

impl Observer {
    /// `wished` are the certificates that somebody wants: what waits in an outbox is told before the first pass of a
    /// process, when its status has none yet.
    fn hear(&mut self, notice: &Notice, status: &Status, wished: &[String]) {
        let names = |is_meant: &dyn Fn(&str) -> bool| -> Vec<String> {
            let known = self.certificates.keys();
            let names = wished.iter().chain(known);
            names.filter(|name| is_meant(name)).cloned().collect()
        };
        match notice.kind {
            Kind::Trouble => {
                let part = notice.title.strip_prefix("trouble with ");
                self.dependencies.extend(part.map(str::to_owned));
            }
            Kind::Recovered => {
                if let Some(part) = notice.title.strip_suffix(" works again") {
                    self.dependencies.remove(part);
                }
                for name in names(&|name| is_named(notice, name)) {
                    self.certificates.remove(&name);
                }
            }
            Kind::AtRisk | Kind::Paused | Kind::NeedsPerson | Kind::Failing => {
                // A long list ends with how many more there are, and those stand on the page.
                let is_cut = notice.text.contains("\nand ");
                let worst: BTreeSet<&str> = status
                    .certificates
                    .iter()
                    .filter(|it| it.health == Health::AtRisk || notice.kind != Kind::AtRisk)
                    .filter(|it| it.health.needs_attention())
                    .map(|it| it.name.as_str())
                    .collect();
                let is_meant =
                    |name: &str| is_named(notice, name) || is_cut && worst.contains(name);
                for name in names(&is_meant) {
                    self.certificates.entry(name).or_default().insert(notice.kind);
                }
            }
            // It repeats what was told.
            Kind::Digest => {}
        }
    }
}

fn is_named(notice: &Notice, name: &str) -> bool {
    match &notice.certificate {
        Some(certificate) => certificate == name,
        None => notice.text.contains(name),
    }
}

/// Looks how everything stands after each pass and tells what is new, for as long as the process lives.
pub(crate) async fn listen(context: Arc<Context<Life>>, mut passes: watch::Receiver<Snapshot>) {
    let mut outbox = read(&context).await;
    outbox.start(context.now());
    let longest = context.settings.loop_time * 2;
    loop {
        let snapshot = passes.borrow().clone();
        let seen = snapshot.passes;
        let now = context.now();
        let status = live::of(&context, &Program::default(), &snapshot, Heard::default(), now);
        let is_new = tell(&context, &mut outbox, status, now).await;
        // What lasts is told when it has lasted, and what was too much for one round in the next.
        let rest = match (outbox.notified == Notified::default(), is_new) {
            (true, _) => longest,
            (false, true) => LASTING + Duration::SECOND,
            (false, false) => LOOK.min(longest),
        };
        tokio::select! {
            biased;
            ended = passes.wait_for(|snapshot| snapshot.passes != seen) => {
                if ended.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(rest.unsigned_abs()) => {}
        }
    }
}

/// What cannot be read is read until it can be.
async fn read(context: &Context<Life>) -> Outbox {
    loop {
        match context.store.run(|store| store.outbox()).await {
            Ok(outbox) => return outbox.unwrap_or_default(),
            Err(_) => tokio::time::sleep(READ_AGAIN.unsigned_abs()).await,
        }
    }
}

/// Finds what is new, writes it down, and then lets people hear it. Answers whether anything was new.
async fn tell(
    context: &Context<Life>,
    outbox: &mut Outbox,
    mut status: Status,
    now: OffsetDateTime,
) -> bool {
    let instance = context.world.instance;
    let defect = context.world.outside.state().trouble.defect;
    if defect.hides_risk {
        let risks = status.certificates.iter_mut();
        for certificate in risks.filter(|it| it.health == Health::AtRisk) {
            certificate.health = Health::Waiting;
        }
    }
    let news = News::between(&outbox.notified, &status, now);
    let is_new = outbox.notified != news.notified;
    outbox.notified = news.notified;
    for notice in news.notices {
        outbox.add(notice, now);
    }
    if is_new || !outbox.is_empty() {
        save(context, outbox).await;
    }
    let is_any = !outbox.is_empty();
    while let Some(queued) = outbox.due(now) {
        let mut state = context.world.outside.state();
        if !defect.swallows_notices {
            if queued.notice.kind != Kind::Digest {
                let line = format!("[{instance}] tells: {}", queued.notice.title);
                state.note(line);
            }
            let wishes = state.domains.wishes.values();
            let wished: Vec<String> = wishes.map(|wish| wish.names.primary().to_string()).collect();
            state.observer(instance).hear(&queued.notice, &status, &wished);
        }
        outbox.delivered(queued.id);
    }
    if is_any {
        save(context, outbox).await;
    }
    if status.phase == Phase::Running {
        let mut state = context.world.outside.state();
        let true_now = state.now();
        state.places[instance].turns_since.get_or_insert(true_now);
    }
    is_new
}

/// Where that is not possible all is kept in memory, as the daemon does: a full disk is what people must hear of.
async fn save(context: &Context<Life>, outbox: &Outbox) {
    let outbox = outbox.clone();
    drop(context.store.run(move |store| store.save_outbox(&outbox)).await);
}

impl State {
    fn observer(&mut self, instance: usize) -> &mut Observer {
        &mut self.home(instance).observer
    }
}
