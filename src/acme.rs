//! The authority port over instant-acme: one request a call, nothing waits, nothing is tried again but a refused nonce.
//!
//! Resources are addressed by URL. Orders that were opened or looked at are kept in memory with the state that
//! instant-acme needs, so that no request is made twice; after a restart the first look brings it back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::AccountBuilder;
use instant_acme::AuthorizationHandle;
use instant_acme::Authorizations;
use instant_acme::ChallengeType;
use instant_acme::Identifier;
use instant_acme::Key;
use instant_acme::NewOrder;
use reqwest::Client;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::acme::dates::Dates;
use crate::acme::transport::Nonces;
use crate::acme::transport::Transport;
use crate::acme::transport::asked;
use crate::acme::transport::asked_at;
use crate::acme::transport::asked_in_hand;
use crate::bundle::Secret;
use crate::names::Names;
use crate::ports::Account;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::AuthorityError;
use crate::ports::Authorization;
use crate::ports::AuthorizationStatus;
use crate::ports::Http01;
use crate::ports::Order;
use crate::ports::OrderStatus;
use crate::ports::RetryAfter;
use crate::ports::Token;
use crate::reaction::Trouble;

mod dates;
mod problem;
mod thumbprint;
mod transport;

/// A directory may change its URLs; it is fetched again after this time.
const SESSION_TIME: Duration = Duration::from_secs(3600);

/// Whoever waited for the directory while it could not be fetched gets the same answer.
const SHARED_FAILURE: Duration = Duration::from_secs(1);

/// ACME authorities, reached over HTTPS.
pub struct AcmeAuthority {
    client: Client,
    dates: Dates,
    /// Each by its own: one that does not answer keeps nobody from another.
    directories: Mutex<BTreeMap<String, Arc<Mutex<Directory>>>>,
}

#[derive(Default)]
struct Directory {
    by_account: BTreeMap<String, Arc<Session>>,
    failure: Option<(Instant, AuthorityError)>,
}

/// A directory that was fetched, an account, its nonces and the orders that were seen.
struct Session {
    account: instant_acme::Account,
    made: Instant,
    orders: Mutex<BTreeMap<String, Handle>>,
}

type Handle = Arc<Mutex<instant_acme::Order>>;

impl AcmeAuthority {
    /// Authorities that are reached by this client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            dates: Dates::default(),
            directories: Mutex::default(),
        }
    }

    fn transport(&self, nonces: Nonces) -> Transport {
        Transport::new(self.client.clone(), nonces, self.dates.clone())
    }

    fn builder(&self) -> AccountBuilder {
        let transport = self.transport(Nonces::default());
        instant_acme::Account::builder_with_http(Box::new(transport))
    }

    async fn directory(&self, url: &str) -> Arc<Mutex<Directory>> {
        let mut directories = self.directories.lock().await;
        Arc::clone(directories.entry(url.to_owned()).or_default())
    }

    async fn session(&self, account: &Account) -> Result<Arc<Session>, AuthorityError> {
        let directory = self.directory(&account.directory).await;
        let mut directory = directory.lock().await;
        if let Some(session) = directory
            .by_account
            .get(&account.url)
            .filter(|session| session.made.elapsed() < SESSION_TIME)
        {
            return Ok(Arc::clone(session));
        }
        directory.failed_just_now()?;
        let parts = self.builder().from_parts(
            account.url.clone(),
            pkcs8(&account.key)?,
            account.directory.clone(),
        );
        // Nothing but the directory is fetched, so whatever fails is no refusal of ours.
        let made = asked_at(&account.directory, parts).await.map_err(|error| {
            if matches!(error, AuthorityError::Unavailable { .. }) {
                return error;
            }
            let detail = format!("{}: {error}", account.directory);
            AuthorityError::Unavailable {
                retry_after: None,
                detail,
            }
        });
        directory.note_failure(&made);
        let session = Session::new(made?);
        let url = account.url.clone();
        directory.by_account.insert(url, Arc::clone(&session));
        Ok(session)
    }

    /// The order with what is known of it, and whether it was fetched just now.
    async fn order(
        &self,
        account: &Account,
        url: &str,
    ) -> Result<(Handle, Option<Option<RetryAfter>>), AuthorityError> {
        let session = self.session(account).await?;
        if let Some(handle) = session.orders.lock().await.get(url) {
            return Ok((Arc::clone(handle), None));
        }
        let (order, retry_after) = asked(session.account.order(url.to_owned())).await?;
        Ok((session.keep(order).await, Some(retry_after)))
    }
}

