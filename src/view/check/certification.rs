//! Whether the CA may certify the name: what its CAA records say, and who the CA is to them.

use crate::client;
use crate::client::Roots;
use crate::ports::Disk;
use crate::ports::Solver;
use crate::probe::caa;
use crate::probe::caa::Asker;
use crate::probe::caa::Record;
use crate::probe::caa::Ruling;
use crate::probe::dns::Nothing;
use crate::view::check::Preflight;
use crate::view::check::remedy;
use crate::view::check::report::Step;
use crate::view::check::report::Subject;

impl<C: Solver, D: Disk> Preflight<'_, C, D> {
    pub(super) async fn certification(&self) -> Step {
        let name = self.name.as_str();
        let mut owner = Some(name);
        while let Some(place) = owner {
            match self.dns.caa(place).await {
                Ok((owner, records)) => return self.judged(place, &owner, &records).await,
                Err(Nothing::NoName | Nothing::NoRecord) => {}
                Err(nothing) => {
                    return Step::fail(
                        Subject::Caa,
                        format!(
                            "CAA of {place}: {nothing}; a CA that cannot read these records refuses"
                        ),
                        remedy::no_address(&nothing, &self.name),
                    );
                }
            }
            owner = place.split_once('.').map(|(_, parent)| parent);
        }
        let says = format!("CAA: no record at {name} or above it, every CA may issue");
        Step::ok(Subject::Caa, says)
    }

    /// Judges the records at `owner`, which were found by asking for `asked`.
    async fn judged(&self, asked: &str, owner: &str, records: &[Record]) -> Step {
        let directory = self.config.wanted_directory().as_str();
        let limits = records.iter().any(|record| record.tag == "issue");
        let identities = match self.config.caa_identity() {
            Some(identity) => Ok(vec![identity.to_owned()]),
            None if limits => self.identities().await,
            None => Ok(Vec::new()),
        };
        let accounts = self.store.run(|store| store.accounts()).await;
        let accounts = accounts.unwrap_or_default();
        let account = accounts
            .iter()
            .find(|account| account.directory == directory)
            .and_then(|account| account.url.as_deref());
        let ruling = caa::judge(records, Asker { identities: identities.as_deref().ok(), account });
        let shown: Vec<String> = records.iter().map(Record::to_string).collect();
        let seen = format!("CAA of {owner} ({})", shown.join(", "));
        let identity = identities.as_ref().ok().and_then(|all| all.first());
        let issue = match identity {
            Some(identity) => format!("0 issue \"{identity}\""),
            None => "0 issue \"NAME-OF-THE-CA\"".to_owned(),
        };
        let add = format!("add the CAA record `{owner}. CAA {issue}`");
        let barred = |why: &str, mend: String| {
            let mend = remedy::caa(self.name.as_str(), asked, owner, &issue, mend);
            Step::fail(Subject::Caa, format!("{seen}: {why}"), mend)
        };
        match ruling {
            Ruling::Open => Step::ok(Subject::Caa, format!("{seen}: every CA may issue")),
            Ruling::Allowed(identity) => {
                Step::ok(Subject::Caa, format!("{seen}: {identity} may issue"))
            }
            Ruling::Unknown => Step::warn(
                Subject::Caa,
                format!(
                    "{seen}: whether this CA may issue is not known ({})",
                    identities.err().unwrap_or_default()
                ),
                format!("one of them must name the CA of {directory}: ask it for its CAA identity"),
            ),
            Ruling::OneAccount(url) => Step::warn(
                Subject::Caa,
                format!("{seen}: only the account {url} may issue, and ours is not made yet"),
                "the first order makes our account; then its address belongs into that record (accounturi)",
            ),
            Ruling::OtherAccount(url) => barred(
                &format!("only the account {url} may issue"),
                format!(
                    "its accounturi must be that of our account, {}",
                    account.unwrap_or("which is not made yet")
                ),
            ),
            Ruling::OtherMethods(methods) => barred(
                &format!("only the validation methods `{methods}` may be used, not http-01"),
                "its validationmethods must list http-01".to_owned(),
            ),
            Ruling::OtherAuthorities => barred("this CA may not issue", add),
            Ruling::Critical(tag) => barred(
                &format!("`{tag}` is marked critical, and a CA that does not know it must refuse"),
                format!("remove the record `{tag}`, or its critical flag"),
            ),
        }
    }

    /// Reads from the directory by which names CAA records call the authority.
    async fn identities(&self) -> Result<Vec<String>, String> {
        const LARGEST: usize = 64 * 1024;
        let config = self.config;
        let roots =
            Roots { is_extra_only: config.acme_ca.is_some(), extra: config.acme_ca.clone() };
        let client = client::with_roots(client::builder(config.connect_timeout), &roots)?;
        let client = client.build().map_err(|error| client::explain(&error))?;
        let url = config.wanted_directory();
        let response = client.get(url.clone()).send().await;
        let response = response.map_err(|error| client::explain(&error))?;
        let body = client::read(response, LARGEST).await?;
        let directory: serde_json::Value =
            serde_json::from_slice(&body).map_err(|_| format!("{url} is no directory"))?;
        let identities = directory["meta"]["caaIdentities"].as_array();
        let identities: Vec<String> = identities
            .into_iter()
            .flatten()
            .filter_map(|identity| Some(identity.as_str()?.to_owned()))
            .collect();
        if identities.is_empty() {
            return Err(format!("{url} names no CAA identity"));
        }
        Ok(identities)
    }
}
