//! An ACME authority ([RFC 8555](https://www.rfc-editor.org/rfc/rfc8555)) over real TLS with real cryptography
//! and its state in memory, which behaves like Let's Encrypt's Boulder.
//!
//! - [`settings`]: how it behaves, also while it runs
//! - [`limits`]: rate limits as token buckets
//! - [`records`]: what tests get to see: accounts, orders, authorizations, certificates, validations
//! - [`state`]: all of these at one moment, and what the authority does with them: a library of its own, which gets time
//!   and [`chance`] as arguments
//! - [`outage`]: how it is away
//! - [`problem`]: how it says no
//!
//! Inside, a request goes through `answers` (which endpoint) and `shared` (who asks) to `accounts`, `orders`,
//! `authorizations`, `finalizing` or `downloads`; `issuing` signs, `http01` fetches tokens by `fetch`.

pub mod accounts;
pub mod chance;
pub mod finalizing;
pub mod issuing;
pub mod jws;
pub mod limits;
pub mod outage;
pub mod problem;
pub mod records;
pub mod resource;
pub mod settings;
pub mod state;

mod answers;
mod authorizations;
mod clock;
mod downloads;
mod fetch;
mod http01;
mod names;
mod nonces;
mod orders;
mod reply;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::answers::Front;
use self::outage::Outage;
use self::outage::Presence;
use self::problem::Problem;
use self::records::Account;
use self::records::Authorization;
use self::records::Issued;
use self::records::Order;
use self::records::Validation;
use self::resource::Resource;
use self::settings::AuthoritySettings;
use self::shared::Shared;
use self::state::State;
use crate::certs;
use crate::faults::Faults;
use crate::serve::Server;

/// A running authority. Cheap to clone; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct Authority {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

struct Running {
    address: SocketAddr,
    presence: tokio::sync::Mutex<Presence>,
    faults: Faults,
    tls: Arc<ServerConfig>,
    tls_root_pem: String,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Drop for Running {
    /// The tasks keep the state alive, which keeps the tasks.
    fn drop(&mut self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }
}

impl Authority {
    /// Starts an authority.
    ///
    /// Its endpoints are named `directory`, `new-nonce`, `new-account`, `account`, `new-order`, `order`,
    /// `authorization`, `challenge`, `finalize`, `certificate` and `other` for faults; the subject of a request
    /// is the names that it is about, joined by commas.
    pub async fn start(settings: AuthoritySettings) -> io::Result<Self> {
        let tls = certs::server_config(settings.host.as_deref().as_slice());
        // The port is part of every URL, and it is known only once the socket is bound.
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let base = match &settings.host {
            Some(host) => format!("https://{host}:{}", address.port()),
            None => format!("https://{address}"),
        };
        let shared = Arc::new(Shared::new(settings, base));
        let faults = Faults::default();
        let front = Arc::new(Front(Arc::clone(&shared)));
        let config = Arc::clone(&tls.config);
        let server = Server::start_on(listener, Some(config), faults.clone(), front)?;
        let running = Running {
            address,
            presence: tokio::sync::Mutex::new(Presence::Here(server)),
            faults,
            tls: tls.config,
            tls_root_pem: tls.root_pem,
            tasks: Arc::clone(&shared.tasks),
        };
        Ok(Self { shared, running: Arc::new(running) })
    }

