//! One authority behind its directory: where to ask for what, nonces that were not used yet, signed requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::acme::jws::AccountKey;
use crate::acme::jws::Signer;
use crate::acme::problem::About;
use crate::acme::transport::Answer;
use crate::acme::transport::Transport;
use crate::core::bundle::Secret;
use crate::core::names::DomainName;
use crate::core::problem::AuthorityError;
use crate::core::problem::AuthorityErrorKind;
use crate::core::problem::Problem;
use crate::core::resource::Account;

/// A directory may change its URLs; it is fetched again after this time.
const FRESH_FOR: Duration = Duration::from_secs(3600);

/// How often one request is sent whose nonces are refused. Where half of them are, one request in a million fails.
const TRIES: u32 = 20;

/// More nonces than are ever needed at once.
const MOST_NONCES: usize = 64;

/// More resources than are ever worked on at once; what was forgotten costs one more request.
const MOST_SEEN: usize = 4096;

/// Where an authority wants to be asked (RFC 8555, section 7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoints {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
}

/// An authority.
pub(super) struct Directory {
    url: String,
    transport: Transport,
    /// Held while it is fetched: one fetches it for all.
    fetched: tokio::sync::Mutex<Fetched>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Fetched {
    endpoints: Option<(Instant, Arc<Endpoints>)>,
    failure: Option<(Instant, AuthorityError)>,
}

#[derive(Default)]
struct Known {
    /// The newest is taken first: an authority forgets the oldest.
    nonces: Vec<String>,
    /// By the URL of the account. Reading a key takes longer than using it.
    keys: BTreeMap<String, (Secret, Arc<AccountKey>)>,
    orders: BTreeMap<String, Seen>,
    /// URLs of HTTP-01 challenges, by that of their authorization.
    challenges: BTreeMap<String, String>,
}

/// What of an order does not change.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) names: Vec<DomainName>,
    pub(super) finalize: Option<String>,
}

impl Directory {
    pub(super) fn new(url: &str, transport: Transport) -> Self {
        Self {
            url: url.to_owned(),
            transport,
            fetched: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }
    }

    fn about(&self) -> About<'_> {
        About::Authority(&self.url)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it wants to be asked.
    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, AuthorityError> {
        let since = Instant::now();
        let mut fetched = self.fetched.lock().await;
        if let Some((at, endpoints)) = &fetched.endpoints
            && at.elapsed() < FRESH_FOR
        {
            return Ok(Arc::clone(endpoints));
        }
        self.fetch(&mut fetched, since).await
    }

    /// Fetches it in any case.
    pub(super) async fn refresh(&self) -> Result<(), AuthorityError> {
        let since = Instant::now();
        let mut fetched = self.fetched.lock().await;
        self.fetch(&mut fetched, since).await.map(drop)
    }

