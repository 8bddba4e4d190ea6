//! Finalizing and downloading, also where it does not go as it should.

use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::problem::AuthorityErrorKind;
use rancher_lets_encrypt::core::resource;
use sandbox::authority::problem::Problem as Refusal;
use sandbox::authority::records::Order;
use sandbox::authority::records::OrderStatus;
use sandbox::authority::settings::downloads::Download;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::faults::Gate;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::ORDER_LIFETIME;
use crate::authority::Unheard;
use crate::authority::agenda::Due;
use crate::authority::answers::Issued;
use crate::authority::answers::error;
use crate::authority::answers::shown;
use crate::authority::oddities::drawn;
use crate::authority::oddities::failed;
use crate::dice::Dice;

/// So often a finalize is sent at most.
const FINALIZES: u32 = 3;
/// How long anybody may ask what became of an order.
const REMEMBERED: Duration = Duration::days(130);
/// What ends a certificate in PEM.
const END: &str = "-----END CERTIFICATE-----";

/// What becomes of an order that was finalized.
#[derive(Debug, Clone)]
pub struct Handover {
    names: Vec<String>,
    opened_at: OffsetDateTime,
    /// The certificate, PEM, if one was issued.
    leaf: Option<String>,
    /// When it is to be had.
    at: Option<OffsetDateTime>,
    /// Until when it cannot be downloaded, once that is drawn.
    lost: Option<Option<OffsetDateTime>>,
}

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

    /// What the sandbox calls it.
    fn quirk(&self, forgets: bool) -> Option<Finalizing> {
        let internal = |status, why: &str| Refusal::new(status, "serverInternal", why);
        match self {
            Self::Refused => Some(Finalizing::Refuse(internal(403, "not today"))),
            Self::Failed => Some(Finalizing::Fail(internal(500, "enrollment failed"))),
            Self::Stuck(_) => Some(Finalizing::Stick),
            Self::FailedAfter => {
                let broke = internal(500, "it broke after it had signed");
                Some(Finalizing::IssueThenRefuse(broke))
            }
            // Nobody waits at this gate: who answers says whether the answer got through.
            Self::Usual | Self::Late(_) if forgets => Some(Finalizing::ForgetWhenCut(Gate::new())),
            Self::Usual | Self::Late(_) => None,
        }
    }
}

