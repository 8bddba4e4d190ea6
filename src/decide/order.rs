//! The order in flight: what is on record of it, and the machine that says the next step. Pure: `now` is an argument.
//!
//! [`PendingOrder::stage`] computes the stage from what is on record, [`step`] looks the stage and what the authority
//! shows up in one table, and the driver (`issue`) does that step, writes, and asks again. Nothing else looks into the
//! record of an order. The table in `ARCHITECTURE.md` is [`render`]ed from here and held equal by a test.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde::Serialize;
use time::Duration;
use time::OffsetDateTime;

use crate::core::bundle::Bundle;
use crate::core::bundle::Secret;
use crate::core::names::Names;
use crate::core::resource::Order;
use crate::core::resource::OrderStatus;
use crate::core::resource::Token;
use crate::core::text::timestamp;

mod rest;
mod table;

pub use rest::Pause;
pub use table::render;

/// How long an order lives whose authority does not say; Let's Encrypt's live seven days.
const LIFE: Duration = Duration::days(8);

/// An order that was finalized and brings no certificate for this long is stuck.
const STUCK_AFTER: Duration = Duration::DAY;

/// After this nobody waits any more for an authority that says nothing of an order whose life is over.
const LONG_AGO: Duration = Duration::days(3);

/// How long a certificate that was refused stands in the way of another order for the same names.
const BLOCKED_FOR: Duration = Duration::DAY;

/// How often an order is finalized at most: each time may bring a certificate, and after a day it is stuck.
const MOST_FINALIZES: usize = 3;

/// An order, with the key that its certificate will have, from the intent to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingOrder {
    /// What is ordered.
    pub names: Names,
    /// Directory URL of the authority.
    pub directory: String,
    /// URL of the account.
    pub account: String,
    /// The private key, PKCS#8 PEM.
    pub key: Secret,
    /// Whether the authority favours it as a renewal of the same names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_renewal: bool,
    /// When the order was about to be opened.
    #[serde(with = "time::serde::rfc3339")]
    intended_at: OffsetDateTime,
    /// URL of the order, once the authority has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// When the authority forgets it, where it says so.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    expires: Option<OffsetDateTime>,
    /// The challenges that were published, by URL of the authorization.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub challenges: BTreeMap<String, PublishedChallenge>,
    /// URLs of the authorizations that failed, and that is on the clock of their names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed: BTreeSet<String>,
    /// When it was finalized, each time: from the first on the authority may have issued its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    finalized_at: Vec<Instant>,
    /// URL of the certificate, and when the authority first showed the order as valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued: Option<Issued>,
    /// How often it was left alone in a row because nothing came.
    #[serde(default, skip_serializing_if = "is_zero")]
    rests: u32,
    /// Before this there is no use in looking at it, because the authority takes its time.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    look_after: Option<OffsetDateTime>,
    /// Why it is left alone until then, where that is not for the authority to take its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rests_because: Option<String>,
    /// Until when the authority asks to be left alone, where that is later.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    asked_until: Option<OffsetDateTime>,
    /// Whether it was put aside, because it is stuck.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_aside: bool,
    /// What the authority last said that is no progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<String>,
    /// The chain as the authority sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    received: Option<Received>,
}

/// The order in flight of a lineage.
#[derive(Debug, Clone)]
pub enum Pending {
    /// There is none.
    None,
    /// It is there.
    Order(Box<PendingOrder>),
    /// It could not be read: nothing new may be ordered over it.
    Unreadable(String),
}

/// A time in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Instant(#[serde(with = "time::serde::rfc3339")] OffsetDateTime);

/// A challenge of an order in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedChallenge {
    /// The file in the webroot.
    pub token: Token,
    /// When the authority was first told to validate it.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_responded_at: Option<OffsetDateTime>,
    /// When it was told the last time.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub responded_at: Option<OffsetDateTime>,
    /// How often it was told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times_responded: u32,
    /// How many of these tries failed, and that is on the clock of its name, while the challenge itself goes on
    /// (RFC 8555, section 8.2).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_tries: u32,
    /// The error of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_with: Option<String>,
}

impl PublishedChallenge {
    /// One that the authority was not told of yet.
    pub fn of(token: Token) -> Self {
        Self {
            token,
            first_responded_at: None,
            responded_at: None,
            times_responded: 0,
            failed_tries: 0,
            failed_with: None,
        }
    }
}

