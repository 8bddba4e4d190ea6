//! The authority port over HTTPS: one request a call, nothing waits, nothing is tried again but a refused nonce.
//!
//! Resources are addressed by URL, and nothing must be remembered between two calls: what is kept in memory of an order
//! or authorization only saves a look at it. The objects are instant-acme's types, the requests are ours: its client
//! has no time limits, drops the status and the `Retry-After` of an answer, gives up after three refused nonces, makes
//! accounts without their contact, and takes no order object that lacks a field.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use instant_acme::Identifier;
use instant_acme::NewAccount;
use instant_acme::NewOrder;
use reqwest::Client;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use time::OffsetDateTime;

use crate::acme::directory::Directory;
use crate::acme::directory::Seen;
use crate::acme::directory::read_key;
use crate::acme::jws::AccountKey;
use crate::acme::jws::Signer;
use crate::acme::jws::base64url;
use crate::acme::problem::About;
use crate::acme::transport::Answer;
use crate::acme::transport::Now;
use crate::acme::transport::Transport;
use crate::core::bundle::Secret;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::reaction::FailureKind;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::AuthorizationStatus;
use crate::core::resource::Order;
use crate::core::resource::Token;
use crate::ports::Answered;
use crate::ports::Authority;

mod dates;
mod directory;
mod jws;
mod problem;
mod resource;
mod transport;

/// ACME authorities, reached over HTTPS.
pub struct AcmeAuthority {
    transport: Transport,
    /// Each by its own: one that does not answer keeps nobody from another.
    directories: Mutex<BTreeMap<String, Arc<Directory>>>,
}

impl AcmeAuthority {
    /// Authorities that are reached by this client; the clock turns their `Retry-After` into a time.
    pub fn new(client: Client, now: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>) -> Self {
        let now: Now = now;
        Self { transport: Transport::new(client, now), directories: Mutex::default() }
    }

    fn directory(&self, url: &str) -> Arc<Directory> {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Directory::new(url, self.transport.clone()));
        Arc::clone(directories.entry(url.to_owned()).or_insert_with(new))
    }
}

/// A new account (RFC 8555, section 7.3).
#[derive(Serialize)]
struct Registration<'a> {
    #[serde(flatten)]
    account: NewAccount<'a>,
    /// What binds it to an account elsewhere (RFC 8555, section 7.3.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    external_account_binding: Option<Value>,
}

impl Directory {
    /// Makes an account, or finds the one that has this key, and answers its URL.
    async fn register(
        &self,
        url: &str,
        key: &AccountKey,
        contact: &[&str],
    ) -> Result<String, AuthorityError> {
        let about = About::Authority(url);
        let endpoints = self.endpoints().await?;
        let payload = json_of(&Registration {
            account: NewAccount {
                contact,
                terms_of_service_agreed: true,
                only_return_existing: false,
            },
            external_account_binding: None,
        });
        let (signer, to) = (Signer::Key, &endpoints.new_account);
        let answer = self.post(key, signer, to, Some(&payload), about).await?;
        answer.location.ok_or_else(|| about.no_answer("a new account has no URL"))
    }

    /// Reads an order, and keeps in mind what of it does not change.
    fn read_order(&self, url: &str, answer: &Answer, known: Seen) -> Result<Order, AuthorityError> {
        let about = About::Order(&known.names);
        let read = resource::order(url, &answer.body, known.clone());
        let (order, seen) = read.map_err(|why| about.no_sense(&why))?;
        self.note_order(url, seen);
        Ok(Order { not_before: self.transport().not_before(answer), ..order })
    }

    async fn look(&self, account: &Account, order: &str) -> Result<Order, AuthorityError> {
        let known = self.seen(order);
        let about = About::Order(&known.names);
        let answer = self.post_as(account, order, None, about).await?;
        self.read_order(order, &answer, known)
    }

    async fn look_at(
        &self,
        account: &Account,
        authorization: &str,
    ) -> Result<Authorization, AuthorityError> {
        let about = About::Order(&[]);
        let answer = self.post_as(account, authorization, None, about).await?;
        let thumbprint = self.key(account)?.thumbprint();
        let key_authorization = |token: &Token| format!("{}.{thumbprint}", token.as_str());
        let read = resource::authorization(authorization, &answer.body, key_authorization);
        let (view, challenge) = read.map_err(|why| about.no_sense(&why))?;
        let is_open = view.status == AuthorizationStatus::Pending;
        self.note_challenge(authorization, challenge.filter(|_| is_open));
        Ok(Authorization { not_before: self.transport().not_before(&answer), ..view })
    }

    /// Where a challenge is told that it can be validated.
    async fn challenge_of(
        &self,
        account: &Account,
        authorization: &str,
    ) -> Result<String, AuthorityError> {
        if let Some(url) = self.challenge(authorization) {
            return Ok(url);
        }
        self.look_at(account, authorization).await?;
        let found = self.challenge(authorization);
        found.ok_or_else(|| {
            let why = "the authorization has no HTTP-01 challenge that could be validated";
            AuthorityError::refused(why)
        })
    }

    /// Where the certificate of an order is asked for.
    async fn finalize_of(
        &self,
        account: &Account,
        order: &str,
    ) -> Result<(String, Vec<DomainName>), AuthorityError> {
        let mut seen = self.seen(order);
        if seen.finalize.is_none() {
            self.look(account, order).await?;
            seen = self.seen(order);
        }
        let why = "an order says nowhere how it is finalized";
        let url = seen.finalize.ok_or_else(|| About::Order(&[]).no_sense(why))?;
        Ok((url, seen.names))
    }
}

