//! What a directory knows about who controls a name.

use rancher_lets_encrypt::core::names::DomainName;
use rancher_lets_encrypt::core::problem::AuthorityError;
use rancher_lets_encrypt::core::problem::AuthorityErrorKind;
use rancher_lets_encrypt::core::problem::Problem;
use rancher_lets_encrypt::core::resource::Authorization;
use rancher_lets_encrypt::core::resource::AuthorizationStatus;
use rancher_lets_encrypt::core::resource::ChallengeStatus;
use rancher_lets_encrypt::core::resource::Http01;
use rancher_lets_encrypt::core::resource::Token;
use sandbox::authority::limits::Token as Spent;
use time::Duration;
use time::OffsetDateTime;

use crate::authority::Directory;
use crate::authority::ORDER_LIFETIME;
use crate::authority::PROOF_LIFETIME;
use crate::authority::Proof;
use crate::authority::answers::gone;
use crate::authority::answers::refused;
use crate::authority::answers::thumbprint;
use crate::dice::Dice;

impl Directory {
    /// The valid authorization for a name, or a new one.
    pub(super) fn proof(
        &mut self,
        account: &str,
        key: &str,
        name: &str,
        now: OffsetDateTime,
    ) -> String {
        let valid = self.proofs.values().find(|proof| {
            proof.account == account
                && proof.name == name
                && proof.seen(now) == AuthorizationStatus::Valid
        });
        if let Some(proof) = valid {
            return proof.url.clone();
        }
        let url = self.made("authorization");
        let token = format!("token-{}-{}", self.name(), self.made);
        let key_authorization = format!("{token}.{}", thumbprint(key));
        let proof = Proof {
            url: url.clone(),
            account: account.to_owned(),
            name: name.to_owned(),
            status: AuthorizationStatus::Pending,
            decided_at: None,
            expires: now + ORDER_LIFETIME,
            challenge: Http01 {
                token: Token::try_from(token).expect("it has letters, digits and hyphens"),
                key_authorization,
                status: ChallengeStatus::Pending,
            },
        };
        self.proofs.insert(url.clone(), proof);
        url
    }

    /// Shows an authorization.
    pub(super) fn authorization(
        &self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<Authorization, AuthorityError> {
        self.knows(account)?;
        let proof = self.proofs.get(url).ok_or_else(gone)?;
        let status = proof.seen(now);
        let error = (status == AuthorizationStatus::Invalid || self.was_tried(url))
            .then(|| Problem::new("connection", "the token could not be fetched"));
        let name: DomainName = proof.name.parse().map_err(|_| gone())?;
        Ok(Authorization {
            url: url.to_owned(),
            name,
            status,
            challenge: Some(Http01 {
                status: match status {
                    AuthorizationStatus::Pending => ChallengeStatus::Pending,
                    AuthorizationStatus::Valid => ChallengeStatus::Valid,
                    AuthorizationStatus::Invalid | AuthorizationStatus::Over => {
                        ChallengeStatus::Invalid
                    }
                },
                ..proof.challenge.clone()
            }),
            error,
            not_before: None,
        })
    }

    /// The challenge that is to be validated when the authority is told, and its name; none if that is done.
    pub(super) fn told(
        &self,
        account: &str,
        url: &str,
        now: OffsetDateTime,
    ) -> Result<Option<(String, Http01)>, AuthorityError> {
        let authorization = self.authorization(account, url, now)?;
        let proof = &self.proofs[url];
        match authorization.status {
            AuthorizationStatus::Valid => Ok(None),
            AuthorizationStatus::Pending if self.is_trying(url) => Ok(None),
            AuthorizationStatus::Pending if proof.decided_at.is_some() => {
                let detail = "authorization is already being validated".to_owned();
                Err(AuthorityError::new(AuthorityErrorKind::AlreadyResponded, detail))
            }
            AuthorizationStatus::Pending => Ok(Some((proof.name.clone(), proof.challenge.clone()))),
            AuthorizationStatus::Invalid | AuthorizationStatus::Over => {
                Err(refused("malformed", "authorization must be pending"))
            }
        }
    }

    /// Decides about an authorization, which is seen a little later. Answers the account whose failure it is.
    pub(super) fn decide(
        &mut self,
        url: &str,
        is_good: bool,
        now: OffsetDateTime,
        dice: &mut Dice,
    ) -> Option<String> {
        let is_stuck = dice.chance(self.stuck_per_mille);
        let proof = self.proofs.get_mut(url)?;
        if is_stuck {
            proof.decided_at = Some(proof.expires);
            return None;
        }
        if let Some(account) = self.tried(url, is_good, now) {
            return Some(account);
        }
        let proof = self.proofs.get_mut(url)?;
        let after = dice.time(Duration::milliseconds(200), Duration::seconds(4));
        proof.decided_at = Some(now + after);
        let row = (proof.account.clone(), proof.name.clone());
        if is_good {
            proof.status = AuthorizationStatus::Valid;
            proof.expires = now + PROOF_LIFETIME;
            self.failures_in_row.remove(&row);
            return None;
        }
        proof.status = AuthorizationStatus::Invalid;
        let account = row.0.clone();
        let token = Spent::failure(&row.0, &row.1);
        self.buckets.spend(&self.limits, token, now);
        *self.failures_in_row.entry(row).or_default() += 1;
        Some(account)
    }

    /// Gives an authorization up.
    pub(super) fn deactivate(&mut self, account: &str, url: &str) -> Result<(), AuthorityError> {
        self.knows(account)?;
        if let Some(proof) = self.proofs.get_mut(url) {
            proof.status = AuthorizationStatus::Over;
        }
        Ok(())
    }
}

impl Proof {
    /// How it stands for those who look.
    pub(super) fn seen(&self, now: OffsetDateTime) -> AuthorizationStatus {
        let is_decided = self.decided_at.is_some_and(|at| at <= now);
        match self.status {
            AuthorizationStatus::Over => AuthorizationStatus::Over,
            _ if self.expires <= now => AuthorizationStatus::Over,
            AuthorizationStatus::Valid | AuthorizationStatus::Invalid if !is_decided => {
                AuthorizationStatus::Pending
            }
            AuthorizationStatus::Pending
            | AuthorizationStatus::Valid
            | AuthorizationStatus::Invalid => self.status,
        }
    }
}