/// A certificate that an authority has issued and not handed over yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its URL.
    pub certificate: String,
    /// When the order was first seen valid.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// What an authority has issued, before it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The chain as it came.
    pub chain: String,
    /// When it came.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why it was refused, the last time it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// How far an order has come, as far as that is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Key, names and directory are on record; whether it was opened is not known.
    Intended,
    /// Its URL is on record.
    Opened,
    /// Finalize was sent, or was about to be: a certificate may exist.
    Finalized {
        /// How often.
        times: usize,
        /// When it was sent the last time.
        last: OffsetDateTime,
    },
    /// The authority has shown it as valid: a certificate exists.
    Issued,
    /// The chain is on record.
    Received,
    /// Finalized or issued for a day without a certificate.
    Stuck {
        /// Whether it is out of the way of another order.
        is_aside: bool,
        /// Whether finalize was sent as often as it is at most.
        is_spent: bool,
    },
    /// Its life is over without a certificate.
    Lapsed {
        /// Whether a certificate may exist all the same: then it is looked at once more.
        may_be_issued: bool,
        /// Whether it is over for days: then not even silence is waited for.
        is_long_ago: bool,
    },
}

/// What the authority shows of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Nothing yet: it was not asked in this round.
    Nothing,
    /// The order, in this state.
    Order(OrderStatus),
    /// It does not know the order or its account, in its own words.
    Gone,
    /// It refuses to finalize the order, in its own words: nothing was issued by that.
    Refused,
    /// It does not finalize the order now, because of a limit: nothing was issued by that.
    Limited,
    /// The order is not in a state for what was asked.
    NotReady,
    /// No usable answer: a torn connection, 5xx, something that makes no sense.
    Silence,
    /// The certificate URL gave no chain.
    NoChain,
}

/// What is wanted by now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether an order for just this is wanted.
    pub is_wanted: bool,
    /// Whether a person could be waiting for it: there is no valid certificate yet.
    pub is_first: bool,
}

/// What is to be done next about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open it with the key that is on record.
    Open,
    /// Look at it.
    Look,
    /// Bring its authorizations to their end.
    Authorize,
    /// Note that a certificate may exist from now on, then send finalize.
    Finalize,
    /// Note that nothing was issued by the last finalize, and wait as the authority says.
    TakeBack,
    /// Download the certificate.
    Download,
    /// Judge the chain that came, and store it.
    Judge,
    /// Leave it alone for a while, then look again.
    Rest,
    /// Leave it alone until this time, then look again.
    RestUntil(OffsetDateTime),
    /// Put it aside with its key: it is looked at daily, and another order may be opened.
    PutAside,
    /// It is over.
    End(End),
}

/// How an order ends without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nobody wants it any more, and nothing can have been issued.
    Unwanted,
    /// Its life is over.
    Lapsed,
    /// The authority has ended it (`invalid`).
    Invalid,
    /// The authority has refused it.
    Refused,
    /// The authority does not know it any more.
    Gone,
}

impl End {
    /// Whether the authority itself says that nothing was issued: then no certificate is counted. What is gone counts,
    /// unless the account is gone with it.
    pub fn gives_back(self) -> bool {
        match self {
            Self::Invalid | Self::Refused => true,
            Self::Unwanted | Self::Lapsed | Self::Gone => false,
        }
    }
}

