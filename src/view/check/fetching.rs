//! Our token, fetched over each address of the name as the CA would.

use std::net::IpAddr;

use futures_util::future::join_all;

use crate::core::resource::Http01;
use crate::ports::Disk;
use crate::ports::Solver;
use crate::probe::Cause;
use crate::probe::Probe;
use crate::probe::Trouble;
use crate::probe::Visit;
use crate::probe::Way;
use crate::probe::dns::Family;
use crate::view::check::Preflight;
use crate::view::check::remedy;
use crate::view::check::remedy::Place;
use crate::view::check::report::Grade;
use crate::view::check::report::Step;
use crate::view::check::report::Subject;

impl<C: Solver, D: Disk> Preflight<'_, C, D> {
    pub(super) async fn fetch(&self, challenge: &Http01, addresses: &[IpAddr]) -> Vec<Step> {
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
        | Trouble::Hidden { .. }
        | Trouble::Elsewhere { .. } => None,
    }
}

fn arrived(place: &str) -> Step {
    Step::ok(Subject::Fetch, format!("our token came back from {place}"))
}
