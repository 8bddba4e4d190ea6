//! Authorizations and challenges ([RFC 8555, 7.5](https://www.rfc-editor.org/rfc/rfc8555#section-7.5)).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::clock;
use super::http01;
use super::limits::Token;
use super::problem::Problem;
use super::records::Authorization;
use super::records::AuthorizationStatus;
use super::records::ChallengeKind;
use super::records::Decided;
use super::records::Validation;
use super::reply::Reply;
use super::resource::Owned;
use super::settings::AuthoritySettings;
use super::settings::challenges::Answered;
use super::settings::challenges::Failing;
use super::settings::challenges::SecondTell;
use super::settings::quirk::Quirk;
use super::shared::Shared;
use super::shared::read;
use super::state::State;
use crate::serve::Asked;

/// How long a valid authorization can be used again.
const LIFETIME: Duration = Duration::from_hours(30 * 24);

#[derive(Deserialize)]
struct Change {
    status: String,
}

impl State {
    /// Notes that a validation begins; false when there is nothing to validate.
    pub fn begin_validation(
        &mut self,
        owned: Owned,
        kind: ChallengeKind,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Result<bool, Problem> {
        self.authorization(owned, now)?;
        let Some(authorization) = self.authorizations.get_mut(&owned.id) else {
            return Ok(false);
        };
        match authorization.status {
            AuthorizationStatus::Valid => return Ok(false),
            AuthorizationStatus::Deactivated | AuthorizationStatus::Invalid => {
                return Err(Problem::malformed("authorization must be pending"));
            }
            AuthorizationStatus::Pending => {}
        }
        if authorization.validating > 0 {
            match settings.second_tell {
                SecondTell::Accept => {}
                SecondTell::Conflict409 => {
                    return Err(Problem::new(
                        409,
                        "conflict",
                        "authorization is already being validated",
                    ));
                }
                SecondTell::Ignore => return Ok(false),
            }
        }
        authorization.validating += 1;
        if settings.shows_processing {
            authorization.processing = Some(kind);
        }
        Ok(true)
    }

    /// Notes a validation that failed and does not decide. False when there is nothing to validate any more.
    fn note_try(&mut self, id: u64, tried: Decided, failing: Failing) -> bool {
        let Some(authorization) = self.authorizations.get_mut(&id) else {
            return false;
        };
        self.validations.push(Validation {
            name: authorization.name.clone(),
            ok: false,
            error: tried.error.clone(),
            at: tried.at,
        });
        let goes_on = match failing {
            Failing::StayPending => false,
            Failing::TryAgain { .. } => {
                authorization.status == AuthorizationStatus::Pending && !authorization.forgotten
            }
        };
        authorization.processing = goes_on.then_some(tried.challenge);
        if !goes_on {
            authorization.validating -= 1;
        }
        authorization.tried = Some(tried);
        goes_on
    }

    /// Notes how a validation went, the so many-th since the client told of it. Answers how long the authority waits
    /// until it validates once more by itself, if it does.
    pub fn note_validation(
        &mut self,
        owned: Owned,
        kind: ChallengeKind,
        number: u32,
        result: Result<(), Problem>,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Option<Duration> {
        let id = owned.id;
        let fits = |failing: &Failing| match failing {
            Failing::StayPending => true,
            Failing::TryAgain { tries, .. } => number < *tries,
        };
        let error = result.err();
        let authorization = self.authorizations.get(&id)?;
        let mut failing = None;
        if error.is_some() {
            let names = std::slice::from_ref(&authorization.name);
            failing = Quirk::first(&settings.failing, names, fits);
            // What the authority does by itself nobody has asked for.
            if number == 1 {
                let token = Token::failure(&authorization.account, &authorization.name);
                self.buckets.spend(&settings.limits, token, now);
            }
        }
        let Some(failing) = failing else {
            self.end_validation(id, kind, error.map_or(Ok(()), Err), settings, now);
            return None;
        };
        let tried = Decided { challenge: kind, at: now, error };
        let goes_on = self.note_try(id, tried, failing);
        match failing {
            Failing::TryAgain { step, .. } if goes_on => Some(step * number),
            Failing::StayPending | Failing::TryAgain { .. } => None,
        }
    }

    /// Notes how a validation ended. Only the first one decides.
    fn end_validation(
        &mut self,
        id: u64,
        challenge: ChallengeKind,
        result: Result<(), Problem>,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) {
        let Some(authorization) = self.authorizations.get_mut(&id) else {
            return;
        };
        authorization.validating -= 1;
        authorization.processing = None;
        let error = result.err();
        self.validations.push(Validation {
            name: authorization.name.clone(),
            ok: error.is_none(),
            error: error.clone(),
            at: now,
        });
        if authorization.status != AuthorizationStatus::Pending {
            return;
        }
        if error.is_none() {
            authorization.status = AuthorizationStatus::Valid;
            authorization.expires = now + LIFETIME;
            let key = (authorization.owned.account, authorization.name.clone());
            self.proofs.insert(key, id);
        } else {
            authorization.status = AuthorizationStatus::Invalid;
        }
        authorization.decided = Some(Decided { challenge, at: now, error: error.clone() });
        for order in authorization.orders.clone() {
            self.settle(order);
            if settings.order_errors
                && let Some(order) = self.orders.get_mut(&order)
            {
                order.error.clone_from(&error);
            }
        }
    }

    /// Gives an authorization up. While it is pending this counts as a failure.
    pub fn deactivate_authorization(
        &mut self,
        owned: Owned,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Result<Authorization, Problem> {
        let before = self.authorization(owned, now)?.clone();
        match before.status {
            AuthorizationStatus::Deactivated | AuthorizationStatus::Invalid => {
                return Err(Problem::malformed(
                    "only a pending or valid authorization can be deactivated",
                ));
            }
            AuthorizationStatus::Pending => {
                let token = Token::failure(&before.account, &before.name);
                self.buckets.spend(&settings.limits, token, now);
            }
            AuthorizationStatus::Valid => {}
        }
        if let Some(authorization) = self.authorizations.get_mut(&owned.id) {
            authorization.status = AuthorizationStatus::Deactivated;
        }
        for order in &before.orders {
            self.settle(*order);
        }
        self.authorization(owned, now).cloned()
    }
}

impl Shared {
    pub(super) fn authorization(&self, request: &Asked, owned: Owned) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        let (owned, now) = (owned.asked_by(&account)?, clock::now());
        let authorization = if payload.is_empty() {
            self.state.borrow().authorization(owned, now)?.clone()
        } else {
            let asked: Change = read(&payload)?;
            if asked.status != "deactivated" {
                return Err(Problem::malformed("Invalid status value"));
            }
            let settings = self.settings();
            self.change(|state| state.deactivate_authorization(owned, &settings, now))?
        };
        let document = authorization.to_json(&self.base);
        Ok(self.while_pending(Reply::json(StatusCode::OK, &document), &authorization))
    }

    /// Shows a challenge, or begins to validate it when the payload is an object.
    pub(super) async fn challenge(
        self: &Arc<Self>,
        request: &Asked,
        owned: Owned,
        kind: ChallengeKind,
    ) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        let (owned, now) = (owned.asked_by(&account)?, clock::now());
        let mut authorization = self.state.borrow().authorization(owned, now)?.clone();
        if !authorization.challenges().contains(&kind) {
            return Err(Problem::not_found("No such challenge"));
        }
        if !payload.is_empty() {
            let _: Map<String, Value> = read(&payload)?;
            let settings = self.settings();
            if self.change(|state| state.begin_validation(owned, kind, &settings, now))? {
                let expected = format!("{}.{}", authorization.token, account.thumbprint);
                let shared = Arc::clone(self);
                let (done, validated) = oneshot::channel::<()>();
                self.spawn(async move {
                    shared.validate(&authorization, kind, &expected).await;
                    drop(done);
                });
                if settings.answered == Answered::Validated {
                    // Nothing is ever sent: it ends with its sender.
                    drop(validated.await);
                }
            }
            authorization = self.state.borrow().authorization(owned, now)?.clone();
        }
        let document = authorization.challenge_to_json(kind, &self.base);
        let reply = Reply::json(StatusCode::OK, &document)
            .header(header::LINK, format!("<{}>;rel=\"up\"", authorization.url));
        Ok(self.while_pending(reply, &authorization))
    }

    fn while_pending(&self, reply: Reply, authorization: &Authorization) -> Reply {
        let wait = match authorization.status {
            AuthorizationStatus::Pending => self.settings().retry_after_pending,
            AuthorizationStatus::Deactivated
            | AuthorizationStatus::Invalid
            | AuthorizationStatus::Valid => None,
        };
        reply.header_if(header::RETRY_AFTER, wait.map(|wait| wait.header(clock::now())))
    }

    async fn validate(&self, authorization: &Authorization, kind: ChallengeKind, expected: &str) {
        for number in 1.. {
            let settings = self.settings();
            let result = fetched(&settings, authorization, kind, expected).await;
            let (owned, now) = (authorization.owned, clock::now());
            let wait = self
                .change(|state| state.note_validation(owned, kind, number, result, &settings, now));
            let Some(wait) = wait else {
                return;
            };
            tokio::time::sleep(wait).await;
        }
    }
}

/// Validates once.
async fn fetched(
    settings: &AuthoritySettings,
    authorization: &Authorization,
    kind: ChallengeKind,
    expected: &str,
) -> Result<(), Problem> {
    if !settings.validation_delay.is_zero() {
        tokio::time::sleep(settings.validation_delay).await;
    }
    let name = &authorization.name;
    match (&settings.validation_error, kind) {
        (Some(error), _) => Err(error.clone()),
        (None, ChallengeKind::Http01) => {
            http01::check(settings, name, &authorization.token, expected).await
        }
        (None, ChallengeKind::Dns01 | ChallengeKind::DnsPersist01) => Err(Problem::dns(format!(
            "DNS problem: NXDOMAIN looking up TXT for _acme-challenge.{} - check that a DNS record \
             exists for this domain",
            name.trim_start_matches("*.")
        ))),
    }
}
