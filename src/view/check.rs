//! `check NAME`: goes the way of a CA for one name, without a CA, and says what mends what it finds.
//!
//! DNS first, then who may issue, then a random token of ours over each address. Nothing is spent at the authority: at
//! most its directory is read, for the name by which CAA records call it.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::client;
use crate::config::Config;
use crate::core::names::DomainName;
use crate::core::resource::Http01;
use crate::core::wanted::Wanted;
use crate::ports::Disk;
use crate::ports::Solver;
use crate::probe::FOLDER;
use crate::probe::dns;
use crate::probe::dns::Dns;
use crate::probe::dns::Family;
use crate::probe::dns::Nothing;
use crate::store::Store;
use crate::view::check::report::Report;
use crate::view::check::report::Step;
use crate::view::check::report::Subject;
use crate::work::check_token;

pub mod report;
mod certification;
mod fetching;
pub mod remedy;

/// Everything that one check needs.
pub struct Preflight<'a, C, D> {
    config: &'a Config,
    solver: &'a C,
    store: &'a Arc<Store<D>>,
    name: DomainName,
    dns: Dns,
}

/// What was found before anything is fetched, and the addresses of the name.
struct Found {
    steps: Vec<Step>,
    addresses: Vec<IpAddr>,
}

impl<'a, C: Solver, D: Disk> Preflight<'a, C, D> {
    /// Prepares to look at a name, asking this name server, or the system's. An error says what is wrong with either.
    pub fn new(
        config: &'a Config,
        solver: &'a C,
        store: &'a Arc<Store<D>>,
        name: &str,
        server: Option<&str>,
    ) -> Result<Self, String> {
        let limit = client::total_timeout(config.connect_timeout);
        let name = name.parse::<DomainName>();
        Ok(Self {
            config,
            solver,
            store,
            name: name.map_err(|bad| bad.to_string())?,
            dns: match server {
                Some(server) => Dns::at(dns::server(server)?, limit)?,
                None => Dns::of_system(limit)?,
            },
        })
    }

    /// Looks; it is `now`. Ends early, with nothing, when `stop` resolves; our token is taken away all the same.
    pub async fn check(
        self,
        now: OffsetDateTime,
        stop: impl Future<Output = ()>,
    ) -> Option<Report> {
        let Some(challenge) = check_token::challenge(now) else {
            let step = Step::fail(
                Subject::Token,
                "the system gives no random numbers",
                "see to /dev/urandom",
            );
            return Some(self.report(vec![step]));
        };
        let mut stop = pin!(stop);
        let found = tokio::select! {
            found = self.look() => found,
            () = &mut stop => return None,
        };
        let mut steps = found.steps;
        if found.addresses.is_empty() && self.config.self_check_address.is_none() {
            return Some(self.report(steps));
        }
        // Never left half-way: it would go on beside us, and end after we have taken the token away.
        let published = self.solver.present(&challenge).await;
        let fetched = tokio::select! {
            fetched = self.fetch_published(published, &challenge, &found.addresses) => Some(fetched),
            () = stop => None,
        };
        let withdrawn = self.solver.clean_up(&challenge.token).await;
        steps.extend(fetched?);
        if let Err(error) = withdrawn {
            let file = format!("{FOLDER}/{}", challenge.token.as_str());
            let says = format!("our token was not taken away: {error}");
            steps.push(Step::warn(Subject::Token, says, format!("remove the file {file}")));
        }
        Some(self.report(steps))
    }

    fn report(self, steps: Vec<Step>) -> Report {
        let directory = self.config.wanted_directory().to_string();
        Report::new(self.name, directory, self.dns.servers().to_owned(), steps)
    }

    async fn look(&self) -> Found {
        let (wanted, found, caa) =
            tokio::join!(self.wanted(), self.addresses(), self.certification());
        let mut steps: Vec<Step> = wanted.into_iter().collect();
        steps.extend(found.steps);
        steps.push(caa);
        Found { steps, ..found }
    }

