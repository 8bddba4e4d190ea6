//! A world in which nothing changes: what is written is kept in memory, what would cost something is refused. For
//! `plan`, and for a look at the store while no daemon runs.

use std::io;
use std::sync::Arc;

use crate::core::bundle::Secret;
use crate::core::held::Announcement;
use crate::core::held::Held;
use crate::core::held::Revealed;
use crate::core::held::Service;
use crate::core::held::Upload;
use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::core::problem::AuthorityError;
use crate::core::problem::OrchestratorError;
use crate::core::resource::Account;
use crate::core::resource::Authorization;
use crate::core::resource::Http01;
use crate::core::resource::Order;
use crate::core::resource::Token;
use crate::dry::overlay::Overlay;
use crate::ports::Answered;
use crate::ports::Authority;
use crate::ports::Clock;
use crate::ports::Orchestrator;
use crate::ports::Solver;
use crate::ports::World;

pub mod overlay;

/// The doors of a program that only looks.
pub struct Dry<O, C, K> {
    orchestrator: Looked<O>,
    authority: Nobody,
    solver: Looked<C>,
    disk: Arc<Overlay>,
    clock: K,
}

impl<O, C, K> Dry<O, C, K> {
    /// Looks through these doors; without an orchestrator it is not asked for anything.
    pub fn new(orchestrator: Option<O>, solver: C, clock: K) -> Self {
        Self {
            orchestrator: Looked(orchestrator),
            authority: Nobody,
            solver: Looked(Some(solver)),
            disk: Arc::default(),
            clock,
        }
    }
}

impl<O: Orchestrator, C: Solver, K: Clock> World for Dry<O, C, K> {
    type Orchestrator = Looked<O>;
    type Authority = Nobody;
    type Solver = Looked<C>;
    type Disk = Overlay;
    type Clock = K;

    fn orchestrator(&self) -> &Looked<O> {
        &self.orchestrator
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

/// A door that is looked through and never written to.
pub struct Looked<T>(Option<T>);

impl<O: Orchestrator> Looked<O> {
    fn door(&self) -> Result<&O, OrchestratorError> {
        self.0.as_ref().ok_or_else(|| OrchestratorError::Unavailable(NOT_ASKED.to_owned()))
    }
}

fn refused<T>() -> Result<T, OrchestratorError> {
    Err(OrchestratorError::Refused(DRY.to_owned()))
}

impl<O: Orchestrator> Orchestrator for Looked<O> {
    async fn announcements(&self) -> Result<Vec<Announcement>, OrchestratorError> {
        self.door()?.announcements().await
    }

    async fn changed(&self) {
        std::future::pending().await
    }

    async fn certificates(&self) -> Result<Vec<Held>, OrchestratorError> {
        self.door()?.certificates().await
    }

    async fn look(&self, id: &str) -> Result<Option<Held>, OrchestratorError> {
        self.door()?.look(id).await
    }

    async fn find(&self, name: &str) -> Result<Vec<Held>, OrchestratorError> {
        self.door()?.find(name).await
    }

    async fn create(&self, _name: &str, _upload: &Upload) -> Result<Held, OrchestratorError> {
        refused()
    }

    async fn replace(&self, _id: &str, _upload: &Upload) -> Result<Held, OrchestratorError> {
        refused()
    }

    async fn reveal(&self, _id: &str) -> Result<Revealed, OrchestratorError> {
        refused()
    }

    async fn balancers(&self) -> Result<Vec<Service>, OrchestratorError> {
        self.door()?.balancers().await
    }

    async fn own_service(&self) -> Result<Option<Service>, OrchestratorError> {
        self.door()?.own_service().await
    }

    async fn wake(&self, _id: &str) -> Result<(), OrchestratorError> {
        refused()
    }
}

impl<C: Solver> Solver for Looked<C> {
    fn supports(&self, name: &DomainName) -> bool {
        self.0.as_ref().is_some_and(|door| door.supports(name))
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
        match &self.0 {
            Some(door) => door.presented().await,
            None => Ok(Vec::new()),
        }
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

    async fn tell(
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
