//! Whether an order may be opened now, and if not: why, and until when. One that is opened already waits for no limit.

use time::Duration;
use time::OffsetDateTime;
use tracing::warn;

use crate::budget::Asked;
use crate::budget::RENEWAL_WITHIN;
use crate::certificate::Leaf;
use crate::decide::classify::timestamp;
use crate::engine::Engine;
use crate::engine::SKEW_LOOK;
use crate::issue::Attempt;
use crate::issue::Wish;
use crate::issue::settle::unusable;
use crate::issue::stop::Stop;
use crate::names::NameSet;
use crate::ports::Account;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::World;
use crate::reaction::Failure;
use crate::reaction::Trouble;
use crate::schedule;
use crate::setback::Setback;
use crate::store::ledger::Subject;
use crate::store::lineage::Pending;
use crate::store::record::PendingOrder;

/// How long a certificate that was refused stands in the way of another order for the same names.
pub(super) const BLOCKED_FOR: Duration = Duration::DAY;

/// A clock that differs from the authority's by more is worth a warning.
const SKEW_WARNED: Duration = Duration::minutes(5);
/// With a clock that differs by more, nothing that costs is asked: waits and dates cannot be trusted.
const SKEW_REFUSED: Duration = Duration::HOUR;

/// What is said of a store in the container's own layer.
pub const EPHEMERAL: &str = "the store is not on a volume: certificates and account would be lost with this container, so \
                             no production certificate is ordered; mount a volume at LETSENCRYPT_ROOTDIR";

/// How an order stands to the certificate that is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the authority has certified exactly these names lately, which its limits favour.
    pub is_renewal: bool,
    /// Whether our own brakes are advice only, because the certificate would expire by them: the authority is asked
    /// once a day, and its answer wins.
    pub overrules: bool,
    /// Whether a person has asked for it, which skips waits of ours.
    pub is_asked: bool,
}

impl Standing {
    /// How an order for `names` stands to a leaf that came from `directory`.
    pub fn of<W: World>(
        engine: &Engine<W>,
        names: &NameSet,
        leaf: &Leaf,
        directory: Option<&str>,
    ) -> Self {
        let policy = &engine.settings.policy;
        let is_renewal = leaf.names_equal(names)
            && directory == Some(policy.wanted_directory())
            && engine.now() < leaf.not_before.saturating_add(RENEWAL_WITHIN);
        Self {
            is_renewal,
            overrules: false,
            is_asked: false,
        }
    }
}

/// Whether our own brakes are advice only: less than half of the time between due and expired is left, and the
/// authority was not asked in spite of them for a day.
pub fn may_overrule<W: World>(engine: &Engine<W>, certificate: &str, leaf: &Leaf) -> bool {
    let now = engine.now();
    let overruled = Subject::Overruled {
        certificate: certificate.to_owned(),
    };
    schedule::overdue_at(leaf, engine.settings.policy.renew_before) <= now
        && engine.ledger().waiting(&overruled, now).is_none()
}

/// An order that might be opened.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What would be ordered.
    pub names: &'a NameSet,
    /// URL of the account; empty before there is one.
    pub account: &'a str,
    /// How it stands to what is there.
    pub standing: Standing,
    /// Whether the store would be lost with the container.
    pub is_ephemeral: bool,
}

/// Whether an order may be opened now, and if not: why, and until when.
pub fn gate<W: World>(
    engine: &Engine<W>,
    question: &Question<'_>,
    pending: &Pending,
) -> Result<(), Setback> {
    let now = engine.now();
    let policy = &engine.settings.policy;
    let directory = policy.wanted_directory();
    if question.is_ephemeral && !policy.is_staging {
        return Err(Setback::failure(EPHEMERAL));
    }
    match pending {
        Pending::Unreadable(why) => {
            return Err(Setback::failure(format!(
                "the order in flight cannot be read: {why}"
            )));
        }
        Pending::Order(order) => {
            let blocks = order.directory == directory
                && order.names.set() == *question.names
                && !question.standing.is_asked;
            if let Some(setback) = blocks.then(|| refused(order, now)).flatten() {
                return Err(setback);
            }
        }
        Pending::None => {}
    }
    authority_waits(engine, directory)?;
    let ledger = engine.ledger();
    if let Some(opens) = ledger.floor(directory, question.names, now) {
        return Err(floor_holds(opens));
    }
    if let Some(until) = ledger.doubt(now) {
        let reason = "a part of the ledger could not be read: every name counts as just tried";
        return Err(Setback::failure_until(reason, until));
    }
    drop(ledger);
    if question.standing.overrules {
        return Ok(());
    }
    within_limits(engine, &question.asked(directory), now)
}

