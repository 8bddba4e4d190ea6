//! One life of the process, from its start to its end or crash, and the doors that it has.
//!
//! From the moment of a crash nothing that it does has an effect any more, and nothing that it waits for comes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rancher_lets_encrypt::core::bundle::KeyType;
use rancher_lets_encrypt::core::bundle::Secret;
use rancher_lets_encrypt::ports::Clock;
use rancher_lets_encrypt::ports::World;
use time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::issuer;
use crate::outside::Outside;
use crate::outside::State;
use crate::trouble::Fate;
use crate::trouble::Port;

/// Why a call fails that has had its effect.
pub(crate) const LOST: &str = "no answer comes";

/// One life of one instance.
#[derive(Clone)]
pub struct Life {
    /// Everything outside.
    pub outside: Outside,
    /// Which instance it is.
    pub instance: usize,
    is_over: Arc<AtomicBool>,
    over: Arc<Notify>,
    /// The version of the labels that was read last.
    pub(crate) labels_read: Arc<AtomicU64>,
    /// The one line in which a defect lets looks at names and orders stand.
    line: Arc<tokio::sync::Mutex<()>>,
    disk: Arc<Drive>,
}

/// The disk of a life.
#[derive(Clone)]
pub struct Drive {
    pub(crate) outside: Outside,
    pub(crate) instance: usize,
    is_over: Arc<AtomicBool>,
    over: Arc<Notify>,
}

/// What a call does, for the history.
pub(crate) struct Call<'a> {
    pub(crate) port: Port,
    pub(crate) what: &'static str,
    pub(crate) on: &'a str,
    /// Whether it changes something outside.
    pub(crate) is_effect: bool,
}

impl Life {
    /// A process begins.
    pub fn new(outside: Outside, instance: usize) -> Self {
        let (is_over, over) = (Arc::<AtomicBool>::default(), Arc::<Notify>::default());
        let disk = Arc::new(Drive {
            outside: outside.clone(),
            instance,
            is_over: Arc::clone(&is_over),
            over: Arc::clone(&over),
        });
        Self {
            outside,
            instance,
            is_over,
            over,
            labels_read: Arc::default(),
            line: Arc::default(),
            disk,
        }
    }

    /// Resolves when it crashes.
    pub async fn crashed(&self) {
        while !self.is_over() {
            self.over.notified().await;
        }
    }

    /// Ends it: from now on it has no effect.
    pub fn end(&self) {
        self.disk.end();
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits in line, if a defect has one.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        if !self.outside.state().trouble.defect.queues_looks {
            return None;
        }
        Some(Arc::clone(&self.line).lock_owned().await)
    }

    /// One call: a moment on the way, its effect with the luck it has, and the end of the process if it is time.
    pub(crate) async fn call<T, E>(
        &self,
        call: Call<'_>,
        act: impl FnOnce(&mut State) -> Result<T, E>,
        fault: impl Fn(&str) -> E,
    ) -> Result<T, E> {
        let way = self.outside.state().dice.time(Duration::ZERO, Duration::milliseconds(150));
        tokio::time::sleep(way.unsigned_abs()).await;
        if self.is_over() {
            return std::future::pending().await;
        }
        let result = self.disk.effect(&call, act, fault);
        if self.is_over() {
            return std::future::pending().await;
        }
        result
    }
}

impl Drive {
    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.over.notify_one();
    }

    /// Does something with the luck it has.
    pub(crate) fn effect<T, E>(
        &self,
        call: &Call<'_>,
        act: impl FnOnce(&mut State) -> Result<T, E>,
        fault: impl Fn(&str) -> E,
    ) -> Result<T, E> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(fault("the process is gone"));
        }
        let mut state = self.outside.state();
        let crash = if call.is_effect { self.count(&mut state) } else { None };
        if let Some(true) = crash {
            self.crash(&mut state, call, "before");
            return Err(fault("the process is gone"));
        }
        let State { trouble, dice, .. } = &mut *state;
        let fate = trouble.fate(call.port, dice);
        let result = match fate {
            Fate::FailsBefore => Err(fault("it does not get through")),
            Fate::Works | Fate::FailsAfter => act(&mut state),
        };
        if call.is_effect || fate != Fate::Works || result.is_err() && call.port != Port::Disk {
            let how = match (fate, &result) {
                (Fate::Works, Ok(_)) => "",
                (Fate::Works, Err(_)) => ": refused",
                (Fate::FailsBefore, _) => ": fails without effect",
                (Fate::FailsAfter, _) => ": no answer",
            };
            let line = format!("[{}] {} {}{how}", self.instance, call.what, call.on);
            state.note(line);
        }
        if let Some(false) = crash {
            self.crash(&mut state, call, "after");
        }
        if fate == Fate::FailsAfter {
            return Err(fault(LOST));
        }
        result
    }

    /// Counts an effect; answers whether the process ends with it, and if so whether before it happens.
    fn count(&self, state: &mut State) -> Option<bool> {
        state.effects += 1;
        let crash = state.trouble.crashes.get_mut(self.instance)?.as_mut()?;
        crash.after = crash.after.saturating_sub(1);
        (crash.after == 0).then_some(crash.is_before)
    }

    fn crash(&self, state: &mut State, call: &Call<'_>, when: &str) {
        let Some(crash) = state.trouble.crashes[self.instance].take() else {
            return;
        };
        state.trouble.crashed += 1;
        let home = state.places[self.instance].home;
        let State { places, dice, .. } = state;
        places[home].volume.crash(crash.loss, dice);
        state.note(format!(
            "[{}] CRASH {when} {} {} (lost: {:?})",
            self.instance, call.what, call.on, crash.loss
        ));
        self.end();
    }

    /// Whether the process has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// The clock of the machine that an instance runs on.
impl Clock for Life {
    fn now(&self) -> OffsetDateTime {
        self.outside.state().shown(self.instance)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time.try_into().unwrap_or_default())
    }
}

impl World for Life {
    type Source = Self;
    type Destination = Self;
    type Authority = Self;
    type Solver = Self;
    type Disk = Drive;
    type Clock = Self;

    fn source(&self) -> &Self {
        self
    }

    fn destination(&self) -> &Self {
        self
    }

    fn authority(&self) -> &Self {
        self
    }

    fn solver(&self) -> &Self {
        self
    }

    fn disk(&self) -> &Arc<Drive> {
        &self.disk
    }

    fn clock(&self) -> &Self {
        self
    }

    fn new_key(&self, _: KeyType) -> Result<Secret, String> {
        let seed = self.outside.state().dice.bytes();
        Ok(issuer::key_pem(&seed))
    }
}