    /// The URL that clients are given.
    pub fn directory_url(&self) -> String {
        self.shared.url(&Resource::Directory)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// The root to trust for the TLS of its endpoints, PEM.
    pub fn tls_root_pem(&self) -> &str {
        &self.running.tls_root_pem
    }

    /// The root above the certificates that it issues, PEM.
    pub fn issuing_root_pem(&self) -> String {
        self.shared.rules().issuer.root_pem()
    }

    /// The intermediates of the certificates that it issues, PEM each, the one that signs leaves first.
    pub fn intermediates(&self) -> Vec<String> {
        self.shared.rules().issuer.intermediates()
    }

    /// What it does wrong, and what it was asked.
    pub fn faults(&self) -> &Faults {
        &self.running.faults
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<AuthoritySettings> {
        self.shared.settings()
    }

    /// Changes the settings while it runs.
    pub fn set(&self, change: impl FnOnce(&mut AuthoritySettings)) {
        self.shared.set(change);
    }

    /// Fetches HTTP-01 of a name at this address.
    pub fn resolve(&self, name: &str, at: SocketAddr) {
        self.set(|settings| {
            settings.addresses.insert(name.to_owned(), at);
        });
    }

    /// All accounts, oldest first.
    pub fn accounts(&self) -> Vec<Account> {
        self.shared.state.borrow().accounts().cloned().collect()
    }

    /// All orders, oldest first.
    pub fn orders(&self) -> Vec<Order> {
        self.shared.state.borrow().orders().cloned().collect()
    }

    /// All authorizations, oldest first.
    pub fn authorizations(&self) -> Vec<Authorization> {
        let state = self.shared.state.borrow();
        state.authorizations().cloned().collect()
    }

    /// All certificates, oldest first.
    pub fn issued(&self) -> Vec<Issued> {
        self.shared.state.borrow().issued().to_vec()
    }

    /// How many certificates were issued for exactly these names.
    pub fn issued_for(&self, names: &[&str]) -> usize {
        self.shared.state.borrow().issued_for(names)
    }

    /// The results of all validations, oldest first.
    pub fn validations(&self) -> Vec<Validation> {
        self.shared.state.borrow().validations().to_vec()
    }

    /// Forgets all accounts and what belongs to them, as an authority that lost its database. What was issued
    /// and validated stays on record here, and the rate limits stay spent.
    pub fn forget_accounts(&self) {
        self.shared.change(State::forget_accounts);
    }

    /// Loses all that it had in memory, as Pebble does when it is restarted: accounts, orders, authorizations and
    /// certificates are unknown, no nonce is good, and what it issues has a new root. Test and clients may tell it
    /// by 400 `accountDoesNotExist`, 404 `malformed` and 400 `badNonce`. What was issued stays on record here.
    /// Held against Pebble 2.10.1 by what a daemon saw of its restart (no recording).
    pub fn lose_state(&self) {
        self.shared.lose_state();
    }

    /// Is not there until [`come_back`](Self::come_back). When this resolves, all connections are closed. Its state
    /// stays as it is, and validations that are under way go on.
    pub async fn leave(&self, how: Outage) -> io::Result<()> {
        let mut presence = self.running.presence.lock().await;
        presence.leave(how, self.running.address).await
    }

    /// Is there again, at the same address.
    pub async fn come_back(&self) -> io::Result<()> {
        let mut presence = self.running.presence.lock().await;
        let listener = presence.listen(self.running.address).await?;
        let (tls, faults) = (Arc::clone(&self.running.tls), self.running.faults.clone());
        let front = Arc::new(Front(Arc::clone(&self.shared)));
        *presence = Presence::Here(Server::start_on(listener, Some(tls), faults, front)?);
        Ok(())
    }

    /// Issues what the order with this URL was finalized for, if it
    /// [sticks](settings::finalizing::Finalizing::Stick); whether it does.
    pub fn go_on(&self, order: &str) -> bool {
        self.shared.go_on(order)
    }

    /// Makes the order with this URL invalid for this reason, if it
    /// [sticks](settings::finalizing::Finalizing::Stick); whether it does.
    pub fn give_up(&self, order: &str, reason: Problem) -> bool {
        self.shared.give_up(order, reason)
    }

    /// Deactivates the account with this URL.
    pub fn deactivate_account(&self, url: &str) {
        self.shared.change(|state| state.deactivate_account(url));
    }

    /// Lets the order with this URL expire, and its pending authorizations with it.
    pub fn expire_order(&self, url: &str) {
        let now = clock::now();
        self.shared.change(|state| state.expire_order(url, now));
    }

    /// Forgets the order with this URL.
    pub fn forget_order(&self, url: &str) {
        self.shared.change(|state| state.forget_order(url));
    }

    /// Resolves when `done` says so of the state. It must look at nothing but its argument: the state is locked.
    pub async fn until(&self, done: impl Fn(&State) -> bool) {
        let mut state = self.shared.state.subscribe();
        let seen = state.wait_for(|state| done(state)).await;
        drop(seen.expect("the sender lives as long as self"));
    }
}