impl<'a> Question<'a> {
    fn asked(&self, directory: &'a str) -> Asked<'a> {
        Asked {
            directory,
            account: self.account,
            names: self.names,
            is_renewal: self.standing.is_renewal,
        }
    }
}

/// What holds for an order that is opened already: the clock and the authority itself, and whether the account can be
/// used, but no limit.
pub(crate) fn authority_waits_for_opened<W: World>(
    engine: &Engine<W>,
    directory: &str,
) -> Result<(), Setback> {
    let subject = Subject::Account {
        directory: directory.to_owned(),
    };
    let limited = engine.ledger().wait(&subject).and_then(|wait| wait.trouble);
    if limited == Some(Trouble::AccountLimited) {
        engine.clock_right()?;
        return breaker_closed(engine, directory);
    }
    authority_waits(engine, directory)
}

/// What holds for everything new that is asked of an authority.
pub(super) fn authority_waits<W: World>(
    engine: &Engine<W>,
    directory: &str,
) -> Result<(), Setback> {
    engine.clock_right()?;
    engine.held_back(&Subject::Account {
        directory: directory.to_owned(),
    })?;
    breaker_closed(engine, directory)
}

fn breaker_closed<W: World>(engine: &Engine<W>, directory: &str) -> Result<(), Setback> {
    let directory = directory.to_owned();
    let Some(mut wait) = engine.open_breaker(&Subject::Authority { directory }) else {
        return Ok(());
    };
    wait.detail = format!("the authority cannot be used at present: {}", wait.detail);
    Err(wait.into())
}

fn within_limits<W: World>(
    engine: &Engine<W>,
    asked: &Asked<'_>,
    now: OffsetDateTime,
) -> Result<(), Setback> {
    let Some(limits) = engine.limits(asked.directory) else {
        return Ok(());
    };
    let checked = engine.ledger().levels().check(asked, limits, now);
    checked.map_err(Setback::from)
}

pub(super) fn floor_holds(opens: OffsetDateTime) -> Setback {
    let reason = format!(
        "a certificate for these names was asked for less than a day ago; the next not before {}",
        timestamp(opens)
    );
    Setback::later(reason, opens)
}

/// Whether what an authority issued for an order was refused, and still stands in the way of another.
pub(crate) fn refused(order: &PendingOrder, now: OffsetDateTime) -> Option<Setback> {
    let received = order.received.as_ref()?;
    let why = received.refused.as_ref()?;
    let until = received.at.min(now).saturating_add(BLOCKED_FOR);
    (now < until).then(|| unusable(why, until))
}

impl Wish {
    fn asked<'a>(&self, account: &'a Account, names: &'a NameSet) -> Asked<'a> {
        Asked {
            directory: &account.directory,
            account: &account.url,
            names,
            is_renewal: self.standing.is_renewal,
        }
    }
}

/// An order as it was opened: whether it is a renewal, the authority decides then.
pub(super) fn asked_before<'a>(
    order: &PendingOrder,
    account: &'a Account,
    names: &'a NameSet,
) -> Asked<'a> {
    Asked {
        directory: &account.directory,
        account: &account.url,
        names,
        is_renewal: order.is_renewal,
    }
}

