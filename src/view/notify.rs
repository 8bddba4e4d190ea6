//! Tells people what is wrong, without being asked: notices to `NOTIFY_URL`, a heartbeat to `HEARTBEAT_URL`.
//!
//! Beside the loop, which never waits for it. [`news`] finds what is new, [`outbox`] keeps it on the disk before it is
//! sent, [`deliver`] sends it. What was on its way when the process ended is sent again by the next one: at least once,
//! with the same number.

use std::sync::Arc;

use time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;
use tracing::info;
use tracing::warn;

use crate::client::RetryAfter;
use crate::core::reaction::FailureKind;
use crate::core::schedule;
use crate::core::text::timestamp;
use crate::ports::Disk;
use crate::store::Store;
use crate::view::notify::deliver::Door;
use crate::view::notify::deliver::Sent;
use crate::view::notify::news::LASTING;
use crate::view::notify::news::News;
use crate::view::notify::outbox::Outbox;
use crate::view::status::Health;
use crate::view::status::Part;
use crate::view::status::Status;
use crate::work::daemon::Snapshot;

pub mod deliver;
pub mod heartbeat;
pub mod news;
pub mod notice;
pub mod outbox;

/// What this is called among the dependencies.
pub const PART: &str = "notices";
/// How often it is looked whether something has become news, passes or not.
const LOOK: Duration = Duration::MINUTE;
/// How often an outbox that cannot be read is tried again.
const READ_AGAIN: Duration = Duration::seconds(5);
/// What is refused is tried again this often.
const REFUSED: Duration = Duration::DAY;
/// Nonsense in a `Retry-After` is not believed for longer.
const LONGEST_ASKED: Duration = Duration::DAY;

/// What the notifier works with.
pub struct Notifier<D> {
    /// Where its outbox is.
    pub store: Arc<Store<D>>,
    /// Where notices go; none if nobody wants them. What was told is kept all the same, so that whoever wants them
    /// later is not flooded.
    pub door: Option<Door>,
    /// How everything stands.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// Passes.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Is told how delivery stands.
    pub tell: Arc<dyn Fn(Part) + Send + Sync>,
    /// The time.
    pub now: fn() -> OffsetDateTime,
}

/// The number of the next pass, once it has ended; none when there will be no more.
async fn next_pass(passes: &mut watch::Receiver<Snapshot>, seen: u64) -> Option<u64> {
    let ended = passes.wait_for(|snapshot| snapshot.passes != seen).await;
    ended.ok().map(|snapshot| snapshot.passes)
}

/// What is remembered while it runs.
struct Turning<D> {
    with: Notifier<D>,
    outbox: Outbox,
    /// What stands on the disk.
    saved: Outbox,
    sending: JoinSet<(u64, Sent)>,
    /// Nothing is sent before.
    closed_until: Option<OffsetDateTime>,
    /// Failures in a row.
    failures: u32,
    failing_since: Option<OffsetDateTime>,
    delivered_at: Option<OffsetDateTime>,
    last_error: Option<String>,
    is_refused: bool,
    said_unsaved: bool,
    looked_at: OffsetDateTime,
}

