//! `check NAME`: goes the way of a CA for one name, without a CA, and says what mends what it finds.
//!
//! DNS first, then who may issue, then a random token of ours over each address. Nothing is spent at the authority: at
//! most its directory is read, for the name by which CAA records call it.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::join_all;
use time::OffsetDateTime;

use crate::client;
use crate::client::Roots;
use crate::config::Config;
use crate::core::names::DomainName;
use crate::core::resource::Http01;
use crate::core::wanted::Wanted;
use crate::ports::Disk;
use crate::ports::Solver;
use crate::probe::Cause;
use crate::probe::FOLDER;
use crate::probe::Probe;
use crate::probe::Trouble;
use crate::probe::Visit;
use crate::probe::Way;
use crate::probe::caa;
use crate::probe::caa::Asker;
use crate::probe::caa::Record;
use crate::probe::caa::Ruling;
use crate::probe::dns;
use crate::probe::dns::Dns;
use crate::probe::dns::Family;
use crate::probe::dns::Nothing;
use crate::store::Store;
use crate::view::check::remedy::Place;
use crate::view::check::report::Grade;
use crate::view::check::report::Report;
use crate::view::check::report::Step;
use crate::view::check::report::Subject;
use crate::work::check_token;

pub mod report;
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
        let wanted = Wanted::merge(&config.domains, &labels.announcements, &labels.holders);
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

    async fn certification(&self) -> Step {
        let name = self.name.as_str();
        let mut owner = Some(name);
        while let Some(place) = owner {
            match self.dns.caa(place).await {
                Ok(records) => return self.judged(place, &records).await,
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

    async fn judged(&self, owner: &str, records: &[Record]) -> Step {
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
        let barred =
            |why: &str, mend: String| Step::fail(Subject::Caa, format!("{seen}: {why}"), mend);
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

    async fn fetch(&self, challenge: &Http01, addresses: &[IpAddr]) -> Vec<Step> {
        if let Some(host) = &self.config.self_check_address {
            let visit = self.visit(Way::Through(host.clone()), challenge).await;
            let place = format!("{host}, where SELF_CHECK_ADDRESS leads past DNS");
            let step = match &visit.end {
                Ok(()) => arrived(&place),
                Err(trouble) => self.lost(&place, trouble, None, &visit),
            };
            return vec![step.with_hops(visit.hops)];
        }
        let visits = addresses.iter().map(|address| async {
            let way =
                Way::Pinned { name: self.name.clone(), address: *address, dns: self.dns.clone() };
            (*address, self.visit(way, challenge).await)
        });
        let visits = join_all(visits).await;
        let arrives = |family: Family| {
            let mut of = visits.iter().filter(|(address, _)| Family::of(*address) == family);
            of.any(|(_, visit)| visit.end.is_ok())
        };
        let (v4, v6) = (arrives(Family::V4), arrives(Family::V6));
        let step = |(address, visit): &(IpAddr, Visit)| {
            let Err(trouble) = &visit.end else {
                return arrived(&address.to_string()).with_hops(visit.hops.clone());
            };
            let step = self.lost(&address.to_string(), trouble, Some(*address), visit);
            let falls_back = v4 && Family::of(*address) == Family::V6;
            let step = match dial(trouble).filter(|_| visit.hops.len() == 1) {
                Some(Cause::NoRoute) if v4 || v6 => Step { grade: Grade::Warn, ..step },
                Some(_) if falls_back => {
                    let says =
                        format!("{}; Let's Encrypt then tries IPv4, not every CA does", step.says);
                    Step { grade: Grade::Warn, says, ..step }
                }
                _ => step,
            };
            step.with_hops(visit.hops.clone())
        };
        visits.iter().map(step).collect()
    }

    async fn visit(&self, way: Way, challenge: &Http01) -> Visit {
        match Probe::new(way, self.config.self_check_port, self.config.connect_timeout) {
            Ok(probe) => probe.fetch(&self.name, challenge).await,
            Err(why) => Visit {
                hops: Vec::new(),
                end: Err(Trouble::Silent { url: self.name.to_string(), why, cause: Cause::Other }),
            },
        }
    }

    fn lost(&self, from: &str, trouble: &Trouble, address: Option<IpAddr>, visit: &Visit) -> Step {
        let place = Place {
            name: &self.name,
            address,
            port: self.config.self_check_port,
            webroot: &self.config.webroot,
            is_redirected: visit.hops.len() > 1,
        };
        let says = format!("{from}: {}", remedy::finding(trouble, place));
        Step::fail(Subject::Fetch, says, remedy::trouble(trouble, place))
    }
}

fn is_absent(found: &Result<Vec<IpAddr>, Nothing>) -> bool {
    matches!(found, Err(Nothing::NoName | Nothing::NoRecord))
}

/// Why no connection came about; none if one did.
fn dial(trouble: &Trouble) -> Option<Cause> {
    match trouble {
        Trouble::Silent {
            cause: cause @ (Cause::Refused | Cause::NoRoute | Cause::Dropped),
            ..
        } => Some(*cause),
        Trouble::Silent { .. }
        | Trouble::Late { .. }
        | Trouble::Redirect(_)
        | Trouble::Status { .. }
        | Trouble::Foreign { .. }
        | Trouble::Elsewhere { .. } => None,
    }
}

fn arrived(place: &str) -> Step {
    Step::ok(Subject::Fetch, format!("our token came back from {place}"))
}
