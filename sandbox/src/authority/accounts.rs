//! Accounts ([RFC 8555, 7.3](https://www.rfc-editor.org/rfc/rfc8555#section-7.3)).

use http::StatusCode;
use http::header;
use serde::Deserialize;
use time::OffsetDateTime;

use super::clock;
use super::jws::PublicKey;
use super::limits::Token;
use super::problem::Problem;
use super::records::Account;
use super::records::AccountStatus;
use super::reply::Reply;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::shared::Shared;
use super::shared::read;
use super::state::State;
use crate::serve::Asked;
use crate::serve::Peer;

/// What a client says that wants an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewAccount {
    /// Where to reach its owner.
    #[serde(default)]
    pub contact: Vec<String>,
    /// Whether it agrees to the terms.
    #[serde(default)]
    pub terms_of_service_agreed: bool,
    /// Whether it takes only an account that is there.
    #[serde(default)]
    pub only_return_existing: bool,
}

#[derive(Deserialize)]
struct Change {
    contact: Option<Vec<String>>,
    status: Option<String>,
}

impl State {
    fn account_of(&self, thumbprint: &str) -> Option<&Account> {
        self.account(*self.account_of_key.get(thumbprint)?)
    }

    /// The account of a key, and whether it was made just now.
    pub fn new_account(
        &mut self,
        key: PublicKey,
        asked: &NewAccount,
        peer: &str,
        settings: &AuthoritySettings,
        now: OffsetDateTime,
    ) -> Result<(bool, Account), Problem> {
        if let Some(account) = self.account_of(&key.thumbprint()) {
            return match account.status {
                AccountStatus::Valid => Ok((false, account.clone())),
                AccountStatus::Deactivated | AccountStatus::Forgotten => {
                    Err(Problem::unauthorized(
                        "An account with the provided public key exists but is deactivated",
                    ))
                }
            };
        }
        if asked.only_return_existing {
            return Err(Problem::new(
                400,
                "accountDoesNotExist",
                "No account exists with the provided key",
            ));
        }
        if !asked.terms_of_service_agreed {
            return Err(Problem::malformed("must agree to terms of service"));
        }
        if settings.contact_required && asked.contact.is_empty() {
            return Err(Problem::malformed("Contact information is missing"));
        }
        if settings.binding_required {
            return Err(Problem::new(
                401,
                "externalAccountRequired",
                "The request must include a value for the 'externalAccountBinding' field",
            ));
        }
        check_contacts(&asked.contact)?;
        let token = Token::account(peer);
        self.buckets.check(&settings.limits, std::slice::from_ref(&token), now)?;
        self.buckets.spend(&settings.limits, token, now);
        Ok((true, self.open_account(key, asked.contact.clone())))
    }

    fn open_account(&mut self, key: PublicKey, contact: Vec<String>) -> Account {
        let id = self.next_id();
        let account = Account {
            url: Resource::Account(id).url(&self.base),
            contact,
            thumbprint: key.thumbprint(),
            status: AccountStatus::Valid,
            id,
            key,
        };
        self.account_of_key.insert(account.thumbprint.clone(), id);
        self.accounts.insert(id, account.clone());
        account
    }
}

impl Shared {
    pub(super) fn new_account(&self, request: &Asked) -> Result<Reply, Problem> {
        let (key, payload) = self.by_key(request)?;
        let asked: NewAccount = read(&payload)?;
        let peer = request
            .extensions()
            .get::<Peer>()
            .map_or_else(String::new, |peer| peer.0.ip().to_string());
        let settings = self.settings();
        let (is_new, account) =
            self.change(|state| state.new_account(key, &asked, &peer, &settings, clock::now()))?;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Reply::json(status, &account.to_json()).header(header::LOCATION, &account.url))
    }

    pub(super) fn account_change(&self, request: &Asked, id: u64) -> Result<Reply, Problem> {
        let (account, payload) = self.by_account(request)?;
        if account.id != id {
            return Err(Problem::unauthorized("Request signing key did not match account key"));
        }
        if payload.is_empty() {
            return Ok(Reply::json(StatusCode::OK, &account.to_json()));
        }
        let asked: Change = read(&payload)?;
        match asked.status.as_deref() {
            None | Some("valid" | "deactivated") => {}
            Some(_) => {
                return Err(Problem::malformed("Invalid value provided for status field"));
            }
        }
        check_contacts(asked.contact.as_deref().unwrap_or_default())?;
        let account = self.change(|state| {
            let account = state.accounts.get_mut(&id)?;
            if let Some(contact) = asked.contact {
                account.contact = contact;
            }
            if asked.status.as_deref() == Some("deactivated") {
                account.status = AccountStatus::Deactivated;
            }
            Some(account.clone())
        });
        let account = account.expect("accounts are never taken out");
        Ok(Reply::json(StatusCode::OK, &account.to_json()))
    }
}

fn check_contacts(contacts: &[String]) -> Result<(), Problem> {
    for contact in contacts {
        let Some(address) = contact.strip_prefix("mailto:") else {
            return Err(Problem::new(
                400,
                "unsupportedContact",
                format!("only contact scheme 'mailto:' is supported, not {contact:?}"),
            ));
        };
        let fits = address
            .split_once('@')
            .is_some_and(|(user, domain)| !user.is_empty() && domain.contains('.'));
        if !fits || !address.is_ascii() || address.contains(['?', '#', ' ']) {
            return Err(Problem::new(
                400,
                "invalidContact",
                format!("unable to parse email address {address:?}"),
            ));
        }
    }
    Ok(())
}