/// The next step: one table over the stage and what the authority shows.
pub fn step(stage: Stage, shown: Shown, wanted: Wanted, now: OffsetDateTime) -> Step {
    use OrderStatus as Status;
    use Shown as S;
    match (stage, shown) {
        (Stage::Received, _) => Step::Judge,
        (Stage::Lapsed { may_be_issued: true, .. }, S::Nothing) => Step::Look,
        (Stage::Lapsed { .. }, S::Order(Status::Valid)) => Step::Download,
        (Stage::Lapsed { .. }, S::Order(Status::Invalid)) => Step::End(End::Invalid),
        (Stage::Lapsed { may_be_issued: true, is_long_ago: false }, S::Silence | S::NoChain) => {
            Step::Rest
        }
        (Stage::Lapsed { .. }, _) => Step::End(End::Lapsed),
        // Nobody may have looked for a day: the process was down, the disk full, the authority away.
        (Stage::Stuck { is_aside: false, is_spent }, shown) => match shown {
            S::Nothing => Step::Look,
            S::Order(Status::Valid) => Step::Download,
            // The last finalize may never have left.
            S::Order(Status::Ready) if !is_spent && wanted.is_wanted => Step::Finalize,
            S::Order(Status::Invalid) => Step::End(End::Invalid),
            S::Gone => Step::End(End::Gone),
            S::Order(_) | S::Refused | S::Limited | S::NotReady | S::Silence | S::NoChain => {
                Step::PutAside
            }
        },

        // Without finalize no certificate comes of it.
        (Stage::Intended | Stage::Opened, _) if !wanted.is_wanted => Step::End(End::Unwanted),
        (Stage::Intended, S::Nothing | S::Order(_)) => Step::Open,
        (Stage::Intended, S::Gone) => Step::End(End::Gone),
        (Stage::Intended, S::Refused | S::Limited) => Step::End(End::Refused),
        (Stage::Intended, S::NotReady | S::Silence | S::NoChain) => Step::Rest,

        (Stage::Issued, S::Nothing) => Step::Download,
        // What was paid for is asked for as long as it can be there; the order may show another URL by now.
        (Stage::Issued, S::NoChain | S::NotReady) => Step::Look,
        (Stage::Issued, S::Order(Status::Invalid)) => Step::End(End::Invalid),
        (Stage::Issued, S::Order(_) | S::Gone | S::Refused | S::Limited | S::Silence) => Step::Rest,

        (_, S::Nothing | S::NotReady) => Step::Look,
        (_, S::Gone) => Step::End(End::Gone),
        (_, S::Order(Status::Invalid)) => Step::End(End::Invalid),
        (_, S::Order(Status::Valid)) => Step::Download,
        (_, S::Order(Status::Processing) | S::Silence | S::NoChain) => Step::Rest,

        (Stage::Opened, S::Order(Status::Pending)) => Step::Authorize,
        (Stage::Opened, S::Order(Status::Ready)) => Step::Finalize,
        (Stage::Opened, S::Refused) => Step::End(End::Refused),
        (Stage::Opened, S::Limited) => Step::Rest,

        (Stage::Finalized { times: 0 | 1, .. }, S::Refused) => Step::End(End::Refused),
        // It may be refused because it was done the time before.
        (Stage::Finalized { .. }, S::Refused) => Step::Look,
        (Stage::Finalized { .. }, S::Limited) => Step::TakeBack,
        // Nothing more is asked for what nobody wants.
        (Stage::Finalized { .. }, S::Order(Status::Pending | Status::Ready))
            if !wanted.is_wanted =>
        {
            Step::Rest
        }
        (Stage::Finalized { .. }, S::Order(Status::Pending)) => Step::Authorize,
        (Stage::Finalized { times, last }, S::Order(Status::Ready)) => {
            match rest::finalize_again_at(times, last, now) {
                Some(at) if at <= now => Step::Finalize,
                Some(at) => Step::RestUntil(at),
                None => Step::Rest,
            }
        }

        (
            Stage::Stuck { is_aside: true, .. },
            S::Order(Status::Pending | Status::Ready) | S::Refused | S::Limited,
        ) => Step::Rest,
    }
}

