//! Finalizing and downloading where it does not go as it should.

use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::problem::Problem;
use rancher_lets_encrypt::core::resource::Order;
use rancher_lets_encrypt::core::resource::OrderStatus;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::Filed;
use crate::authority::ORDER_LIFETIME;
use crate::authority::answers::Issued;
use crate::authority::answers::gone;
use crate::authority::answers::refused;
use crate::authority::oddities::drawn;
use crate::authority::oddities::failed;
use crate::dice::Dice;

/// How a finalize goes.
enum Way {
    Usual,
    Refused,
    Failed,
    /// Processing from then on, until it is invalid.
    Stuck(Option<OffsetDateTime>),
    /// Processing for so long, then valid.
    Late(Duration),
    FailedAfter,
}

impl Way {
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Usual => None,
            Self::Refused => Some("refuses"),
            Self::Failed => Some("fails"),
            Self::Stuck(None) => Some("sticks for ever"),
            Self::Stuck(Some(_)) => Some("sticks in vain"),
            Self::Late(_) => Some("sticks"),
            Self::FailedAfter => Some("fails after it has issued"),
        }
    }
}

impl Directory {
    /// Finalizes as it is its way; answers as well what was issued, whatever it answers.
    pub(in crate::authority) fn finalize_its_way(
        &mut self,
        account: &str,
        url: &str,
        request: &[u8],
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> (Result<Order, AuthorityError>, Option<Issued>) {
        let order = self.order(account, url, now);
        let is_ready = order.is_ok_and(|order| order.status == OrderStatus::Ready);
        let way = if is_ready { self.way(now, dice) } else { Way::Usual };
        if let Some(what) = way.name() {
            self.oddities.meet(what);
        }
        match way {
            Way::Refused => {
                let refusal = refused("serverInternal", "not today");
                return (Err(refusal), None);
            }
            Way::Failed => {
                self.fail(url, "enrollment failed");
                return (Err(failed("500: enrollment failed")), None);
            }
            Way::Stuck(until) => {
                if let Some(filed) = self.orders.get_mut(url) {
                    filed.status = OrderStatus::Processing;
                }
                if let Some(until) = until {
                    self.oddities.in_vain.insert(url.to_owned(), until);
                }
                return (self.order(account, url, now), None);
            }
            Way::Usual | Way::Late(_) | Way::FailedAfter => {}
        }
        let before = self.orders.get(url).cloned();
        let (order, issued) = match self.finalize(account, url, request, now, dice) {
            Ok(done) => done,
            Err(error) => return (Err(error), None),
        };
        if let (Way::Late(wait), Some(filed)) = (&way, self.orders.get_mut(url)) {
            filed.issued_at = Some(now + *wait);
        }
        let answer = match way {
            Way::FailedAfter => Err(failed("500: it broke after it had signed")),
            Way::Late(_) => self.order(account, url, now),
            Way::Usual | Way::Refused | Way::Failed | Way::Stuck(_) => Ok(order),
        };
        self.forget(url, before);
        (answer, Some(issued))
    }

    fn way(&self, now: OffsetDateTime, dice: &mut Dice) -> Way {
        let odd = &self.oddities;
        if drawn(odd.refuses, dice) {
            Way::Refused
        } else if drawn(odd.fails, dice) {
            Way::Failed
        } else if drawn(odd.fails_after, dice) {
            Way::FailedAfter
        } else if !drawn(odd.sticks, dice) {
            Way::Usual
        } else if drawn(odd.sticks_for_ever, dice) {
            Way::Stuck(None)
        } else {
            let wait = dice.time(Duration::ZERO, odd.sticks_for);
            if drawn(odd.sticks_in_vain, dice) {
                Way::Stuck(Some(now + wait))
            } else {
                Way::Late(wait)
            }
        }
    }

    fn fail(&mut self, url: &str, why: &str) {
        if let Some(filed) = self.orders.get_mut(url) {
            filed.status = OrderStatus::Invalid;
        }
        let error = Problem::new("serverInternal", why);
        self.oddities.errors.insert(url.to_owned(), error);
    }

    /// An order is as it was before its finalize until the client has the answer, where this is so.
    fn forget(&mut self, url: &str, before: Option<Filed>) {
        if !self.oddities.forgets {
            return;
        }
        let ended = before.and_then(|before| self.orders.insert(url.to_owned(), before));
        if let Some(ended) = ended {
            self.oddities.ending.insert(url.to_owned(), ended);
        }
    }

    /// Whether an order is invalid whose certificate was issued and forgotten.
    pub fn denies(&self, order: &str) -> bool {
        let filed = self.orders.get(order);
        self.oddities.forgotten.contains(order)
            && filed.is_some_and(|it| it.status == OrderStatus::Invalid)
    }

    /// When a certificate was to be had from its order; none if it never is.
    pub fn handed_out_at(&self, order: &str, line: &str) -> Option<OffsetDateTime> {
        let filed = self.orders.get(order)?;
        let chain = filed.chain.as_ref()?;
        let lost = self.oddities.lost.get(order).copied().flatten();
        let at = filed.issued_at.filter(|_| chain.contains(line))?;
        Some(lost.map_or(at, |lost| at.max(lost)))
    }

    /// Whether an order with one of these names was finalized, and nothing is to be had from it, or was not for a while
    /// that ended after `since`.
    pub fn withholds(&self, names: &[String], since: OffsetDateTime) -> bool {
        let is_about = |order: &&Filed| names.iter().any(|name| order.names.contains(name));
        self.orders.values().filter(is_about).any(|order| {
            let lost = self.oddities.lost.get(&order.url).copied().flatten();
            match (order.status, order.issued_at) {
                // Its life is over by then.
                (OrderStatus::Processing, None) => since < order.opened_at + ORDER_LIFETIME * 2,
                (_, None) if self.oddities.forgotten.contains(&order.url) => {
                    since < order.opened_at + ORDER_LIFETIME * 2
                }
                (_, Some(at)) => since < at || lost.is_some_and(|lost| since < lost),
                (_, None) => false,
            }
        })
    }

    /// The client has the answer to its finalize.
    pub(in crate::authority) fn has_answered(&mut self, url: &str) {
        if let Some(ended) = self.oddities.ending.remove(url) {
            self.orders.insert(url.to_owned(), ended);
        }
    }

    /// Its answer to a finalize is lost.
    pub(in crate::authority) fn has_torn(&mut self, url: &str) {
        let is_forgotten = self.oddities.ending.remove(url).is_some();
        if is_forgotten {
            self.oddities.forgotten.insert(url.to_owned());
        }
        self.oddities.meet(if is_forgotten { "forgets" } else { "tears a connection" });
    }

    /// Whether the answer to a finalize is lost.
    pub(in crate::authority) fn tears(&self, dice: &mut Dice) -> bool {
        drawn(self.oddities.tears, dice)
    }

    /// An order that sticks in vain is invalid when its time has come.
    pub(in crate::authority) fn end_in_vain(&mut self, url: &str, now: OffsetDateTime) {
        let until = self.oddities.in_vain.get(url);
        if until.is_some_and(|until| *until <= now) {
            self.oddities.in_vain.remove(url);
            self.fail(url, "it could not be issued");
        }
    }

    /// Why an order is invalid, where that is told.
    pub(in crate::authority) fn why_invalid(&self, url: &str) -> Option<Problem> {
        self.oddities.errors.get(url).cloned()
    }

    /// The chain of an order, if it is to be had.
    pub(in crate::authority) fn chain_its_way(
        &mut self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> Result<String, AuthorityError> {
        let chain = self.chain(account, url, now)?;
        let (loses, most) = (self.oddities.loses, self.oddities.loses_for);
        let draw = || drawn(loses, dice).then(|| now + dice.time(Duration::ZERO, most));
        let lost = &mut self.oddities.lost;
        let until = *lost.entry(url.to_owned()).or_insert_with(draw);
        if until.is_none_or(|until| until <= now) {
            return Ok(chain);
        }
        self.oddities.meet("loses certificates");
        match dice.below(4) {
            0 => Err(gone()),
            1 => Err(refused("unauthorized", "it is not yours")),
            2 => Err(failed("500: the certificate cannot be read")),
            // As the client says it of a page.
            _ => Err(failed("it is no certificate")),
        }
    }
}
