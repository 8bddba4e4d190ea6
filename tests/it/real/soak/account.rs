//! What must be so after the soak, and the account of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rancher_lets_encrypt::core::certificate::CertificateChain;
use sandbox::faults::Seen;
use sandbox::rancher::certificate::Held;

use crate::real::soak::Tally;
use crate::real::soak::weather::Weather;
use crate::support::leaf;
use crate::support::tree::contents;

/// The names of a certificate.
type Names = BTreeSet<String>;

impl Weather {
    /// Waits until all is well, holds the promises against it, and says what happened.
    pub(super) async fn account(&mut self) -> String {
        self.everything_comes().await;
        let mut daemon = self.daemons.remove(0);
        daemon.settles().await;
        let text = daemon.text();
        self.check_what_is_left(&text);
        let issued = self.issued();
        for (names, count) in &issued {
            assert_eq!(*count, 1, "{names:?} were paid {count} times");
        }
        for names in self.wanted() {
            let primary = names.first().expect("a certificate has names");
            let held = self.place.scene.rancher.certificate(primary).unwrap();
            let path = format!("live/{primary}/cert.pem");
            let live = std::fs::read_to_string(self.place.store(&path)).unwrap();
            assert_eq!(leaf(&live), held.leaf(), "{primary}: {text}");
        }
        drop(daemon.stop().await);
        let mut faults = Tally::default();
        let seen: Vec<Seen> = self.ways().iter().flat_map(|faults| faults.seen()).collect();
        for fault in seen.iter().filter_map(|seen| seen.fault) {
            faults.add(fault);
        }
        format!(
            "{} certificates for {} sets of names, {} orders, {} requests; {}; faults: {faults}",
            self.place.scene.production.issued(),
            issued.len(),
            self.place.scene.production.orders(),
            seen.len(),
            self.tally,
        )
    }

    /// What services want in the end, the primary name first.
    fn wanted(&self) -> Vec<Vec<String>> {
        let labels = self.services.values().map(|(label, _)| label);
        labels.map(|label| label.split(' ').map(str::to_owned).collect()).collect()
    }

    async fn everything_comes(&self) {
        let wanted = self.wanted();
        let rancher = &self.place.scene.rancher;
        let missing = || {
            let lacks = |names: &&Vec<String>| {
                !rancher.certificate(&names[0]).is_some_and(|held| covers(&held, names))
            };
            wanted.iter().filter(lacks).cloned().collect::<Vec<_>>()
        };
        let all = rancher.until(|model| {
            let covered = |names: &Vec<String>| {
                model.certificate(&names[0]).is_some_and(|held| covers(held, names))
            };
            wanted.iter().all(covered)
        });
        if tokio::time::timeout(Duration::from_secs(120), all).await.is_err() {
            panic!("{:?} never come:\n{}", missing(), self.daemons[0].text());
        }
    }

    /// How many certificates were issued for each set of names.
    fn issued(&self) -> BTreeMap<Names, usize> {
        let made = self.place.between.authority.made();
        let orders = self.place.scene.production.issued_orders();
        assert_eq!(orders.len(), self.place.scene.production.issued());
        let mut issued = BTreeMap::new();
        for order in orders {
            let order = made.iter().find(|made| made.url.ends_with(&order));
            let order = order.expect("every order passed the proxy");
            let identifiers = order.body["identifiers"].as_array().unwrap();
            let names = identifiers.iter().map(|one| one["value"].as_str().unwrap().to_owned());
            *issued.entry(names.collect()).or_default() += 1;
        }
        issued
    }

    /// Only orders of names that nobody wants any more may be left, with their tokens.
    fn check_what_is_left(&mut self, text: &str) {
        let store = self.place.store("");
        let left: Vec<String> = contents(&store).into_keys().collect();
        let wanted = self.wanted();
        let is_gone = |path: &str| {
            !wanted.iter().any(|names| path.contains(&format!("pending/{}.json", names[0])))
        };
        let (orders, others): (Vec<&String>, Vec<&String>) = left
            .iter()
            .filter(|path| {
                path.ends_with(".tmp") || path.ends_with("wake-owed") || path.contains("/pending/")
            })
            .partition(|path| path.contains("/pending/") && is_gone(path));
        assert!(others.is_empty(), "{others:?}\n{text}");
        orders.iter().for_each(|_| self.tally.add("orders of names that are gone"));
        let tokens = self.place.scene.path("www/.well-known/acme-challenge");
        assert!(entries(&tokens) <= 2 * orders.len(), "{text}");
    }
}

fn covers(held: &Held, names: &[String]) -> bool {
    let Ok(shown) = CertificateChain::parse(&held.cert, "") else {
        return false;
    };
    let held: Vec<&str> = shown.leaf.names().collect();
    names.iter().all(|name| held.contains(&name.as_str()))
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