    /// Whoever has waited since then while it could not be fetched gets the same answer.
    async fn fetch(
        &self,
        fetched: &mut Fetched,
        since: Instant,
    ) -> Result<Arc<Endpoints>, AuthorityError> {
        if let Some((at, error)) = &fetched.failure
            && since < *at
        {
            return Err(error.clone());
        }
        match self.read().await {
            Ok(endpoints) => {
                let endpoints = Arc::new(endpoints);
                fetched.endpoints = Some((Instant::now(), Arc::clone(&endpoints)));
                Ok(endpoints)
            }
            Err(error) => {
                fetched.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<Endpoints, AuthorityError> {
        let answer = self.transport.get(&self.url, self.about()).await?;
        let answer = self.transport.sort(answer, self.about());
        let answer = answer.map_err(no_refusal)?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.about().no_sense(&error.to_string()))
    }

    async fn nonce(&self) -> Result<String, AuthorityError> {
        if let Some(nonce) = self.known().nonces.pop() {
            return Ok(nonce);
        }
        let endpoints = self.endpoints().await?;
        let answer = self.transport.head(&endpoints.new_nonce, self.about()).await?;
        let answer = self.transport.sort(answer, self.about());
        let answer = answer.map_err(no_refusal)?;
        answer.nonce.ok_or_else(|| self.about().no_answer("it gives no nonce"))
    }

    fn keep_nonce(&self, nonce: Option<String>) {
        let nonces = &mut self.known().nonces;
        nonces.extend(nonce);
        if nonces.len() > MOST_NONCES {
            nonces.remove(0);
        }
    }

    /// Sends a signed request (RFC 8555, section 6.2), again with a fresh nonce where only that was refused.
    pub(super) async fn post(
        &self,
        key: &AccountKey,
        signer: Signer<'_>,
        url: &str,
        payload: Option<&[u8]>,
        about: About<'_>,
    ) -> Result<Answer, AuthorityError> {
        let mut fresh = None;
        let mut tries = 1;
        loop {
            let nonce = match fresh.take() {
                Some(nonce) => nonce,
                None => self.nonce().await?,
            };
            let signed = key.sign(signer, &nonce, url, payload);
            let signed = signed.map_err(|why| about.no_answer(&why))?;
            let mut answer = self.transport.post(url, signed, about).await?;
            let next = answer.nonce.take();
            match self.transport.sort(answer, about) {
                // The one that comes with the refusal is the newest that there is.
                Err(error) if error.kind == AuthorityErrorKind::BadNonce && tries < TRIES => {
                    fresh = next;
                    tries += 1;
                }
                result => {
                    self.keep_nonce(next);
                    return result;
                }
            }
        }
    }

    /// The same with an account.
    pub(super) async fn post_as(
        &self,
        account: &Account,
        url: &str,
        payload: Option<&[u8]>,
        about: About<'_>,
    ) -> Result<Answer, AuthorityError> {
        let key = self.key(account)?;
        let signer = Signer::Account(&account.url);
        self.post(&key, signer, url, payload, about).await
    }

    pub(super) fn key(&self, account: &Account) -> Result<Arc<AccountKey>, AuthorityError> {
        if let Some((secret, key)) = self.known().keys.get(&account.url)
            && *secret == account.key
        {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(read_key(&account.key)?);
        let read = (account.key.clone(), Arc::clone(&key));
        self.known().keys.insert(account.url.clone(), read);
        Ok(key)
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What is known of an order.
    pub(super) fn seen(&self, order: &str) -> Seen {
        self.known().orders.get(order).cloned().unwrap_or_default()
    }

    pub(super) fn note_order(&self, order: &str, seen: Seen) {
        keep(&mut self.known().orders, order, seen);
    }

    pub(super) fn forget_order(&self, order: &str) {
        self.known().orders.remove(order);
    }

    /// The URL of the HTTP-01 challenge of an authorization, if that was looked at.
    pub(super) fn challenge(&self, authorization: &str) -> Option<String> {
        self.known().challenges.get(authorization).cloned()
    }

    pub(super) fn note_challenge(&self, authorization: &str, challenge: Option<String>) {
        let challenges = &mut self.known().challenges;
        match challenge {
            Some(url) => keep(challenges, authorization, url),
            None => drop(challenges.remove(authorization)),
        }
    }
}

fn keep<T>(all: &mut BTreeMap<String, T>, url: &str, seen: T) {
    if all.len() >= MOST_SEEN {
        all.pop_first();
    }
    all.insert(url.to_owned(), seen);
}

/// Everybody may read a directory and have a nonce: whatever fails there is no refusal of ours.
fn no_refusal(error: AuthorityError) -> AuthorityError {
    AuthorityError { kind: AuthorityErrorKind::Unavailable, ..error }
}

/// Reads the key of an account.
pub(super) fn read_key(key: &Secret) -> Result<AccountKey, AuthorityError> {
    AccountKey::parse(key).map_err(|why| {
        let detail = format!("the account key on record cannot be used: {why}");
        AuthorityError::refused(Problem::new("accountKey", detail))
    })
}
