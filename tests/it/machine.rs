//! Orders at authorities that do what others than Let's Encrypt do: each of the machine's steps that is seldom needed.

use sandbox::authority::settings::AuthoritySettings;
use sandbox::authority::settings::finalizing::Finalizing;
use sandbox::authority::settings::quirk::Quirk;
use sandbox::parts::port::Port;
use sandbox::rancher::model::Model;
use serde_json::Value;

use crate::support::Daemon;
use crate::support::Settings;
use crate::support::World;
use crate::support::look::look;

mod downloads;
mod finalize;
mod gone;
mod looks;
mod stuck;
mod told;

const NAME: &str = "a.example.com";
const OTHER: &str = "b.example.com";

impl World {
    /// What a finalize does at the production authority.
    fn finalizes(&self, quirk: Quirk<Finalizing>) {
        self.behaves(|settings| settings.finalizing = vec![quirk]);
    }

    fn behaves(&self, change: impl FnOnce(&mut AuthoritySettings)) {
        self.production.set(change);
    }

    fn wants(&self, domains: &str) -> Settings {
        self.settings().with("DOMAINS", domains)
    }

    /// Resolves when Rancher holds the newest certificate of a name; the log of the daemon is shown where it does not.
    async fn gets(&self, daemon: &Daemon, name: &str) {
        let holds = |model: &Model| {
            let leaf = model.certificate(name).map(|held| held.leaf().to_owned());
            leaf.is_some_and(|leaf| self.issued(name).last() == Some(&leaf))
        };
        daemon.brings(name, self.rancher.until(holds)).await;
    }

    #[track_caller]
    fn asked_so_far(&self, orders: usize, finalizes: usize, text: &str) {
        let asked = (self.asked("new-order"), self.asked("finalize"));
        assert_eq!(asked, (orders, finalizes), "orders and finalizes: {text}");
    }
}

/// How a certificate stands by `/status.json`.
async fn shown(port: &Port, name: &str) -> Value {
    let page = look(port, "/status.json").await;
    let status: Value = serde_json::from_str(&page.body).unwrap();
    let all = status["certificates"].as_array().unwrap();
    let own = all.iter().find(|certificate| certificate["name"] == name);
    own.unwrap_or_else(|| panic!("no {name} in {status:#}")).clone()
}
