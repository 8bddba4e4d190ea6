//! Decisions of the running daemon: what it does about a certificate, what it leaves alone, and what it says.

use std::path::Path;
use std::process::Command;

use ring::digest::SHA256;
use ring::digest::digest;
use sandbox::certs;
use sandbox::certs::Pair;
use sandbox::rancher::certificate::Held;
use serde_json::Value;
use time::Duration;
use time::OffsetDateTime;

use crate::support::Daemon;
use crate::support::World;
use crate::support::guarded;

mod first;
mod foreign;
mod keys;
mod lost;
mod names;
mod places;
mod renewal;
mod staging;
mod upgrade;

const A: &str = "a.example.com";
const B: &str = "b.example.com";
const C: &str = "c.example.com";

#[expect(clippy::disallowed_methods, reason = "certificates of tests are dated from here")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A certificate of a company, so many days old and with so many days left.
fn bought(names: &[&str], age: i64, left: i64) -> Pair {
    certs::bought(names, now() - Duration::days(age), now() + Duration::days(left))
}

impl World {
    /// A certificate that an operator pasted into Rancher. Answers its id.
    fn paste(&self, name: &str, pair: &Pair, description: Option<&str>) -> String {
        let chain = (!pair.chain_pem.is_empty()).then_some(pair.chain_pem.as_str());
        self.rancher.add_certificate(name, &pair.cert_pem, chain, &pair.key_pem, description)
    }

    fn held(&self, name: &str) -> Held {
        let held = self.rancher.certificate(name);
        held.unwrap_or_else(|| panic!("Rancher has no `{name}`"))
    }

    fn description(&self, name: &str) -> String {
        self.held(name).description.unwrap_or_default()
    }

    /// How often a certificate was made or changed at Rancher, by whichever answer.
    fn writes(&self) -> usize {
        let faults = self.rancher.faults();
        faults.count("create-certificate") + faults.count("put-certificate")
    }

    /// How often Rancher was asked for a private key.
    fn reveals(&self) -> usize {
        self.rancher.faults().count("reveal-certificate")
    }

    /// How often the authorities were asked for anything.
    fn asked_anything(&self) -> usize {
        self.production.faults().seen().len() + self.staging.faults().seen().len()
    }

    /// Resolves when the production authority has issued so many certificates for a name.
    async fn issues(&self, name: &str, count: usize) {
        let has_issued = |state: &sandbox::authority::state::State| {
            let covers = |names: &[String]| names.iter().any(|own| own == name);
            let issued = state.issued().iter();
            issued.filter(|issued| covers(&issued.names)).count() >= count
        };
        guarded(&format!("certificate {count} of {name}"), self.production.until(has_issued)).await;
    }

    /// Resolves when Rancher holds the last of so many production certificates for a name.
    async fn reissued(&self, name: &str, count: usize) {
        self.issues(name, count).await;
        self.pushed(name).await;
    }

    /// How long production certificates last, and how far back they begin.
    fn lasting(&self, lifetime: Duration, backdate: Duration) {
        self.production.set(|settings| {
            settings.lifetime = lifetime.try_into().unwrap();
            settings.backdate = backdate.try_into().unwrap();
        });
    }

    /// The volume is gone, and a new one is there.
    fn lose_volume(&self) {
        std::fs::remove_dir_all(self.store()).unwrap();
        std::fs::create_dir(self.store()).unwrap();
    }

    fn back_up_volume(&self, to: &str) {
        copy(&self.store(), &self.path(to));
    }

    fn restore_volume(&self, from: &str) {
        std::fs::remove_dir_all(self.store()).unwrap();
        copy(&self.path(from), &self.store());
    }

    /// SHA-256 of the leaf that the live view shows.
    fn live_leaf(&self, lineage: &str) -> String {
        let text = std::fs::read_to_string(self.live(lineage, "cert.pem")).unwrap();
        hex(digest(&SHA256, pem::parse(text).unwrap().contents()).as_ref())
    }

    /// Where both sides stand when all is well: the newest production certificate for a name, here and there.
    #[track_caller]
    fn assert_newest_everywhere(&self, name: &str) {
        let newest = self.issued(name).pop().expect("one was issued");
        assert_eq!(self.live_leaf(name), newest, "in the store");
        assert_eq!(self.held(name).leaf(), newest, "at Rancher");
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_decision(line: &Value, name: &str, action: &str, reason: &str) -> bool {
    let says = |field: &str, text: &str| line[field].as_str() == Some(text);
    let has_reason = line["reason"].as_str().is_some_and(|said| said.contains(reason));
    says("message", "decided") && says("domain", name) && says("action", action) && has_reason
}

impl Daemon {
    /// Waits for the next decision about a certificate that is this one, for this reason.
    async fn decides(&mut self, name: &str, action: &str, reason: &str) -> Value {
        self.next(&format!("{name}: {action}, {reason}"), |line| {
            is_decision(line, name, action, reason)
        })
        .await
    }

    /// Whether it has decided so at any time.
    fn has_decided(&self, name: &str, action: &str, reason: &str) -> bool {
        let lines = self.log();
        lines.iter().any(|line| is_decision(line, name, action, reason))
    }
}
