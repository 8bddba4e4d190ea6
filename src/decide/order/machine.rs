//! The machine: stages, what the authority shows, and the next step.

use time::OffsetDateTime;

use crate::core::resource::OrderStatus;
use crate::decide::order::rest;

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