    async fn fetch_published(
        &self,
        published: io::Result<()>,
        challenge: &Http01,
        addresses: &[IpAddr],
    ) -> Vec<Step> {
        if let Err(error) = published {
            return vec![Step::fail(
                Subject::Token,
                format!("no token can be published: {error}"),
                "CERTBOT_WEBROOT must be a folder that we may write, on the volume that nginx serves",
            )];
        }
        let path = format!("{FOLDER}/{}", challenge.token.as_str());
        let folder = self.config.webroot.display();
        let port = match self.config.self_check_port {
            80 => String::new(),
            port => format!("; it is fetched on port {port} (HOST_CHECK_PORT), a CA's port is 80"),
        };
        let says = format!("a random token was published in {folder}: {path}{port}");
        let mut steps = vec![Step::ok(Subject::Token, says)];
        steps.extend(self.fetch(challenge, addresses).await);
        steps
    }

    /// Says what to set when nobody wants a certificate for the name.
    async fn wanted(&self) -> Option<Step> {
        let config = self.config;
        let labels = match config.reads_labels {
            true => self.store.run(|store| store.labels()).await.ok().flatten(),
            false => None,
        };
        let labels = labels.unwrap_or_default();
        let wanted = Wanted::merge(&config.domains, &labels.announced(), &labels.holders);
        if wanted.names().contains(&self.name) {
            return None;
        }
        let name = &self.name;
        let (says, mend) = if config.reads_labels {
            (
                format!("{name} stands neither in DOMAINS nor, as far as is on record, in a label"),
                format!(
                    "for a certificate: DOMAINS={name}, or the label com.danieldent.rancher-lets-encrypt.hosts: {name} on its service"
                ),
            )
        } else {
            (
                format!("{name} does not stand in DOMAINS"),
                format!("for a certificate: DOMAINS={name}, or DYNAMIC_CONFIG=True and a label"),
            )
        };
        Some(Step::warn(Subject::Wanted, says, mend))
    }

    async fn addresses(&self) -> Found {
        let (a, aaaa) = tokio::join!(
            self.dns.addresses(self.name.as_str(), Family::V4),
            self.dns.addresses(self.name.as_str(), Family::V6)
        );
        let steps = match (&a, &aaaa) {
            (Err(nothing), Err(other)) if nothing == other || is_absent(&a) && is_absent(&aaaa) => {
                let says = format!("A and AAAA of {}: {nothing}", self.name);
                let mend = remedy::no_address(nothing, &self.name);
                vec![Step::fail(Subject::A, says, mend)]
            }
            _ => vec![
                self.records(Family::V4, &a, aaaa.is_ok()),
                self.records(Family::V6, &aaaa, a.is_ok()),
            ],
        };
        let addresses = aaaa.into_iter().chain(a).flatten().collect();
        Found { steps, addresses }
    }

    fn records(
        &self,
        family: Family,
        found: &Result<Vec<IpAddr>, Nothing>,
        has_others: bool,
    ) -> Step {
        let (subject, protocol) = match family {
            Family::V4 => (Subject::A, "IPv4"),
            Family::V6 => (Subject::Aaaa, "IPv6"),
        };
        let record = family.record();
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(Nothing::NoName | Nothing::NoRecord) => {
                let says = format!("{record}: none, so the CA does not come over {protocol}");
                return Step::ok(subject, says);
            }
            Err(nothing) => {
                let says = format!("{record}: {nothing}");
                let mend = remedy::no_address(nothing, &self.name);
                return match has_others {
                    true => Step::warn(subject, says, mend),
                    false => Step::fail(subject, says, mend),
                };
            }
        };
        let shown = addresses.iter().map(|address| match dns::oddness(*address) {
            Some(what) => format!("{address} ({what}, which no public CA reaches)"),
            None => address.to_string(),
        });
        let says = format!("{record}: {}", shown.collect::<Vec<_>>().join(", "));
        if addresses.iter().all(|address| dns::oddness(*address).is_none()) {
            return Step::ok(subject, says);
        }
        Step::warn(
            subject,
            says,
            format!(
                "if names lead elsewhere in this network only, ask a public name server: --dns 1.1.1.1; else correct the {record} record of {}",
                self.name
            ),
        )
    }
}

fn is_absent(found: &Result<Vec<IpAddr>, Nothing>) -> bool {
    matches!(found, Err(Nothing::NoName | Nothing::NoRecord))
}