impl<D: Disk> Notifier<D> {
    /// Runs for as long as there are passes. Dropping it is safe at any point.
    pub async fn run(self) {
        let outbox = self.read().await;
        let mut passes = self.snapshot.clone();
        let mut seen = 0;
        let mut turning = Turning::new(self, outbox);
        turning.begin().await;
        loop {
            turning.look().await;
            turning.send();
            let rest = turning.rest();
            tokio::select! {
                biased;
                Some(done) = turning.sending.join_next() => {
                    match done {
                        Ok((id, sent)) => turning.finish(id, sent).await,
                        Err(error) => turning.stumble(&error),
                    }
                }
                ended = next_pass(&mut passes, seen) => match ended {
                    Some(pass) => seen = pass,
                    None => return,
                },
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// What could not be read is not taken for nothing: it is read until it can be.
    async fn read(&self) -> Outbox {
        let mut said = String::new();
        loop {
            match self.store.run(|store| store.outbox()).await {
                Ok(outbox) => return outbox.unwrap_or_default(),
                Err(error) => {
                    let error = error.to_string();
                    if said != error {
                        warn!(error, "outbox of notices not read, tried again");
                        self.tell_unread(&error);
                        said = error;
                    }
                    tokio::time::sleep(READ_AGAIN.unsigned_abs()).await;
                }
            }
        }
    }

    fn tell_unread(&self, error: &str) {
        if self.door.is_none() {
            return;
        }
        (self.tell)(Part {
            name: PART.to_owned(),
            health: Health::Attention,
            detail: format!("no notice is sent as long as the outbox cannot be read: {error}"),
            advice: FailureKind::Disk.advice().map(str::to_owned),
            since: None,
        });
    }
}

impl<D: Disk> Turning<D> {
    fn new(with: Notifier<D>, outbox: Outbox) -> Self {
        Self {
            looked_at: (with.now)(),
            with,
            saved: outbox.clone(),
            outbox,
            sending: JoinSet::new(),
            closed_until: None,
            failures: 0,
            failing_since: None,
            delivered_at: None,
            last_error: None,
            is_refused: false,
            said_unsaved: false,
        }
    }

    async fn begin(&mut self) {
        if self.with.door.is_some() {
            self.outbox.start((self.with.now)());
        } else {
            self.outbox.clear();
            self.save().await;
        }
        self.tell();
    }

    /// Finds what is new and writes it down; nothing of it is sent before.
    async fn look(&mut self) {
        let now = (self.with.now)();
        // After a clock was set back, what is planned may lie far ahead.
        if now < std::mem::replace(&mut self.looked_at, now) {
            self.outbox.start(now);
            self.closed_until = None;
        }
        let status = (self.with.status)();
        let news = News::between(&self.outbox.notified, &status, now);
        self.outbox.notified = news.notified;
        if self.with.door.is_some() {
            for notice in news.notices {
                debug!(kind = notice.kind.word(), title = notice.title, "notice queued");
                self.outbox.add(notice, now);
            }
            let expired = self.outbox.expire(now);
            if expired > 0 {
                warn!(expired, "notices dropped that could not be delivered for days");
            }
        }
        self.save().await;
        self.tell();
    }

    /// Where that is not possible, all is kept in memory: a full disk is what people must hear of.
    async fn save(&mut self) {
        if self.outbox == self.saved {
            return;
        }
        let outbox = self.outbox.clone();
        let saved = self.with.store.run(move |store| {
            store.save_outbox(&outbox)?;
            Ok::<_, crate::store::StoreError>(outbox)
        });
        match saved.await {
            Ok(outbox) => {
                self.saved = outbox;
                self.said_unsaved = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.said_unsaved, true) {
                    warn!(%error, "notices not written down, a restart would repeat or forget them");
                }
            }
        }
    }

    /// Sends what is due, one at a time.
    fn send(&mut self) {
        let now = (self.with.now)();
        let is_closed = self.closed_until.is_some_and(|until| now < until);
        if is_closed || !self.sending.is_empty() {
            return;
        }
        let Some((door, queued)) = self.with.door.clone().zip(self.outbox.due(now)) else {
            return;
        };
        self.sending.spawn(async move { (queued.id, door.send(&queued).await) });
    }

    async fn finish(&mut self, id: u64, sent: Sent) {
        let now = (self.with.now)();
        match sent {
            Sent::Delivered => {
                self.outbox.delivered(id);
                if self.last_error.take().is_some() {
                    info!(queued = self.outbox.len(), "notices delivered again");
                }
                self.failures = 0;
                self.failing_since = None;
                self.closed_until = None;
                self.is_refused = false;
                self.delivered_at = Some(now);
            }
            Sent::Failed { why, retry_after } => {
                let wait = self.fail(&why, now);
                let until = now + wait;
                let asked = retry_after.and_then(|asked| RetryAfter::later_than(asked, now));
                let until = asked.map_or(until, |asked| asked.clamp(until, now + LONGEST_ASKED));
                self.closed_until = Some(until);
                self.outbox.failed(id, until);
                self.say(why, "notice not delivered, tried again");
            }
            // Perhaps only this one is: the next one has its turn.
            Sent::Refused { why } => {
                let wait = self.fail(&why, now);
                self.closed_until = Some(now + wait);
                self.is_refused = true;
                self.outbox.failed(id, now + REFUSED);
                self.say(
                    why,
                    "notice refused, tried again daily: check NOTIFY_URL and NOTIFY_FORMAT",
                );
            }
        }
        self.save().await;
        self.tell();
    }

    /// A bug that one request meets must not become a loop.
    fn stumble(&mut self, error: &tokio::task::JoinError) {
        warn!(%error, "sending a notice panicked");
        self.closed_until = Some((self.with.now)() + LOOK);
    }

    fn fail(&mut self, why: &str, now: OffsetDateTime) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        debug!(error = why, failures = self.failures, "notice not delivered");
        schedule::after_silence(self.failures)
    }

    /// Once for each kind of failure.
    fn say(&mut self, why: String, what: &'static str) {
        if self.last_error.as_ref() != Some(&why) {
            warn!(error = why, queued = self.outbox.len(), "{what}");
            self.last_error = Some(why);
        }
    }

    fn rest(&self) -> std::time::Duration {
        let now = (self.with.now)();
        let next = self.outbox.next_at().map(|next| next.max(self.closed_until.unwrap_or(next)));
        let is_waited_for = self.with.door.is_some() && self.sending.is_empty();
        let rest = next.filter(|_| is_waited_for).map_or(LOOK, |next| next - now);
        rest.clamp(Duration::ZERO, LOOK).unsigned_abs()
    }

    fn tell(&self) {
        if self.with.door.is_none() {
            return;
        }
        let now = (self.with.now)();
        let lasts = self.failing_since.is_some_and(|since| LASTING <= now - since);
        let health = match &self.last_error {
            None => Health::Ok,
            Some(_) if self.is_refused || lasts => Health::Attention,
            Some(_) => Health::Waiting,
        };
        let mut detail = match self.outbox.len() {
            0 => "none waits".to_owned(),
            1 => "1 waits to be delivered".to_owned(),
            count => format!("{count} wait to be delivered"),
        };
        if let Some(at) = self.delivered_at {
            detail += &format!("; the last one was delivered at {}", timestamp(at));
        }
        if let Some(error) = &self.last_error {
            detail += &format!("; not delivered: {error}");
        }
        let advice = "check `NOTIFY_URL` and `NOTIFY_FORMAT`, and the way from here to it";
        (self.with.tell)(Part {
            name: PART.to_owned(),
            health,
            detail,
            advice: health.needs_attention().then(|| advice.to_owned()),
            since: self.failing_since,
        });
    }
}

#[cfg(test)]
mod tests;
