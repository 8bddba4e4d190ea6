//! An ACME authority ([RFC 8555](https://www.rfc-editor.org/rfc/rfc8555)) over real TLS with real cryptography
//! and its state in memory, which behaves like Let's Encrypt's Boulder.
//!
//! - [`settings`]: how it behaves, also while it runs
//! - [`limits`]: rate limits as token buckets
//! - [`records`]: what tests get to see: accounts, orders, authorizations, certificates, validations
//! - [`state`]: all of these at one moment
//! - [`problem`]: how it says no
//!
//! Inside, a request goes through `answers` (which endpoint) and `shared` (who asks) to `accounts`, `orders`,
//! `authorizations` or `issuing`; `http01` fetches tokens by `fetch`.

pub mod limits;
pub mod problem;
pub mod records;
pub mod settings;
pub mod state;

mod accounts;
mod answers;
mod authorizations;
mod clock;
mod fetch;
mod http01;
mod issuing;
mod jws;
mod names;
mod nonces;
mod orders;
mod reply;
mod resource;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::answers::Front;
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
    server: Server,
    faults: Faults,
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
        let server = Server::start_on(listener, Some(tls.config), faults.clone(), front)?;
        let running = Running {
            server,
            faults,
            tls_root_pem: tls.root_pem,
            tasks: Arc::clone(&shared.tasks),
        };
        Ok(Self {
            shared,
            running: Arc::new(running),
        })
    }

    /// The URL that clients are given.
    pub fn directory_url(&self) -> String {
        self.shared.url(&Resource::Directory)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.server.address()
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

    /// The results of all validations, oldest first.
    pub fn validations(&self) -> Vec<Validation> {
        self.shared.state.borrow().validations().to_vec()
    }

    /// Forgets all accounts and what belongs to them, as an authority that lost its database. What was issued
    /// and validated stays on record here, and the rate limits stay spent.
    pub fn forget_accounts(&self) {
        self.shared.change(State::forget_accounts);
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
