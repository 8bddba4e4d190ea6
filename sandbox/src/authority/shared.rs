//! What every request works with, and who may ask.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::chance::Chance;
use super::issuing::Rules;
use super::jws::PublicKey;
use super::jws::Signed;
use super::jws::Signer;
use super::nonces::Nonces;
use super::problem::Problem;
use super::records::Account;
use super::resource::Resource;
use super::settings::AuthoritySettings;
use super::state::State;
use crate::certs::CertificateAuthority;
use crate::faults::chance::Draw;
use crate::serve::Asked;

/// What every request works with. The state is never locked over the check of a signature, or a wait.
pub(super) struct Shared {
    pub(super) base: String,
    pub(super) nonces: Nonces,
    pub(super) state: watch::Sender<State>,
    pub(super) tasks: Arc<Mutex<JoinSet<()>>>,
    rules: Mutex<Rules>,
    signed_requests: AtomicU32,
}

impl Shared {
    pub(super) fn new(settings: AuthoritySettings, base: String) -> Self {
        let issuer = CertificateAuthority::new(&settings.root, settings.chain());
        Self {
            nonces: Nonces::default(),
            state: watch::Sender::new(State::new(base.clone(), 1000, Chance::of_system())),
            base,
            tasks: Arc::default(),
            rules: Mutex::new(Rules { settings: Arc::new(settings), issuer: Arc::new(issuer) }),
            signed_requests: AtomicU32::new(0),
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    pub(super) fn settings(&self) -> Arc<AuthoritySettings> {
        self.rules().settings
    }

    /// Changes the settings; other intermediates than before come with new keys under the same root.
    pub(super) fn set(&self, change: impl FnOnce(&mut AuthoritySettings)) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let before = rules.settings.chain().to_vec();
        change(Arc::make_mut(&mut rules.settings));
        if rules.settings.chain() != before {
            let issuer = rules.issuer.with_intermediates(rules.settings.chain());
            rules.issuer = Arc::new(issuer);
        }
    }

    /// Loses all that is in memory, the keys of root and intermediates too.
    pub(super) fn lose_state(&self) {
        self.nonces.forget();
        self.change(State::forget_accounts);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = Arc::clone(&rules.settings);
        let issuer = CertificateAuthority::new(&settings.root, settings.chain());
        rules.issuer = Arc::new(issuer);
    }

    /// Changes the state and wakes who waits for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut result = None;
        self.state.send_modify(|state| result = Some(change(state)));
        result.expect("the closure runs exactly once")
    }

    /// Runs in the background for as long as the authority does.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Results of those that ended would pile up.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(super) fn url(&self, resource: &Resource) -> String {
        resource.url(&self.base)
    }

    /// Checks a request that is signed with a key of its own: only new accounts are asked for in this way.
    pub(super) fn by_key(&self, request: &Asked) -> Result<(PublicKey, Vec<u8>), Problem> {
        let check = || {
            let signed = Signed::parse(request)?;
            let Signer::Key(key) = &signed.signer else {
                return Err(Problem::malformed("No embedded JWK in JWS header"));
            };
            let key = key.clone();
            self.check(&signed, &key, request)?;
            Ok((key, signed.payload))
        };
        check().map_err(|problem: Problem| problem.while_doing("Unable to validate JWS"))
    }

    /// Checks a request that is signed by an account.
    pub(super) fn by_account(&self, request: &Asked) -> Result<(Account, Vec<u8>), Problem> {
        let check = || {
            let signed = Signed::parse(request)?;
            let Signer::Account(url) = &signed.signer else {
                return Err(Problem::malformed("No Key ID in JWS header"));
            };
            let account = self.state.borrow().account_at(url)?.clone();
            self.check(&signed, &account.key, request)?;
            Ok((account, signed.payload))
        };
        check().map_err(|problem: Problem| problem.while_doing("Unable to validate JWS"))
    }

    /// Signature, then nonce, then URL: a request that nobody signed must not use up a nonce.
    fn check(&self, signed: &Signed, key: &PublicKey, request: &Asked) -> Result<(), Problem> {
        signed.verify(key)?;
        let bad_nonce = |detail: String| Err(Problem::new(400, "badNonce", detail));
        let Some(nonce) = &signed.nonce else {
            return bad_nonce("JWS has no anti-replay nonce".to_owned());
        };
        let known = self.nonces.take(nonce);
        let count = self.signed_requests.fetch_add(1, Ordering::Relaxed) + 1;
        if !known || is_refused(&self.settings(), count) {
            return bad_nonce(format!("JWS has an invalid anti-replay nonce: {nonce:?}"));
        }
        let url = format!("{}{}", self.base, request.uri());
        if signed.url != url {
            return Err(Problem::malformed(format!(
                "JWS header parameter 'url' incorrect. Expected {url:?} got {:?}",
                signed.url
            )));
        }
        Ok(())
    }
}

/// Whether the nonce of the so many-th signed request is refused although it is good.
fn is_refused(settings: &AuthoritySettings, count: u32) -> bool {
    let drawn = Draw::new(settings.nonce_seed ^ (u64::from(count) << 32)).below(100);
    let is_drawn = drawn < settings.bad_nonce_percent;
    let every = settings.bad_nonce_every;
    is_drawn || every.is_some_and(|every| every > 0 && count.is_multiple_of(every))
}

/// Reads the payload of a request that has one.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(payload).map_err(|_| Problem::malformed("Error unmarshaling body JSON"))
}

/// Refuses a request that has a payload where it must have none.
pub(super) fn post_as_get(payload: &[u8]) -> Result<(), Problem> {
    if payload.is_empty() {
        Ok(())
    } else {
        Err(Problem::malformed("POST-as-GET requests must have an empty payload"))
    }
}
