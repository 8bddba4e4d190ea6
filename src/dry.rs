//! A world in which nothing changes: what is written is kept in memory, what would cost something is refused. For
//! `plan`, and for a look at the store while no daemon runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::core::bundle::Secret;
use crate::core::held::Abilities;
use crate::core::held::Activated;
use crate::core::held::Announcement;
use crate::core::held::CertificateId;
use crate::core::held::Held;
use crate::core::held::Ownership;
use crate::core::held::Retrieved;
use crate::core::held::Upload;
use crate::core::held::User;
use crate::core::held::UserId;
use crate::core::held::Which;
use crate::core::held::Words;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::problem::AuthorityError;
use crate::core::problem::DestinationError;
use crate::core::problem::NoData;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::Http01;
use crate::core::resource::Order;
use crate::core::resource::Token;
use crate::dry::overlay::Overlay;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::Clock;
use crate::ports::Destination;
use crate::ports::Solver;
use crate::ports::Source;
use crate::ports::World;

pub mod overlay;

/// The doors of a program that only looks.
pub struct Dry<S, D, C, K> {
    source: Looked<S>,
    destination: Looked<D>,
    authority: Nobody,
    solver: Looked<C>,
    disk: Arc<Overlay>,
    clock: K,
}

impl<S, D, C, K> Dry<S, D, C, K> {
    /// Looks through these doors; whether source and destination are asked for anything is said by `asks`.
    pub fn new(source: S, destination: D, asks: bool, solver: C, clock: K) -> Self {
        Self {
            source: Looked { door: source, asks },
            destination: Looked { door: destination, asks },
            authority: Nobody,
            solver: Looked { door: solver, asks: true },
            disk: Arc::default(),
            clock,
        }
    }
}

impl<S: Source, D: Destination, C: Solver, K: Clock> World for Dry<S, D, C, K> {
    type Source = Looked<S>;
    type Destination = Looked<D>;
    type Authority = Nobody;
    type Solver = Looked<C>;
    type Disk = Overlay;
    type Clock = K;

    fn source(&self) -> &Looked<S> {
        &self.source
    }

    fn destination(&self) -> &Looked<D> {
        &self.destination
    }

    fn authority(&self) -> &Nobody {
        &self.authority
    }

    fn solver(&self) -> &Looked<C> {
        &self.solver
    }

    fn disk(&self) -> &Arc<Overlay> {
        &self.disk
    }

    fn clock(&self) -> &K {
        &self.clock
    }
}

const DRY: &str = "nothing is changed, this is only a look";
const NOT_ASKED: &str = "not asked, because no daemon runs";

/// A door that is looked through, if it is asked at all, and never written to.
pub struct Looked<T> {
    door: T,
    asks: bool,
}

impl<D> Looked<D> {
    fn door(&self) -> Result<&D, DestinationError> {
        let not_asked = || DestinationError::Unavailable(NOT_ASKED.to_owned());
        self.asks.then_some(&self.door).ok_or_else(not_asked)
    }
}

fn refused<T>() -> Result<T, DestinationError> {
    Err(DestinationError::Refused(DRY.to_owned()))
}

impl<S: Source> Source for Looked<S> {
    async fn announcements(&self) -> Result<Vec<Announcement>, NoData> {
        if !self.asks {
            return Err(NoData(NOT_ASKED.to_owned()));
        }
        self.door.announcements().await
    }

    async fn changed(&self) -> Result<(), NoData> {
        std::future::pending().await
    }
}

impl<D: Destination> Destination for Looked<D> {
    fn describe(&self) -> Words {
        self.door.describe()
    }

    fn can(&self) -> Abilities {
        self.door.can()
    }

    async fn list(&self) -> Result<Vec<Held>, DestinationError> {
        self.door()?.list().await
    }

    async fn look(&self, which: Which<'_>) -> Result<Option<Held>, DestinationError> {
        self.door()?.look(which).await
    }

    async fn put(
        &self,
        _name: &str,
        _replaces: Option<&Held>,
        _upload: &Upload,
        _ownership: Option<&Ownership>,
    ) -> Result<Held, DestinationError> {
        refused()
    }

    async fn retrieve(&self, _id: &CertificateId) -> Result<Retrieved, DestinationError> {
        refused()
    }

    async fn users(&self) -> Result<Vec<User>, DestinationError> {
        self.door()?.users().await
    }

    async fn activate(&self, _changed: &[CertificateId]) -> Result<Activated, DestinationError> {
        refused()
    }

    async fn served(
        &self,
        user: &UserId,
        name: &DomainName,
    ) -> Result<Vec<SocketAddr>, DestinationError> {
        self.door()?.served(user, name).await
    }
}

impl<C: Solver> Solver for Looked<C> {
    fn supports(&self, name: &DomainName) -> bool {
        self.door.supports(name)
    }

    async fn present(&self, _challenge: &Http01) -> io::Result<()> {
        Err(io::Error::other(DRY))
    }

    async fn verify(&self, _name: &DomainName, _challenge: &Http01) -> Result<(), String> {
        Err(DRY.to_owned())
    }

    async fn clean_up(&self, _token: &Token) -> io::Result<()> {
        Ok(())
    }

    async fn presented(&self) -> io::Result<Vec<(Token, String)>> {
        self.door.presented().await
    }
}

/// An authority that is never asked.
pub struct Nobody;

fn nobody<T>() -> Result<T, AuthorityError> {
    Err(AuthorityError::unavailable(DRY))
}

impl Authority for Nobody {
    async fn register(
        &self,
        _directory: &str,
        _key: &Secret,
        _contact: Option<&str>,
    ) -> Result<String, AuthorityError> {
        nobody()
    }

    async fn time(
        &self,
        _directory: &str,
        _answered: Answered,
    ) -> Result<Option<time::OffsetDateTime>, AuthorityError> {
        Ok(None)
    }

    async fn open(&self, _account: &Account, _names: &Names) -> Result<Order, AuthorityError> {
        nobody()
    }

    async fn look(&self, _account: &Account, _order: &str) -> Result<Order, AuthorityError> {
        nobody()
    }

    async fn look_at(
        &self,
        _account: &Account,
        _order: &str,
        _authorization: &str,
    ) -> Result<Authorization, AuthorityError> {
        nobody()
    }

    async fn respond(
        &self,
        _account: &Account,
        _order: &str,
        _authorization: &str,
    ) -> Result<(), AuthorityError> {
        nobody()
    }

    async fn deactivate(
        &self,
        _account: &Account,
        _order: &str,
        _authorization: &str,
    ) -> Result<(), AuthorityError> {
        nobody()
    }

    async fn finalize(
        &self,
        _account: &Account,
        _order: &str,
        _request: &[u8],
    ) -> Result<Order, AuthorityError> {
        nobody()
    }

    async fn download(
        &self,
        _account: &Account,
        _order: &str,
        _certificate: &str,
    ) -> Result<String, AuthorityError> {
        nobody()
    }

    fn thumbprint(&self, _key: &Secret) -> Option<String> {
        None
    }
}
