//! What an order and its certificate take from.

use crate::core::budget::Bucket;
use crate::core::names::DomainName;
use crate::core::names::NameSet;

/// An order, as the limits see it.
#[derive(Debug, Clone, Copy)]
pub struct OrderCost<'a> {
    /// Directory URL of the authority.
    pub directory: &'a str,
    /// URL of the account; empty before there is one.
    pub account: &'a str,
    /// What is ordered.
    pub names: &'a NameSet,
    /// Whether the same names were certified within [`RENEWAL_WITHIN`](crate::core::budget::RENEWAL_WITHIN).
    pub is_renewal: bool,
}

impl OrderCost<'_> {
    /// What the order takes from, whatever comes of it.
    pub(super) fn order(&self) -> Option<Bucket> {
        (!self.is_renewal).then(|| Bucket::Orders {
            directory: self.directory.to_owned(),
            account: self.account.to_owned(),
        })
    }

    /// What its certificate takes from: Let's Encrypt looks at these when an order is opened, and counts what it issues.
    pub(super) fn certificate(&self) -> Vec<Bucket> {
        let directory = || self.directory.to_owned();
        let mut buckets = vec![Bucket::Set { directory: directory(), names: self.names.clone() }];
        if !self.is_renewal {
            let domains = self.names.iter().map(registered_domain);
            let domains: std::collections::BTreeSet<_> = domains.collect();
            buckets.extend(
                domains.into_iter().map(|domain| Bucket::Domain { directory: directory(), domain }),
            );
        }
        buckets
    }

    /// What must not be used up besides, because the order may fail.
    pub(super) fn risks(&self) -> Vec<Bucket> {
        self.names.iter().flat_map(|name| failures_of(self.directory, self.account, name)).collect()
    }
}

pub(super) fn failures_of(directory: &str, account: &str, name: &DomainName) -> [Bucket; 2] {
    let (directory, account, name) = (directory.to_owned(), account.to_owned(), name.clone());
    [
        Bucket::Failures {
            directory: directory.clone(),
            account: account.clone(),
            name: name.clone(),
        },
        Bucket::FailuresInRow { directory, account, name },
    ]
}

/// The domain that somebody has registered, by the public suffix list as Boulder reads it: the suffix and one label.
fn registered_domain(name: &DomainName) -> String {
    psl::domain_str(name.as_str()).unwrap_or(name.as_str()).to_owned()
}
