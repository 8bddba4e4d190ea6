//! The last failures on record, by what they are about: looked up once, not anew for each of thousands of rows.

use std::collections::BTreeMap;

use crate::core::names::DomainName;
use crate::core::names::Names;
use crate::store::ledger::Ledger;
use crate::store::ledger::Subject;
use crate::store::ledger::Wait;

/// The last failure of each name and of each certificate.
pub(super) struct Failed<'a> {
    names: BTreeMap<&'a DomainName, &'a Wait>,
    certificates: BTreeMap<&'a str, &'a Wait>,
}

impl<'a> Failed<'a> {
    pub(super) fn of(ledger: &'a Ledger) -> Self {
        let (mut names, mut certificates) = (BTreeMap::new(), BTreeMap::new());
        for (subject, wait) in ledger.waits() {
            match subject {
                Subject::Name { name, .. } | Subject::SelfCheck { name } => {
                    keep_later(&mut names, name, wait);
                }
                Subject::Attempt { certificate } | Subject::Push { certificate } => {
                    keep_later(&mut certificates, certificate.as_str(), wait);
                }
                Subject::Wake
                | Subject::Key { .. }
                | Subject::Account { .. }
                | Subject::Authority { .. }
                | Subject::Change { .. }
                | Subject::Overruled { .. } => {}
            }
        }
        Self { names, certificates }
    }

    /// The last failure of a name.
    pub(super) fn of_name(&self, name: &DomainName) -> Option<&'a Wait> {
        self.names.get(name).copied()
    }

    /// The last failure of a certificate: its own, or that of one of its names.
    pub(super) fn of_certificate(&self, names: &Names) -> Option<&'a Wait> {
        let own = self.certificates.get(names.primary().as_str()).copied();
        let of_names = names.iter().filter_map(|name| self.of_name(name));
        own.into_iter().chain(of_names).max_by_key(|wait| wait.failed_at)
    }
}

fn keep_later<'a, K: Ord>(all: &mut BTreeMap<K, &'a Wait>, key: K, wait: &'a Wait) {
    let kept = all.entry(key).or_insert(wait);
    if kept.failed_at < wait.failed_at {
        *kept = wait;
    }
}
