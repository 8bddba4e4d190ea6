//! What happens at a directory by itself after a while: validations end, certificates are there, orders that stick do not.
//!
//! It happens when somebody asks the next time, with the time at which it was due.

use std::collections::BTreeMap;

use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::resource::Http01;
use sandbox::authority::problem::Problem as Refusal;
use sandbox::authority::records::ChallengeKind;
use sandbox::authority::resource::Owned;
use sandbox::authority::settings::challenges::SecondTell;
use sandbox::authority::settings::quirk::Quirk;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::answers::challenge;
use crate::authority::answers::error;
use crate::authority::answers::gone;
use crate::authority::oddities::Failing;
use crate::dice::Dice;
use crate::outside::State;

/// What is due at a time.
#[derive(Debug, Clone)]
pub(super) enum Due {
    /// The first validation that a client has told of ends so.
    Validated(Owned, bool),
    /// The authority validates once more by itself, for the so many-th time.
    TriesAgain(Owned, u32),
    /// An order has its certificate, at this URL.
    Issued(Owned, String),
    /// An order that sticks is invalid, by its URL.
    InVain(String),
}

/// What is due, in order.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeMap<(OffsetDateTime, u64), Due>,
    made: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: OffsetDateTime, due: Due) {
        self.made += 1;
        self.due.insert((at, self.made), due);
    }

    fn next(&mut self, now: OffsetDateTime) -> Option<(OffsetDateTime, Due)> {
        let first = self.due.first_entry()?;
        let at = first.key().0;
        (at <= now).then(|| (at, first.remove()))
    }
}

/// A validation that is to be done: whose, of which name, and what is to be found there.
pub(super) struct Validation {
    pub(super) owned: Owned,
    pub(super) account: String,
    pub(super) name: String,
    pub(super) challenge: Http01,
}

impl Directory {
    /// The validation that begins when the authority is told; none if there is nothing to validate.
    pub(super) fn responded(
        &mut self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Validation>, AuthorityError> {
        let (_, owned) = self.asked(account, url)?;
        // One that tries again by itself does not hear.
        self.settings.second_tell = match self.oddities.failing {
            Failing::TriedAgain => SecondTell::Ignore,
            Failing::Final | Failing::StaysPending => SecondTell::Conflict409,
        };
        let begun = self.model.begin_validation(owned, ChallengeKind::Http01, &self.settings, now);
        if begun.map_err(|refusal| error(&refusal))? {
            return self.validation(owned).ok_or_else(gone).map(Some);
        }
        Ok(None)
    }

    fn validation(&self, owned: Owned) -> Option<Validation> {
        let authorization = self.model.authorization_of(owned)?;
        let account = self.model.account_at(&authorization.account).ok()?;
        Some(Validation {
            owned,
            account: authorization.account.clone(),
            name: authorization.name.clone(),
            challenge: challenge(account, authorization).ok()?,
        })
    }

    /// Decides about an authorization, which is seen a little later unless it is not final. Answers whether it failed.
    pub(super) fn decide(
        &mut self,
        validation: &Validation,
        is_good: bool,
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> bool {
        // It is being validated until it expires.
        if dice.chance(self.stuck_per_mille) {
            return false;
        }
        let row = (validation.account.clone(), validation.name.clone());
        if is_good {
            self.failures_in_row.remove(&row);
        } else {
            *self.failures_in_row.entry(row).or_default() += 1;
        }
        let is_final = is_good || self.oddities.failing == Failing::Final;
        if is_final {
            let after = dice.time(Duration::milliseconds(200), Duration::seconds(4));
            self.agenda.add(now + after, Due::Validated(validation.owned, is_good));
        } else {
            self.validated(validation.owned, 1, is_good, now);
        }
        !is_good
    }

    fn validated(&mut self, owned: Owned, number: u32, is_good: bool, at: OffsetDateTime) {
        let quirk = self.oddities.failing.quirk();
        self.settings.failing = quirk.into_iter().map(Quirk::new).collect();
        let refused = || Refusal::connection("the token could not be fetched");
        let result = if is_good { Ok(()) } else { Err(refused()) };
        let kind = ChallengeKind::Http01;
        let again = self.model.note_validation(owned, kind, number, result, &self.settings, at);
        if !is_good && let Some(what) = self.oddities.failing.name() {
            self.oddities.meet(what);
        }
        if let Some(wait) = again {
            self.agenda.add(at + wait, Due::TriesAgain(owned, number + 1));
        }
    }

    /// The client has the answer to its finalize.
    pub(super) fn has_answered(&mut self, url: &str, now: OffsetDateTime) {
        let Some(certificate) = self.oddities.ending.remove(url) else {
            return;
        };
        if let Some(owned) = self.model.owned(url) {
            self.hand_over(url, now);
            self.model.end_issuing(owned, certificate);
        }
    }
}

impl State {
    /// What was due at a directory has happened by now. Whoever validates by itself finds what is there when it is looked
    /// at.
    pub(super) fn catch_up(&mut self, directory: &str) {
        let now = self.now();
        loop {
            let Some(it) = self.authority.of(directory) else {
                return;
            };
            let Some((at, due)) = it.agenda.next(now) else {
                return;
            };
            match due {
                Due::Validated(owned, is_good) => it.validated(owned, 1, is_good, at),
                Due::Issued(owned, certificate) => {
                    it.model.end_issuing(owned, certificate);
                }
                Due::InVain(order) => {
                    let why = Refusal::new(500, "serverInternal", "it could not be issued");
                    it.model.give_up(&order, why);
                }
                Due::TriesAgain(owned, number) => {
                    let Some(validation) = it.validation(owned) else {
                        continue;
                    };
                    let is_good = self.serves(&validation.name, &validation.challenge, false);
                    if let Some(it) = self.authority.of(directory) {
                        it.validated(owned, number, is_good, at);
                    }
                    if is_good {
                        self.promises.good_validation(&validation.account, &validation.name);
                    }
                }
            }
        }
    }
}
