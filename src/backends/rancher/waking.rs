//! Whom to ask so that balancers read their certificates again, which they do only when something in the environment
//! changes.

use std::time::Duration;

use crate::core::held::CertificateId;
use crate::core::held::User;

/// What is said where somebody would have to hear, and none can be asked.
pub const NOBODY_ACTIVE: &str = "no balancer is active, nor our own service";

/// A service that can be asked to update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// As others see it.
    pub user: User,
    /// Whether it takes the `update` action at present.
    pub is_active: bool,
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Wake(User),
    /// There are balancers, and none takes the action.
    NobodyActive,
    /// There is no balancer.
    NobodyThere,
}

/// How long to wait after each look at an update that is being carried out: a minute in all. It mostly takes a second
/// or two, and longer while services that a balancer links to are changing.
pub fn looks() -> impl Iterator<Item = Duration> {
    [250, 500, 1000, 2000, 4000].into_iter().chain([5000; 11]).map(Duration::from_millis)
}

/// Chooses among the balancers where our own service cannot be asked: rather one that lists what has changed.
pub fn choose(balancers: Vec<Service>, changed: &[CertificateId]) -> Choice {
    if balancers.is_empty() {
        return Choice::NobodyThere;
    }
    let lists_changed =
        |service: &Service| service.user.certificates.iter().any(|id| changed.contains(id));
    let active = balancers.into_iter().filter(|service| service.is_active);
    active.max_by_key(lists_changed).map_or(Choice::NobodyActive, |best| Choice::Wake(best.user))
}
