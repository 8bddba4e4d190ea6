//! What attempts work on at present, so that no two work on the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::core::names::DomainName;
use crate::core::names::NameSet;
use crate::ports::World;
use crate::work::context::Context;

/// Something that one attempt at a time may work on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A folder of the store.
    Lineage(String),
    /// A certificate of these names from an authority.
    Names {
        /// Directory URL of the authority.
        directory: String,
        /// The names.
        names: NameSet,
    },
    /// A name that a certificate at the destination gives up, because another one there covers it.
    GivenUp(DomainName),
}

impl Claim {
    /// A folder of the store.
    pub fn lineage(name: &str) -> Self {
        Self::Lineage(name.to_owned())
    }
}

/// What an attempt has claimed; free again when this is dropped.
#[derive(Debug)]
pub struct Claimed {
    claims: Vec<Claim>,
    all: Arc<Mutex<BTreeSet<Claim>>>,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in &self.claims {
            all.remove(claim);
        }
    }
}

impl<W: World> Context<W> {
    /// Claims all of these for one attempt; none if another has one of them.
    pub fn claim(&self, claims: Vec<Claim>) -> Option<Claimed> {
        let mut all = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.iter().any(|claim| all.contains(claim)) {
            return None;
        }
        all.extend(claims.iter().cloned());
        Some(Claimed { claims, all: Arc::clone(&self.claims) })
    }

    /// Whether an attempt works on this.
    pub fn is_claimed(&self, claim: &Claim) -> bool {
        let all = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(claim)
    }
}
