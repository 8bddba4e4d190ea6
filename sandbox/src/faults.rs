//! What a server does wrong, on which request, how often; and what was asked of it.
//!
//! - [`chance`]: faults on so many requests of a hundred, drawn by a seed
//! - [`mangle`]: answers that nobody would send

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Response;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::faults::chance::Chance;

pub mod chance;
pub mod mangle;

/// One request as the faults and the tests see it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query as sent.
    pub path: String,
    /// What the server calls it, such as `new-order` or `PUT certificate`.
    pub endpoint: &'static str,
    /// Domain names or other subject, where the server knows it; else empty.
    pub subject: String,
    /// Who asked, as they say; empty if they do not.
    pub user_agent: String,
    /// The status that was answered; none while it is being worked on, or when nothing was answered.
    pub status: Option<u16>,
    /// When it came.
    pub at: OffsetDateTime,
    /// What went wrong with it, if anything did.
    pub fault: Option<&'static str>,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// Answers this and does nothing.
    Answer(Response<Bytes>),
    /// Answers this status, does nothing, and says when to come again.
    Later {
        /// The status.
        status: u16,
        /// How much later than now.
        after: Duration,
        /// How that is written.
        form: RetryAfter,
    },
    /// Closes the connection and does nothing.
    Close,
    /// Does what was asked, then closes the connection without an answer.
    DoThenClose,
    /// Does nothing and never answers.
    Stall,
    /// Does what was asked and never answers.
    DoThenStall,
    /// Waits, then goes on as usual.
    Delay(Duration),
    /// Waits before doing anything until the gate is opened.
    Hold(Gate),
    /// Does what was asked, then waits with the answer until the gate is opened.
    DoThenHold(Gate),
    /// Does what was asked and cuts the body of the answer in half, with a length that promises all.
    Truncate,
    /// Does what was asked and answers half of the body as if it were all.
    Shorten,
    /// Does what was asked and answers something like it, which follows from this seed.
    Mangle(u64),
    /// Does nothing and answers a body that has no end, in blocks of this.
    Endless(Bytes),
}

impl What {
    /// What a list of faults calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answer(_) => "answer",
            Self::Later { .. } => "later",
            Self::Close => "close",
            Self::DoThenClose => "do-then-close",
            Self::Stall => "stall",
            Self::DoThenStall => "do-then-stall",
            Self::Delay(_) => "delay",
            Self::Hold(_) => "hold",
            Self::DoThenHold(_) => "do-then-hold",
            Self::Truncate => "truncate",
            Self::Shorten => "shorten",
            Self::Mangle(_) => "mangle",
            Self::Endless(_) => "endless",
        }
    }

    /// A status without a word.
    pub fn status(status: u16) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status.try_into().expect("tests know their statuses");
        Self::Answer(response)
    }
}

/// How `Retry-After` is written (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// `3`.
    Seconds,
    /// `Sun, 22 Nov 2026 12:00:00 GMT`, at the next whole second.
    Date,
}

impl RetryAfter {
    pub(crate) fn value(self, now: OffsetDateTime, after: Duration) -> String {
        let format = time::macros::format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        );
        match self {
            Self::Seconds => after.as_secs().to_string(),
            Self::Date => (now + after + Duration::from_secs(1))
                .format(format)
                .expect("these dates have four digits"),
        }
    }
}

/// A door in front of (or behind) a request: the test sees that it was reached, and opens it.
#[derive(Debug, Clone)]
pub struct Gate {
    reached: Arc<watch::Sender<u32>>,
    passes: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { reached: Arc::new(watch::Sender::new(0)), passes: Arc::new(Semaphore::new(0)) }
    }

    /// Resolves when at least `times` requests have come to this gate.
    pub async fn reached(&self, times: u32) {
        let mut reached = self.reached.subscribe();
        let seen = reached.wait_for(|count| *count >= times).await;
        drop(seen.expect("the sender lives as long as self"));
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.passes.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(crate) async fn pass(&self) {
        self.reached.send_modify(|count| *count += 1);
        if let Ok(permit) = self.passes.acquire().await {
            permit.forget();
        }
    }
}

type Matcher = Box<dyn Fn(&Seen) -> bool + Send + Sync>;

struct Fault {
    matches: Matcher,
    skip: u32,
    times: u32,
    what: What,
}

/// The faults of one server and the list of what it was asked. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Faults {
    script: Arc<Mutex<Vec<Fault>>>,
    chance: Arc<Mutex<Option<Chance>>>,
    seen: Arc<watch::Sender<Vec<Seen>>>,
}

impl Faults {
    /// Adds a fault to the first `times` requests to `endpoint`.
    pub fn add(&self, endpoint: &'static str, times: u32, what: What) {
        self.add_when(move |seen| seen.endpoint == endpoint, 0, times, what);
    }

    /// Adds a fault to `times` of the requests that match, after letting `skip` of them pass.
    pub fn add_when(
        &self,
        matches: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        skip: u32,
        times: u32,
        what: What,
    ) {
        self.script().push(Fault { matches: Box::new(matches), skip, times, what });
    }

    /// From here on every request may go wrong.
    pub fn draw(&self, chance: Chance) {
        *self.chance() = Some(chance);
    }

    /// Takes all faults back.
    pub fn clear(&self) {
        self.script().clear();
        *self.chance() = None;
    }

    /// Everything that was asked so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// How many requests to `endpoint` have come.
    pub fn count(&self, endpoint: &str) -> usize {
        self.seen.borrow().iter().filter(|seen| seen.endpoint == endpoint).count()
    }

    /// Resolves when `done` says so of what was asked.
    pub async fn until(&self, done: impl Fn(&[Seen]) -> bool) {
        let mut seen = self.seen.subscribe();
        let found = seen.wait_for(|all| done(all)).await;
        drop(found.expect("the sender lives as long as self"));
    }

    /// Notes a request and says what goes wrong with it. The index is for [`Faults::answered`].
    pub fn take(&self, mut seen: Seen) -> (usize, Option<What>) {
        let mut what = None;
        for fault in self.script().iter_mut().filter(|fault| (fault.matches)(&seen)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && what.is_none() {
                fault.times -= 1;
                what = Some(fault.what.clone());
            }
        }
        if what.is_none() {
            what = self.chance().as_mut().and_then(|chance| chance.draw(seen.endpoint));
        }
        seen.fault = what.as_ref().map(What::name);
        let mut index = 0;
        self.seen.send_modify(|all| {
            index = all.len();
            all.push(seen);
        });
        (index, what)
    }

    /// Notes the status that was answered to a request.
    pub fn answered(&self, index: usize, status: u16) {
        self.seen.send_modify(|all| {
            if let Some(seen) = all.get_mut(index) {
                seen.status = Some(status);
            }
        });
    }

    fn chance(&self) -> MutexGuard<'_, Option<Chance>> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
