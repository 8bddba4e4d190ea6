//! What a server does wrong, on which request, how often; and what was asked of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Response;
use tokio::sync::Semaphore;
use tokio::sync::watch;

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
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// Answers this and does nothing.
    Answer(Response<Bytes>),
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
        Self {
            reached: Arc::new(watch::Sender::new(0)),
            passes: Arc::new(Semaphore::new(0)),
        }
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
        self.script().push(Fault {
            matches: Box::new(matches),
            skip,
            times,
            what,
        });
    }

    /// Takes all faults back.
    pub fn clear(&self) {
        self.script().clear();
    }

    /// Everything that was asked so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// How many requests to `endpoint` have come.
    pub fn count(&self, endpoint: &str) -> usize {
        self.seen
            .borrow()
            .iter()
            .filter(|seen| seen.endpoint == endpoint)
            .count()
    }

    /// Resolves when `done` says so of what was asked.
    pub async fn until(&self, done: impl Fn(&[Seen]) -> bool) {
        let mut seen = self.seen.subscribe();
        let found = seen.wait_for(|all| done(all)).await;
        drop(found.expect("the sender lives as long as self"));
    }

    /// Notes a request and says what goes wrong with it. The index is for [`Faults::answered`].
    pub fn take(&self, seen: Seen) -> (usize, Option<What>) {
        let mut what = None;
        for fault in self
            .script()
            .iter_mut()
            .filter(|fault| (fault.matches)(&seen))
        {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && what.is_none() {
                fault.times -= 1;
                what = Some(fault.what.clone());
            }
        }
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

    fn script(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