impl<W: World> Attempt<'_, W> {
    /// Takes what an order costs from the limits, on record before it is opened.
    pub(super) async fn take_budget(&self, account: &Account) -> Result<(), Stop> {
        let limits = self.engine.limits(&account.directory);
        let names = self.wish.order.set();
        let asked = self.wish.asked(account, &names);
        let now = self.engine.now();
        let (line, overruled) = {
            let mut ledger = self.engine.ledger();
            let used_up =
                limits.and_then(|limits| ledger.levels().check(&asked, limits, now).err());
            if let Some(used_up) = &used_up
                && !self.wish.standing.overrules
            {
                return Err(Setback::from(used_up.clone()).into());
            }
            self.reservation.keep(&mut ledger, &asked);
            (ledger.ordering(&asked, limits, now), used_up)
        };
        if let Some(used_up) = overruled {
            self.overrule(&used_up.reason).await;
        }
        let write = move |store: &crate::store::Store<W::Disk>| store.append_ledger(&line);
        let written = self.engine.store.run(write).await;
        if let (Err(_), Some(limits)) = (&written, limits) {
            // A disk that was full for long must not stop orders for hours.
            self.engine.ledger().not_ordered(&asked, limits, now);
        }
        Ok(written?)
    }

    /// Keeps the place of an order that was opened before: it is not asked whether there is one.
    pub(super) fn reserve(&self, account: &Account, order: &PendingOrder) {
        let names = order.names.set();
        let asked = asked_before(order, account, &names);
        self.reservation.keep(&mut self.engine.ledger(), &asked);
    }

    /// Notes the order that was opened.
    pub(super) async fn note_ordered(&self, account: &Account, url: &str) {
        let names = self.wish.order.set();
        let asked = self.wish.asked(account, &names);
        let now = self.engine.now();
        let line = self.engine.ledger().ordered(&asked, url, now);
        self.engine.write(line).await;
    }

    /// Takes what an account costs from the limits, on record before it is made.
    pub(super) async fn take_account_budget(&self, directory: &str) -> Result<(), Stop> {
        let (limits, now) = (self.engine.limits(directory), self.engine.now());
        let registering = self.engine.ledger().registering(directory, limits, now);
        let line = match registering {
            Ok(line) => line,
            Err(used_up) => {
                // All the others need not find out by themselves.
                let subject = Subject::Account {
                    directory: directory.to_owned(),
                };
                let until = used_up.opens.unwrap_or(now + Duration::DAY);
                let what = Failure::of(Trouble::AccountLimited, used_up.reason);
                let wait = self.engine.fail_until(subject, until, what).await;
                return Err(Setback::from(wait).into());
            }
        };
        let write = move |store: &crate::store::Store<W::Disk>| store.append_ledger(&line);
        Ok(self.engine.store.run(write).await?)
    }

    /// Gives back what the certificate of an order took, if it was asked for, and was not issued.
    pub(super) async fn give_back_budget(&self, account: &Account, order: &PendingOrder) {
        let Some(limits) = self.engine.limits(&account.directory) else {
            return;
        };
        if order.finalized_at.is_none() {
            return;
        }
        let names = order.names.set();
        let asked = asked_before(order, account, &names);
        let now = self.engine.now();
        let line = self.engine.ledger().came_to_nothing(&asked, limits, now);
        self.engine.write(line).await;
    }

    /// Notes that the authority is asked in spite of our own brakes.
    pub(super) async fn overrule(&self, brake: &str) {
        let certificate = self.wish.entry.primary().to_string();
        let until = self.engine.now() + Duration::DAY;
        warn!(names = %self.wish.entry, brake, "about to expire, the authority is asked all the same");
        self.engine
            .fail_until(Subject::Overruled { certificate }, until, brake)
            .await;
    }
}

/// How far our clock is off the authority's, and to which side.
fn skew<W: World>(
    engine: &Engine<W>,
    theirs: Option<OffsetDateTime>,
) -> Option<(&'static str, Duration)> {
    let (theirs, now) = (theirs?, engine.now());
    let (ahead, skew) = if theirs < now {
        ("ahead of", now - theirs)
    } else {
        ("behind", theirs - now)
    };
    (SKEW_WARNED < skew).then_some((ahead, skew))
}

/// What an authority says that answers now about a clock that seems to be off.
fn judge_clock<W: World>(
    engine: &Engine<W>,
    theirs: Option<OffsetDateTime>,
) -> Result<(), Setback> {
    let Some((ahead, skew)) = skew(engine, theirs) else {
        return Ok(());
    };
    let reason = format!(
        "the clock of this machine is {} minutes {ahead} the authority's: set it right",
        skew.whole_minutes()
    );
    if skew <= SKEW_REFUSED {
        engine.say_once(&reason);
        return Ok(());
    }
    let reason = format!("{reason}; nothing that costs is asked before");
    engine.distrust_clock(&reason);
    Err(Setback::failure_until(reason, engine.now() + SKEW_LOOK))
}

/// Compares our clock with the authority's before what is not ours is judged by dates. While it does not answer, as when
/// our clock sees its certificate expired, nothing is judged.
pub(crate) async fn trust_dates<W: World>(
    engine: &Engine<W>,
    directory: &str,
) -> Result<(), Setback> {
    let time = async |answered| {
        let theirs = engine.world.authority().time(directory, answered).await;
        theirs.map_err(|error| {
            let what = "our clock cannot be compared with the authority's";
            Setback::failure(format!(
                "{what} before what is not ours is replaced: {error}"
            ))
        })
    };
    if skew(engine, time(Answered::Before).await?).is_none() {
        return Ok(());
    }
    judge_clock(engine, time(Answered::Now).await?)
}

impl<W: World> Attempt<'_, W> {
    /// Compares our clock with the authority's. A clock that is wrong would open every gate.
    pub(super) async fn trust_clock(&self, directory: &str) -> Result<(), Stop> {
        let before = self.ask_time(directory, Answered::Before).await?;
        if skew(self.engine, before).is_none() {
            return Ok(());
        }
        // The clock that never jumps stands still while a machine is suspended.
        let now = self.ask_time(directory, Answered::Now).await?;
        Ok(judge_clock(self.engine, now)?)
    }
}
