//! Whom to ask so that balancers read their certificates again, which they do only when something in the environment
//! changes.

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
