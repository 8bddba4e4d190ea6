//! What the authority was asked, and requests that wait for the test.

use std::time::Duration;

use sandbox::faults::Gate;
use sandbox::faults::Seen;
use sandbox::faults::What;

use super::World;

/// How the daemon calls itself.
pub(crate) const OWN_NAME: &str = "rancher-lets-encrypt/";

/// Whether it is the authority that fetches a token, not our own check.
pub(crate) fn is_validation(seen: &Seen) -> bool {
    seen.endpoint == "challenge" && !seen.user_agent.starts_with(OWN_NAME)
}

impl World {
    /// How often the production authority was asked at an endpoint.
    pub(crate) fn asked(&self, endpoint: &str) -> usize {
        self.production.faults().count(endpoint)
    }

    /// The same about exactly these names, joined by commas.
    pub(crate) fn asked_about(&self, endpoint: &str, names: &str) -> usize {
        let seen = self.production.faults().seen();
        let is_about = |seen: &&Seen| seen.endpoint == endpoint && seen.subject == names;
        seen.iter().filter(is_about).count()
    }

    /// The next request to an endpoint of the production authority waits before anything is done, or behind it with
    /// its answer.
    pub(crate) fn gates(&self, endpoint: &'static str, what: impl FnOnce(Gate) -> What) -> Gate {
        let gate = Gate::new();
        self.production.faults().add(endpoint, 1, what(gate.clone()));
        gate
    }

    /// The authority's validations of a name wait.
    pub(crate) fn holds_validations_of(&self, name: &'static str) -> Gate {
        let gate = Gate::new();
        let is_held = move |seen: &Seen| is_validation(seen) && seen.subject == name;
        let faults = self.web.faults();
        faults.add_when(is_held, 0, u32::MAX, What::Hold(gate.clone()));
        self.production.set(|settings| settings.validation_timeout = Duration::from_secs(60));
        gate
    }

    /// The challenge files that are published.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let folder = self.webroot().join(".well-known/acme-challenge");
        let files = std::fs::read_dir(folder).into_iter().flatten();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}