impl Directory {
    fn failed_just_now(&self) -> Result<(), AuthorityError> {
        match &self.failure {
            Some((at, error)) if at.elapsed() < SHARED_FAILURE => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn note_failure<T>(&mut self, fetched: &Result<T, AuthorityError>) {
        if let Err(error) = fetched {
            self.failure = Some((Instant::now(), error.clone()));
        }
    }
}

impl Session {
    fn new(account: instant_acme::Account) -> Arc<Self> {
        Arc::new(Self {
            account,
            made: Instant::now(),
            orders: Mutex::default(),
        })
    }

    async fn keep(&self, order: instant_acme::Order) -> Handle {
        let url = order.url().to_owned();
        let handle = Arc::new(Mutex::new(order));
        self.orders.lock().await.insert(url, Arc::clone(&handle));
        handle
    }
}

/// The authorization at this place in the order's list, with its state as it was when it was looked at last.
async fn nth<'a>(
    authorizations: &'a mut Authorizations<'_>,
    position: usize,
) -> Result<AuthorizationHandle<'a>, instant_acme::Error> {
    for _ in 0..position {
        if let Some(before) = authorizations.next().await {
            before?;
        }
    }
    authorizations
        .next()
        .await
        .unwrap_or(Err(instant_acme::Error::Str(
            "the order has fewer authorizations",
        )))
}

fn position(order: &mut instant_acme::Order, authorization: &str) -> Result<usize, AuthorityError> {
    let listed = &order.state().authorizations;
    listed
        .iter()
        .position(|listed| listed.url == authorization)
        .ok_or_else(|| {
            AuthorityError::Gone("the order does not list this authorization".to_owned())
        })
}

impl Authority for AcmeAuthority {
    async fn register(
        &self,
        directory: &str,
        key: &Secret,
        contact: Option<&str>,
    ) -> Result<String, AuthorityError> {
        let der = pkcs8(key)?;
        let key = Key::from_pkcs8_der(der.clone_key()).map_err(|error| unusable_key(&error))?;
        let create = self
            .builder()
            .create_from_key((key, PrivateKeyDer::Pkcs8(der)), directory.to_owned());
        let (account, _) = asked_at(directory, create).await?;
        let url = account.id().to_owned();
        if let Some(contact) = contact {
            let contact = format!("mailto:{contact}");
            // The account works without: Let's Encrypt does not even keep it.
            if let Err(error) = asked(account.update_contacts(&[&contact])).await {
                let advice = if let AuthorityError::Refused(problem) = &error {
                    Trouble::of_refusal(problem).advice()
                } else {
                    None
                };
                tracing::warn!(directory, %error, advice, "contact not accepted by the authority");
            }
        }
        let directory = self.directory(directory).await;
        let mut directory = directory.lock().await;
        directory
            .by_account
            .insert(url.clone(), Session::new(account));
        Ok(url)
    }

    async fn time(
        &self,
        directory: &str,
        answered: Answered,
    ) -> Result<Option<OffsetDateTime>, AuthorityError> {
        if answered == Answered::Before
            && let Some(time) = self.dates.at(directory)
        {
            return Ok(Some(time));
        }
        let kept = self.directory(directory).await;
        let mut kept = kept.lock().await;
        kept.failed_just_now()?;
        let fetched = self.transport(Nonces::default()).fetch(directory).await;
        kept.note_failure(&fetched);
        fetched?;
        Ok(self.dates.at(directory))
    }

    async fn open(&self, account: &Account, names: &Names) -> Result<Order, AuthorityError> {
        let session = self.session(account).await?;
        let identifiers: Vec<_> = names
            .iter()
            .map(|name| Identifier::Dns(name.to_string()))
            .collect();
        let (order, retry_after) =
            asked(session.account.new_order(&NewOrder::new(&identifiers))).await?;
        let handle = session.keep(order).await;
        let order = view(&mut *handle.lock().await, retry_after);
        Ok(order)
    }

    async fn look(&self, account: &Account, order: &str) -> Result<Order, AuthorityError> {
        let (handle, fetched) = self.order(account, order).await?;
        let mut order = handle.lock().await;
        let retry_after = match fetched {
            Some(retry_after) => retry_after,
            None => asked(async { order.refresh().await.map(drop) }).await?.1,
        };
        Ok(view(&mut order, retry_after))
    }

