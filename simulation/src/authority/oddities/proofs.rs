//! Failed validations that are not final.

use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::Http01;
use sandbox::authority::limits::Token as Spent;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::oddities::Failing;
use crate::dice::Dice;
use crate::outside::State;

/// How much longer each wait of an authority is that tries again by itself.
const STEP: Duration = Duration::seconds(5);
/// How often it tries.
const TRIES: u32 = 7;

/// An authorization whose validation failed.
#[derive(Debug, Clone, Copy)]
pub(in crate::authority) struct Tried {
    times: u32,
    /// When the authority tries again by itself.
    next: Option<OffsetDateTime>,
}

impl Directory {
    /// Notes how a validation went; answers whose failure it is, if that does not decide.
    pub(in crate::authority) fn tried(
        &mut self,
        url: &str,
        is_good: bool,
        now: OffsetDateTime,
    ) -> Option<String> {
        if is_good {
            self.oddities.tried.remove(url);
            return None;
        }
        let (next, what) = match self.oddities.failing {
            Failing::Final => return None,
            Failing::StaysPending => (None, "leaves challenges pending"),
            Failing::TriedAgain => (Some(now + STEP), "tries challenges again"),
        };
        self.oddities.meet(what);
        let proof = self.proofs.get(url)?;
        let row = (proof.account.clone(), proof.name.clone());
        let tried = Tried { times: 1, next };
        self.oddities.tried.insert(url.to_owned(), tried);
        let token = Spent::failure(&row.0, &row.1);
        self.buckets.spend(&self.limits, token, now);
        let account = row.0.clone();
        *self.failures_in_row.entry(row).or_default() += 1;
        Some(account)
    }

    /// Whether a validation failed and decided nothing.
    pub(in crate::authority) fn was_tried(&self, url: &str) -> bool {
        self.oddities.tried.contains_key(url)
    }

    /// Whether the authority tries again by itself.
    pub(in crate::authority) fn is_trying(&self, url: &str) -> bool {
        let tried = self.oddities.tried.get(url);
        tried.is_some_and(|tried| tried.next.is_some())
    }

    /// One that is to be tried again by now.
    fn due(&self, now: OffsetDateTime) -> Option<(String, String, Http01)> {
        let is_due = |tried: &Tried| tried.next.is_some_and(|next| next <= now);
        let mut tried = self.oddities.tried.iter();
        let (url, _) = tried.find(|(_, tried)| is_due(tried))?;
        let proof = self.proofs.get(url)?;
        Some((url.clone(), proof.name.clone(), proof.challenge.clone()))
    }

    /// The authority tried once more by itself. This is not asked by anybody, so no limit counts it.
    fn tried_again(&mut self, url: &str, is_good: bool, now: OffsetDateTime, dice: &mut Dice) {
        if is_good {
            self.decide(url, true, now, dice);
            return;
        }
        let Some(tried) = self.oddities.tried.get_mut(url) else {
            return;
        };
        tried.times += 1;
        let step = STEP * i32::try_from(tried.times).unwrap_or(i32::MAX);
        tried.next = tried.next.map(|next| next + step);
        if tried.times < TRIES {
            return;
        }
        self.oddities.tried.remove(url);
        if let Some(proof) = self.proofs.get_mut(url) {
            proof.status = AuthorizationStatus::Invalid;
            proof.decided_at = Some(now);
        }
    }
}

impl State {
    /// Authorities that try again by themselves have done so by now. They do when somebody looks: what they find is
    /// what is there then.
    pub(in crate::authority) fn try_again(&mut self, directory: &str) {
        let now = self.now();
        loop {
            let due = self.authority.of(directory).and_then(|it| it.due(now));
            let Some((url, name, challenge)) = due else {
                return;
            };
            let is_good = self.serves(&name, &challenge, false);
            let mut dice = self.dice.fork();
            if let Some(directory) = self.authority.of(directory) {
                let account = directory.proofs.get(&url).map(|it| it.account.clone());
                directory.tried_again(&url, is_good, now, &mut dice);
                if let (true, Some(account)) = (is_good, account) {
                    self.promises.good_validation(&account, &name);
                }
            }
        }
    }
}