impl Directory {
    /// Finalizes as it is its way; answers as well what was issued, whatever it answers.
    pub(in crate::authority) fn finalize(
        &mut self,
        account: &str,
        url: &str,
        request: &[u8],
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> (Result<resource::Order, AuthorityError>, Option<Issued>) {
        let (account, owned) = match self.asked(account, url) {
            Ok(asked) => asked,
            Err(error) => return (Err(error), None),
        };
        let before = self.model.order(owned, now);
        let is_ready = before.as_ref().is_ok_and(|order| order.status == OrderStatus::Ready);
        let opened_at = before.map_or(now, |order| order.opened);
        let way = if is_ready { self.way(now, dice) } else { Way::Usual };
        if let Some(what) = way.name() {
            self.oddities.meet(what);
        }
        let quirk = way.quirk(self.oddities.forgets);
        self.settings.finalizing = quirk.into_iter().map(Quirk::new).collect();
        let rules = self.rules();
        let done = self.model.finalize(&account, owned, request.to_vec(), &rules, now);
        let done = match done {
            Ok(done) => done,
            Err(refusal) => return (Err(error(&refusal)), None),
        };
        self.handovers.retain(|_, it| now < it.opened_at + REMEMBERED);
        let issued = done.certificate.as_ref().and_then(|it| self.issued(url, it, opened_at));
        let handover = Handover {
            names: done.order.names.clone(),
            opened_at,
            leaf: issued.as_ref().map(|issued| issued.leaf.clone()),
            at: None,
            lost: None,
        };
        self.handovers.insert(url.to_owned(), handover);
        let mut order = shown(&done.order, now);
        match (way, done.certificate) {
            (Way::Stuck(Some(until)), _) => self.agenda.add(until, Due::InVain(url.to_owned())),
            (_, Some(certificate)) if done.gate.is_some() => {
                order.status = resource::OrderStatus::Valid;
                order.certificate = Some(certificate.clone());
                self.oddities.ending.insert(url.to_owned(), certificate);
            }
            (way, Some(certificate)) => {
                let wait = if let Way::Late(wait) = way {
                    wait
                } else {
                    dice.time(Duration::ZERO, self.slowness)
                };
                self.hand_over(url, now + wait);
                self.agenda.add(now + wait, Due::Issued(owned, certificate));
            }
            (_, None) => {}
        }
        let answer = match done.refusal {
            Some(refusal) => Err(error(&refusal)),
            None => Ok(order),
        };
        (answer, issued)
    }

    fn issued(&self, order: &str, certificate: &str, opened_at: OffsetDateTime) -> Option<Issued> {
        let issued = self.model.issued_at(certificate)?;
        let (leaf, _) = issued.chain_pem.split_once(END)?;
        Some(Issued {
            leaf: format!("{leaf}{END}\n"),
            order: order.to_owned(),
            opened_at,
            names: issued.names.clone(),
        })
    }

    /// Notes when the certificate of an order is to be had.
    pub(in crate::authority) fn hand_over(&mut self, order: &str, at: OffsetDateTime) {
        if let Some(handover) = self.handovers.get_mut(order) {
            handover.at = Some(at);
        }
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

    /// Whether an order is invalid, or over, whose certificate was issued and forgotten.
    pub fn denies(&self, order: &str, now: OffsetDateTime) -> bool {
        let is_lost = |it: &Order| it.status == OrderStatus::Invalid || it.expires <= now;
        self.oddities.forgotten.contains(order) && self.filed(order).is_some_and(is_lost)
    }

    /// When a certificate was to be had from its order; none if it never is.
    pub fn handed_out_at(&self, order: &str, line: &str) -> Option<OffsetDateTime> {
        let handover = self.handovers.get(order)?;
        let leaf = handover.leaf.as_ref()?;
        let at = handover.at.filter(|_| leaf.contains(line))?;
        Some(handover.lost.flatten().map_or(at, |lost| at.max(lost)))
    }

    /// A finalize got no answer; where the order is as it was, it did not arrive.
    pub(in crate::authority) fn has_not_heard(&mut self, url: &str, now: OffsetDateTime) {
        self.unheard.retain(|_, it| now < it.opened_at + REMEMBERED);
        let Some(order) = self.filed(url).filter(|order| order.status == OrderStatus::Ready) else {
            return;
        };
        let (names, opened_at) = (order.names.clone(), order.opened);
        let unheard = self.unheard.entry(url.to_owned());
        unheard.or_insert(Unheard { names, opened_at, times: 0 }).times += 1;
    }

    /// Whether all finalizes of an order with one of these names got lost, and whoever asked cannot know it: it is sent
    /// three times (design 7).
    fn was_never_heard(&self, names: &[String], since: OffsetDateTime) -> bool {
        self.unheard.values().any(|it| {
            FINALIZES <= it.times
                && names.iter().any(|name| it.names.contains(name))
                && since < it.opened_at + ORDER_LIFETIME * 2
        })
    }

    /// Whether an order with one of these names was finalized, and nothing is to be had from it, or was not for a while
    /// that ended after `since`.
    pub fn withholds(&self, names: &[String], since: OffsetDateTime) -> bool {
        let is_about =
            |(_, it): &(&String, &Handover)| names.iter().any(|name| it.names.contains(name));
        let mut handovers = self.handovers.iter().filter(is_about);
        let is_withheld = handovers.any(|(url, it)| match it.at {
            Some(at) => since < at || it.lost.flatten().is_some_and(|lost| since < lost),
            // Its life is over by then.
            None => {
                let status = self.filed(url).map(|order| order.status);
                let is_open = status == Some(OrderStatus::Processing)
                    || self.oddities.forgotten.contains(url);
                is_open && since < it.opened_at + ORDER_LIFETIME * 2
            }
        });
        is_withheld || self.was_never_heard(names, since)
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

    /// The chain of an order, if it is to be had.
    pub(in crate::authority) fn chain(
        &mut self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> Result<String, AuthorityError> {
        let (account, owned) = self.asked(account, url)?;
        let order = self.model.order(owned, now).map_err(|refusal| error(&refusal))?;
        let certificate = order.certificate.clone().ok_or_else(|| {
            let kind = AuthorityErrorKind::NotReady;
            AuthorityError::new(kind, "there is no certificate yet")
        })?;
        let (loses, most) = (self.oddities.loses, self.oddities.loses_for);
        let draw =
            |dice: &mut Dice| drawn(loses, dice).then(|| now + dice.time(Duration::ZERO, most));
        let handover = self.handovers.get_mut(url);
        let lost = handover.and_then(|it| *it.lost.get_or_insert_with(|| draw(dice)));
        self.settings.downloads.clear();
        if lost.is_some_and(|until| now < until) {
            self.oddities.meet("loses certificates");
            let download = match dice.below(4) {
                0 => Download::Refuse(Refusal::not_found("Certificate not found")),
                1 => Download::Refuse(Refusal::unauthorized("it is not yours")),
                2 => {
                    let why = "the certificate cannot be read";
                    Download::Refuse(Refusal::new(500, "serverInternal", why))
                }
                _ => Download::Text("a page".to_owned()),
            };
            self.settings.downloads.push(Quirk::new(download));
        }
        let text = self.model.download(&account, &certificate, &self.settings);
        let text = text.map_err(|refusal| error(&refusal))?;
        // As the client says it of a page.
        if text.contains(END) { Ok(text) } else { Err(failed("it is no certificate")) }
    }
}
