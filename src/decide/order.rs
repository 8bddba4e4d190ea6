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

use crate::core::bundle::Secret;
use crate::core::names::Names;
use crate::core::resource::Order;
use crate::core::resource::OrderStatus;
use crate::core::text::timestamp;

mod challenge;
mod machine;
mod received;
mod rest;
mod table;

pub use challenge::PublishedChallenge;
pub use machine::End;
pub use machine::Shown;
pub use machine::Stage;
pub use machine::Step;
pub use machine::Wanted;
pub use machine::step;
pub use received::Received;
pub use rest::Pause;
pub use table::render;

/// How long an order lives whose authority does not say; Let's Encrypt's live seven days.
const LIFE: Duration = Duration::days(8);

/// An order that was finalized and brings no certificate for this long is stuck.
const STUCK_AFTER: Duration = Duration::DAY;

/// After this nobody waits any more for an authority that says nothing of an order whose life is over.
const LONG_AGO: Duration = Duration::days(3);

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

/// A certificate that an authority has issued and not handed over yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Its URL.
    pub certificate: String,
    /// When the order was first seen valid.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
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
}

#[cfg(test)]
mod tests;