impl PendingOrder {
    /// An order that is about to be opened.
    pub fn intend(
        names: Names,
        directory: String,
        account: String,
        key: Secret,
        is_renewal: bool,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            names,
            directory,
            account,
            key,
            is_renewal,
            intended_at: now,
            url: None,
            expires: None,
            challenges: BTreeMap::new(),
            failed: BTreeSet::new(),
            finalized_at: Vec::new(),
            issued: None,
            rests: 0,
            look_after: None,
            rests_because: None,
            asked_until: None,
            is_aside: false,
            said: None,
            received: None,
        }
    }

    /// How far it has come. A clock that was ahead may have written any of its times.
    pub fn stage(&self, now: OffsetDateTime) -> Stage {
        if self.received.is_some() {
            return Stage::Received;
        }
        let first = self.finalized_at.first().map(|at| at.0.min(now));
        let usual_end = self.intended_at.min(now).saturating_add(LIFE);
        let Some(first) = first else {
            let ends = self.expires.map_or(usual_end, |at| at.min(usual_end));
            return match &self.url {
                _ if ends <= now => Stage::Lapsed { may_be_issued: false, is_long_ago: false },
                None => Stage::Intended,
                Some(_) => Stage::Opened,
            };
        };
        // One that is stuck has a day, however short its life is.
        let last = self.finalized_at.last().map_or(first, |at| at.0.min(now));
        let least = last.saturating_add(STUCK_AFTER * 2_i32);
        let ends = self.expires.unwrap_or(usual_end).max(least);
        match &self.issued {
            _ if ends <= now => Stage::Lapsed {
                may_be_issued: true,
                is_long_ago: ends.saturating_add(LONG_AGO) <= now,
            },
            _ if self.is_aside || self.is_stuck(now) => Stage::Stuck {
                is_aside: self.is_aside,
                is_spent: MOST_FINALIZES <= self.finalized_at.len(),
            },
            Some(_) => Stage::Issued,
            None => Stage::Finalized {
                times: self.finalized_at.len(),
                last: self.finalized_at.last().map_or(first, |at| at.0),
            },
        }
    }

    /// Whether a certificate may exist that is not in the store.
    pub fn may_be_issued(&self) -> bool {
        self.received.is_some() || self.issued.is_some() || !self.finalized_at.is_empty()
    }

    /// Whether somebody asked the authority for it before: it is not tried for the first time.
    pub fn was_looked_at(&self) -> bool {
        let is_told = |challenge: &PublishedChallenge| challenge.responded_at.is_some();
        self.rests > 0 || self.look_after.is_some() || self.challenges.values().any(is_told)
    }

    /// Whether it was left alone since the authority last heard of it.
    pub fn has_rested(&self) -> bool {
        self.rests > 0
    }

    /// Whether both are about the same order, at whatever stage.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.url, self.intended_at, &self.directory)
            == (&other.url, other.intended_at, &other.directory)
    }

    /// When it was intended.
    pub fn intended_at(&self) -> OffsetDateTime {
        self.intended_at
    }

    /// Its URL, once the authority has answered.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// URL of its certificate, once the authority has shown it.
    pub fn certificate(&self) -> Option<&str> {
        self.issued.as_ref().map(|issued| issued.certificate.as_str())
    }

    /// The chain as it came.
    pub fn received(&self) -> Option<&Received> {
        self.received.as_ref()
    }

    /// What the authority last said that is no progress.
    pub fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// When it was first finalized.
    pub fn first_finalized_at(&self) -> Option<OffsetDateTime> {
        self.finalized_at.first().map(|at| at.0)
    }

    /// How often it was finalized.
    pub fn times_finalized(&self) -> usize {
        self.finalized_at.len()
    }

    /// Whether a certificate may exist for a day, and does not come.
    pub fn is_stuck(&self, now: OffsetDateTime) -> bool {
        let since = self.since(now);
        since.is_some_and(|since| since.saturating_add(STUCK_AFTER) <= now)
    }

    /// Since when a certificate may exist, by what is shown of it.
    fn since(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let last = self.finalized_at.last()?.0;
        let shown = self.issued.as_ref().map_or(last, |issued| issued.at);
        Some(shown.min(now))
    }

    /// When it was finalized the last time.
    pub fn last_finalized_at(&self) -> Option<OffsetDateTime> {
        self.finalized_at.last().map(|at| at.0)
    }

    /// Notes that it was opened.
    pub fn opened(&mut self, state: &Order) {
        self.url = Some(state.url.clone());
        self.expires = state.expires;
    }

    /// Notes what the authority shows of it, and says it in a word. A valid order that does not say yet where its
    /// certificate is, is still being processed.
    pub fn observe(&mut self, state: &Order, now: OffsetDateTime) -> Shown {
        self.expires = state.expires.or(self.expires);
        if let Some(problem) = &state.error {
            self.said = Some(problem.to_string());
        }
        let is_late = matches!(state.status, OrderStatus::Processing | OrderStatus::Valid);
        if is_late && self.finalized_at.is_empty() {
            self.finalized_at.push(Instant(now));
        }
        let (OrderStatus::Valid, Some(certificate)) = (state.status, &state.certificate) else {
            let is_bare = state.status == OrderStatus::Valid;
            let status = if is_bare { OrderStatus::Processing } else { state.status };
            return Shown::Order(status);
        };
        let is_news = self.issued.as_ref().is_none_or(|before| before.certificate != *certificate);
        if is_news {
            let at = self.issued.as_ref().map_or(now, |before| before.at);
            self.issued = Some(Issued { certificate: certificate.clone(), at });
            if !self.is_aside {
                // Asked for at once, wherever it is.
                return Shown::Nothing;
            }
        }
        Shown::Order(OrderStatus::Valid)
    }

    /// Notes that finalize is about to be sent.
    pub fn finalizing(&mut self, now: OffsetDateTime) {
        self.finalized_at.push(Instant(now));
        self.resume();
    }

    /// Notes that nothing was issued by the last finalize.
    pub fn not_finalized(&mut self) {
        self.finalized_at.pop();
    }

    /// Keeps the chain that came.
    pub fn receive(&mut self, chain: String, now: OffsetDateTime) {
        self.received = Some(Received { chain, at: now, refused: None });
    }

    /// Notes why the chain was refused. Answers whether that is news.
    pub fn refuse(&mut self, why: &str) -> bool {
        let Some(received) = &mut self.received else {
            return false;
        };
        let is_news = received.refused.as_deref() != Some(why);
        received.refused = Some(why.to_owned());
        is_news
    }

    /// Until when a certificate that was refused stands in the way of another, and why it was refused.
    pub fn block(&self, now: OffsetDateTime) -> Option<(&str, OffsetDateTime)> {
        let received = self.received.as_ref()?;
        let why = received.refused.as_deref()?;
        let until = received.at.min(now).saturating_add(BLOCKED_FOR);
        (now < until).then_some((why, until))
    }

    /// What was issued, if it is what was ordered and can be used by now.
    pub fn verified(&self, now: OffsetDateTime) -> Result<Bundle, String> {
        let chain = self.received.as_ref().map_or("", |received| &received.chain);
        let bundle = Bundle::parse(chain, &self.key).map_err(|flaw| flaw.to_string())?;
        bundle.verify(&self.names.set(), now)?;
        Ok(bundle)
    }

    /// Whether the chain that came was not judged yet, or would be judged otherwise by now, as when it was not valid yet.
    pub fn is_to_be_judged(&self, now: OffsetDateTime) -> bool {
        let received = self.received.as_ref();
        received.is_some_and(|it| it.refused.is_none() || self.verified(now).is_ok())
    }

    /// What it waits for, in plain words.
    pub fn why_it_rests(&self, now: OffsetDateTime) -> String {
        if let Some(because) = &self.rests_because {
            return because.clone();
        }
        let what = match self.stage(now) {
            Stage::Intended | Stage::Opened | Stage::Received | Stage::Lapsed { .. } => {
                "the authority is still validating"
            }
            Stage::Finalized { .. } => "the authority is still issuing",
            Stage::Issued => "the authority does not hand the certificate over",
            Stage::Stuck { .. } => return self.why_it_is_stuck(),
        };
        let asked = self.asked_until.map_or_else(String::new, |at| {
            format!(", and asks to be left alone until {}", timestamp(at))
        });
        match &self.said {
            Some(said) => format!("{what}{asked}: {said}"),
            None => format!("{what}{asked}"),
        }
    }

    /// That a certificate may exist and does not come, in plain words.
    pub fn why_it_is_stuck(&self) -> String {
        let since = self.first_finalized_at().unwrap_or(self.intended_at);
        let url = self.url.as_deref().unwrap_or("no URL");
        let said = self.said.as_ref().map_or_else(String::new, |said| format!("; it says: {said}"));
        format!(
            "the authority was asked for the certificate on {} and has not handed it over: {url}{said}",
            timestamp(since)
        )
    }

    /// Puts it aside.
    pub fn put_aside(&mut self) {
        self.is_aside = true;
        self.resume();
    }

    /// Notes what the authority says instead of an answer.
    pub fn heard(&mut self, what: &str) {
        self.said = Some(what.to_owned());
    }

    /// Until when it is left alone; what lies further ahead than that can was written by a clock that was ahead.
    pub fn rests_until(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let latest = now.saturating_add(rest::LONGEST);
        self.look_after.filter(|at| now < *at && *at <= latest)
    }

    /// Leaves it alone for a while, longer each time, and answers until when.
    pub fn rest(&mut self, pause: Pause, now: OffsetDateTime) -> OffsetDateTime {
        let until = pause.until(self.rests, now);
        self.rests = self.rests.saturating_add(1);
        self.look_after = Some(until);
        self.rests_because = None;
        self.asked_until = pause.not_before.filter(|at| until <= *at);
        until
    }

    /// Leaves it alone until a time, and says why.
    pub fn rest_until(&mut self, until: OffsetDateTime, because: impl Into<String>) {
        self.look_after = Some(until);
        self.rests_because = Some(because.into());
        self.asked_until = None;
    }

    /// Whether there is something to see to although nobody comes back to it for a certificate that is wanted: one may
    /// exist and be had by now, or it is over.
    pub fn is_to_be_seen_to(&self, now: OffsetDateTime) -> bool {
        match self.stage(now) {
            Stage::Intended | Stage::Opened => false,
            Stage::Lapsed { may_be_issued: false, .. } => true,
            Stage::Received => self.is_to_be_judged(now),
            Stage::Lapsed { .. }
            | Stage::Finalized { .. }
            | Stage::Issued
            | Stage::Stuck { .. } => self.rests_until(now).is_none(),
        }
    }

    /// Goes on with it: what it waited for is over.
    pub fn resume(&mut self) {
        (self.rests, self.look_after, self.asked_until) = (0, None, None);
        self.rests_because = None;
    }
}

#[cfg(test)]
mod tests;