    async fn look_at(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<Authorization, AuthorityError> {
        let (handle, _) = self.order(account, order).await?;
        let mut order = handle.lock().await;
        let position = position(&mut order, authorization)?;
        let was_known = order.state().authorizations[position].state.is_some();
        let mut authorizations = order.authorizations();
        let look = async {
            let mut found = nth(&mut authorizations, position).await?;
            if was_known {
                found.refresh().await?;
            }
            view_authorization(found)
        };
        let (view, retry_after) = asked(look).await?;
        Ok(Authorization {
            retry_after,
            ..view
        })
    }

    async fn tell(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let (handle, _) = self.order(account, order).await?;
        let mut order = handle.lock().await;
        let position = position(&mut order, authorization)?;
        let mut authorizations = order.authorizations();
        let tell = async {
            let mut found = nth(&mut authorizations, position).await?;
            match found.challenge(ChallengeType::Http01) {
                // An error inside a good answer is a challenge that has failed already: a look tells why.
                Some(mut challenge) => match challenge.set_ready().await {
                    Err(instant_acme::Error::Api(_)) if transport::was_success() => Ok(()),
                    told => told,
                },
                None => Err(instant_acme::Error::Str(
                    "the authorization has no HTTP-01 challenge",
                )),
            }
        };
        let told = asked_in_hand(tell, AuthorityError::AlreadyTold);
        told.await.map(drop)
    }

    async fn deactivate(
        &self,
        account: &Account,
        order: &str,
        authorization: &str,
    ) -> Result<(), AuthorityError> {
        let (handle, _) = self.order(account, order).await?;
        let mut order = handle.lock().await;
        let position = position(&mut order, authorization)?;
        let mut authorizations = order.authorizations();
        let deactivate = async {
            nth(&mut authorizations, position)
                .await?
                .deactivate()
                .await
                .map(drop)
        };
        asked(deactivate).await.map(drop)
    }

    async fn finalize(
        &self,
        account: &Account,
        order: &str,
        request: &[u8],
    ) -> Result<Order, AuthorityError> {
        let (handle, _) = self.order(account, order).await?;
        let mut order = handle.lock().await;
        // A look at the order tells what has become of it.
        let finalize = asked_in_hand(order.finalize_csr(request), AuthorityError::NotReady);
        let ((), retry_after) = finalize.await?;
        Ok(view(&mut order, retry_after))
    }

    async fn download(&self, account: &Account, order: &str) -> Result<String, AuthorityError> {
        let (handle, _) = self.order(account, order).await?;
        let chain = {
            let mut order = handle.lock().await;
            if order.state().certificate.is_none() {
                asked(async { order.refresh().await.map(drop) }).await?;
            }
            asked(order.certificate()).await?.0
        };
        let chain = chain
            .ok_or_else(|| AuthorityError::NotReady("the certificate is not ready".to_owned()))?;
        // Nothing more is asked about it.
        self.session(account)
            .await?
            .orders
            .lock()
            .await
            .remove(order);
        Ok(chain)
    }

    fn thumbprint(&self, key: &Secret) -> Option<String> {
        thumbprint::of(key)
    }
}

fn pkcs8(key: &Secret) -> Result<PrivatePkcs8KeyDer<'static>, AuthorityError> {
    PrivatePkcs8KeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|error| unusable_key(&error))
}

fn unusable_key(error: &dyn std::error::Error) -> AuthorityError {
    AuthorityError::Refused(problem::local(
        "accountKey",
        &format!("the account key on record cannot be used: {error}"),
    ))
}

fn view(order: &mut instant_acme::Order, retry_after: Option<RetryAfter>) -> Order {
    let url = order.url().to_owned();
    let state = order.state();
    Order {
        url,
        status: match state.status {
            instant_acme::OrderStatus::Pending => OrderStatus::Pending,
            instant_acme::OrderStatus::Ready => OrderStatus::Ready,
            instant_acme::OrderStatus::Processing => OrderStatus::Processing,
            instant_acme::OrderStatus::Valid => OrderStatus::Valid,
            instant_acme::OrderStatus::Invalid => OrderStatus::Invalid,
        },
        authorizations: state
            .authorizations
            .iter()
            .map(|authorization| authorization.url.clone())
            .collect(),
        error: state.error.as_ref().map(problem::from),
        retry_after,
    }
}

fn view_authorization(
    found: AuthorizationHandle<'_>,
) -> Result<Authorization, instant_acme::Error> {
    use instant_acme::AuthorizationStatus as Status;
    let url = found.url().to_owned();
    let status = match found.status {
        Status::Pending => AuthorizationStatus::Pending,
        Status::Valid => AuthorizationStatus::Valid,
        Status::Invalid => AuthorizationStatus::Invalid,
        Status::Revoked | Status::Expired | Status::Deactivated => AuthorizationStatus::Over,
    };
    let name = if let Identifier::Dns(name) = found.identifier().identifier {
        name.parse().ok()
    } else {
        None
    };
    let name = name.ok_or(instant_acme::Error::Str(
        "the authorization is not about a domain name",
    ))?;
    // A new binding may live shorter than the handle, which the borrow below needs.
    let mut found = found;
    let handle = found.challenge(ChallengeType::Http01);
    let error = handle
        .as_ref()
        .and_then(|challenge| challenge.error.as_ref())
        .map(problem::from);
    let challenge = handle.and_then(|challenge| {
        let token = Token::try_from(challenge.token.clone()).ok()?;
        Some(Http01 {
            token,
            key_authorization: challenge.key_authorization().as_str().to_owned(),
        })
    });
    Ok(Authorization {
        url,
        name,
        status,
        challenge,
        error,
        retry_after: None,
    })
}