/// Our objects as JSON.
fn json_of(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("fields of text can be written as JSON")
}

impl Authority for AcmeAuthority {
    async fn register(
        &self,
        directory: &str,
        key: &Secret,
        contact: Option<&str>,
    ) -> Result<String, AuthorityError> {
        let key = read_key(key)?;
        let place = self.directory(directory);
        let contact = contact.map(|contact| format!("mailto:{contact}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let registered = place.register(directory, &key, &contact).await;
        match registered {
            Err(error) if !contact.is_empty() && is_of_contact(&error) => {
                // The account works without: Let's Encrypt does not even keep it.
                let url = place.register(directory, &key, &[]).await?;
                let advice = FailureKind::ContactRefused.advice();
                tracing::warn!(directory, %error, advice, "contact not accepted by the authority");
                Ok(url)
            }
            registered => registered,
        }
    }

    async fn time(
        &self,
        directory: &str,
        answered: Answered,
    ) -> Result<Option<OffsetDateTime>, AuthorityError> {
        if answered == Answered::Before
            && let Some(time) = self.transport.date_at(directory)
        {
            return Ok(Some(time));
        }
        self.directory(directory).refresh().await?;
        Ok(self.transport.date_at(directory))
    }

    async fn open(&self, account: &Account, names: &Names) -> Result<Order, AuthorityError> {
        let directory = self.directory(&account.directory);
        let endpoints = directory.endpoints().await?;
        let identifiers: Vec<_> =
            names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let payload = json_of(&NewOrder::new(&identifiers));
        let names: Vec<DomainName> = names.iter().cloned().collect();
        let about = About::Order(&names);
        let mut answer =
            directory.post_as(account, &endpoints.new_order, Some(&payload), about).await?;
        let url = answer.location.take();
        let url = url.ok_or_else(|| about.no_sense("a new order has no URL"))?;
        let known = Seen { names: names.clone(), finalize: None };
        directory.read_order(&url, &answer, known)
    }

    async fn look(&self, account: &Account, order: &str) -> Result<Order, AuthorityError> {
        self.directory(&account.directory).look(account, order).await
    }

    async fn look_at(
        &self,
        account: &Account,
        _: &str,
        authorization: &str,
    ) -> Result<Authorization, AuthorityError> {
        self.directory(&account.directory).look_at(account, authorization).await
    }

    async fn respond(
        &self,
        account: &Account,
        _: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let directory = self.directory(&account.directory);
        let url = directory.challenge_of(account, authorization).await?;
        let about = About::Respond;
        let answer = directory.post_as(account, &url, Some(b"{}"), about).await?;
        // Whatever it shows of the challenge, also that it has failed already: a look at the authorization tells.
        let shown: Result<Value, _> = serde_json::from_slice(&answer.body);
        match shown {
            Ok(Value::Object(_)) => Ok(()),
            Ok(_) => Err(about.no_sense("it is no challenge")),
            Err(error) => Err(about.no_sense(&error.to_string())),
        }
    }

    async fn deactivate(
        &self,
        account: &Account,
        _: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let directory = self.directory(&account.directory);
        let payload = json_of(&json!({"status": "deactivated"}));
        let about = About::Order(&[]);
        directory.post_as(account, authorization, Some(&payload), about).await?;
        directory.note_challenge(authorization, None);
        Ok(())
    }

    async fn finalize(
        &self,
        account: &Account,
        order: &str,
        request: &[u8],
    ) -> Result<Order, AuthorityError> {
        let directory = self.directory(&account.directory);
        let (url, names) = directory.finalize_of(account, order).await?;
        let payload = json_of(&json!({"csr": base64url(request)}));
        let about = About::Finalize(&names);
        let answer = directory.post_as(account, &url, Some(&payload), about).await?;
        directory.read_order(order, &answer, directory.seen(order))
    }

    async fn download(
        &self,
        account: &Account,
        order: &str,
        certificate: &str,
    ) -> Result<String, AuthorityError> {
        let directory = self.directory(&account.directory);
        let known = directory.seen(order);
        let about = About::Order(&known.names);
        let answer = directory.post_as(account, certificate, None, about).await?;
        let chain = chain(answer.body).map_err(|why| about.no_sense(&why))?;
        // Nothing more is asked about it.
        directory.forget_order(order);
        Ok(chain)
    }

    fn thumbprint(&self, key: &Secret) -> Option<String> {
        Some(AccountKey::parse(key).ok()?.thumbprint())
    }
}

fn is_of_contact(error: &AuthorityError) -> bool {
    error.kind == AuthorityErrorKind::Refused
        && FailureKind::of_refusal(&error.problem) == FailureKind::ContactRefused
}

/// A certificate chain as it came (RFC 8555, section 9.1). Whether it is the right one, others judge.
fn chain(body: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(body).map_err(|_| "the certificate is no text")?;
    let blocks = pem::parse_many(&text).map_err(|error| error.to_string())?;
    if blocks.is_empty() || blocks.iter().any(|block| block.tag() != "CERTIFICATE") {
        return Err("it is no certificate".to_owned());
    }
    Ok(text)
}
