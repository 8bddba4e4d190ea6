//! What a look found, in plain words, and what mends it: which record, which rule of a balancer, which label, which door.

use std::net::IpAddr;
use std::path::Path;

use reqwest::StatusCode;

use crate::core::names::DomainName;
use crate::probe::Cause;
use crate::probe::Trouble;
use crate::probe::dns::Family;
use crate::probe::dns::Nothing;

/// How the challenge path is led to us.
pub const RULE: &str = "/.well-known/acme-challenge/ on port 80 must lead to lets-encrypt/letsencrypt-nginx before every other rule (priority 1)";

/// Where a look went.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The name.
    pub name: &'a DomainName,
    /// The address of it; none if `SELF_CHECK_ADDRESS` led elsewhere.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Our folder.
    pub webroot: &'a Path,
    /// Whether redirects were followed before it went wrong.
    pub is_redirected: bool,
}

impl Place<'_> {
    /// The record or setting that led there.
    fn pointer(&self) -> String {
        match self.address {
            Some(address) => {
                format!("the {} record of {}", Family::of(address).record(), self.name)
            }
            None => "SELF_CHECK_ADDRESS".to_owned(),
        }
    }

    fn target(&self) -> String {
        match self.address {
            Some(address) => address.to_string(),
            None => "that address".to_owned(),
        }
    }
}

/// What came instead of our token, in plain words.
pub fn finding(trouble: &Trouble, place: Place<'_>) -> String {
    let there = match place.is_redirected {
        true => "that port".to_owned(),
        false => format!("port {}", place.port),
    };
    let (url, found) = match trouble {
        // It names what redirected.
        Trouble::Redirect(text) => return text.clone(),
        Trouble::Silent { url, why, cause } => {
            let cause = match cause {
                Cause::Refused => format!("nobody listens on {there} (connection refused)"),
                Cause::Dropped => format!("no connection to {there} ({})", innermost(why)),
                Cause::NoRoute => format!("this host has no way there ({})", innermost(why)),
                Cause::Other => format!("no answer ({})", innermost(why)),
            };
            (url, cause)
        }
        Trouble::Late { url, limit } => {
            let seconds = limit.as_secs();
            (url, format!("connected, but no answer within {seconds} s"))
        }
        Trouble::Status { url, status } => (url, format!("answered {status}")),
        Trouble::Foreign { url, body } => {
            let found = format!("answered something else than our token (`{body}`)");
            (url, found)
        }
        Trouble::Hidden { url, status, size } => {
            (url, format!("answered {status}, {size}, not the token (from an internal address)"))
        }
        Trouble::Elsewhere { url } => {
            let found = "another server answered something else than our token";
            (url, found.to_owned())
        }
    };
    // The first URL was told with the token.
    match place.is_redirected {
        true => format!("redirected to {url}: {found}"),
        false => found,
    }
}

/// The last of the causes of an error; those before it are the HTTP client's own affairs.
fn innermost(why: &str) -> &str {
    why.rsplit(": ").next().unwrap_or(why)
}

/// What mends a look that did not find our token.
pub fn trouble(trouble: &Trouble, place: Place<'_>) -> String {
    match trouble {
        Trouble::Redirect(_) => format!(
            "let no redirect take the challenge path along: {RULE}, also before the one that redirects to https"
        ),
        _ if place.is_redirected => format!(
            "a redirect took the challenge path along, and it ends elsewhere: {RULE}, also before the one that redirects to https"
        ),
        Trouble::Silent { cause, .. } => silence(*cause, place),
        Trouble::Late { .. } => format!(
            "{} takes connections and then does not answer: see to the balancer there; {RULE}",
            place.target()
        ),
        Trouble::Status { status, .. } => refusal(*status, place),
        Trouble::Foreign { .. } | Trouble::Hidden { .. } | Trouble::Elsewhere { .. } => format!(
            "if {} is our balancer: {RULE}; if it is not: correct {}",
            place.target(),
            place.pointer()
        ),
    }
}

fn silence(cause: Cause, place: Place<'_>) -> String {
    let (target, pointer, port) = (place.target(), place.pointer(), place.port);
    match cause {
        Cause::Refused => {
            format!("run the balancer on {target} with port {port} published, or correct {pointer}")
        }
        Cause::Dropped => format!(
            "open port {port} of {target} in its firewall, or correct {pointer}; if only this network does not reach it (hairpin NAT): SELF_CHECK_ADDRESS"
        ),
        Cause::NoRoute => format!(
            "this host has no way to {target}, but the CA has: look from a host with that kind of address, or remove {pointer} if nobody answers there"
        ),
        Cause::Other => format!(
            "port {port} of {target} must speak plain HTTP and answer: see to the balancer there, or correct {pointer}"
        ),
    }
}

fn refusal(status: StatusCode, place: Place<'_>) -> String {
    let webroot = place.webroot.display();
    match status.as_u16() {
        404 => format!(
            "{RULE}; if it does: that nginx must serve the volume that is mounted here at {webroot}; if {} is not our balancer: correct {}",
            place.target(),
            place.pointer()
        ),
        401 | 403 => format!(
            "a rule or a server in front asks who it is: {RULE}; if it does: nginx must be allowed to read {webroot}; a firewall that lets only the user agent of the CA in must let `rancher-lets-encrypt` in as well"
        ),
        502..=504 => format!(
            "the balancer finds no running container behind its rule: start lets-encrypt/letsencrypt-nginx and see to its health check; {RULE}"
        ),
        _ => RULE.to_owned(),
    }
}

/// What mends a name that DNS says nothing about.
pub fn no_address(nothing: &Nothing, name: &DomainName) -> String {
    match nothing {
        Nothing::NoName | Nothing::NoRecord => format!(
            "make an A record for {name} with the public address of the host that runs the balancer"
        ),
        Nothing::Failure | Nothing::Refused(_) => format!(
            "the name servers of {name} must answer everybody: see to them, to the delegation and to DNSSEC"
        ),
        Nothing::Silence | Nothing::Other(_) => {
            "if this host cannot ask its name server: see to /etc/resolv.conf, or ask another with --dns; else the name servers of the domain are down".to_owned()
        }
    }
}

/// What mends CAA records at `owner`, found by asking for `asked`, that bar the CA: `mend` where the records are the
/// operator's. Beside an alias there can be no other record (RFC 1034, section 3.6.2), and a registry changes none for
/// one name; but the records of the closest name count (RFC 8659, section 3).
pub fn caa(name: &str, asked: &str, owner: &str, issue: &str, mend: String) -> String {
    if asked != owner {
        // Below an alias each name may have records of its own.
        let closer = if name == asked {
            format!(
                "make A and AAAA records of {asked} in the place of its CNAME, and the CAA record `{asked}. CAA {issue}`"
            )
        } else {
            format!("make the CAA record `{name}. CAA {issue}`, which is looked at first")
        };
        return format!(
            "{asked} is an alias (CNAME) of {owner}, whose records count: {mend} there; if {owner} is not yours, {closer}"
        );
    }
    let suffix = psl::suffix(owner.as_bytes());
    if suffix.is_some_and(|suffix| suffix.as_bytes() == owner.as_bytes()) {
        let own = psl::domain_str(name).unwrap_or(name);
        return format!(
            "{owner} belongs to a registry, but records closer to the name are looked at first: make the CAA record `{own}. CAA {issue}`"
        );
    }
    mend
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    const URL: &str = "http://a.example.com/x";

    fn troubles() -> Vec<(Trouble, &'static str)> {
        let url = || URL.to_owned();
        let silent = |cause| Trouble::Silent { url: url(), why: "why".to_owned(), cause };
        let status =
            |status: u16| Trouble::Status { url: url(), status: status.try_into().unwrap() };
        let limit = Duration::from_secs(30);
        vec![
            (silent(Cause::Refused), "run the balancer on 192.0.2.1"),
            (silent(Cause::Dropped), "firewall"),
            (silent(Cause::NoRoute), "no way to 192.0.2.1"),
            (silent(Cause::Other), "plain HTTP"),
            (Trouble::Late { url: url(), limit }, "does not answer"),
            (status(401), "asks who it is"),
            (status(403), "asks who it is"),
            (status(404), "mounted here at /var/www"),
            (status(410), "priority 1"),
            (status(502), "no running container"),
            (status(503), "no running container"),
            (
                Trouble::Foreign { url: url(), body: String::new() },
                "correct the A record of a.example.com",
            ),
            (Trouble::Elsewhere { url: url() }, "correct the A record of a.example.com"),
            (Trouble::Redirect(url()), "let no redirect"),
        ]
    }

    #[test]
    fn every_trouble_has_its_own_mend() {
        let name = "a.example.com".parse().unwrap();
        let place = Place {
            name: &name,
            address: Some("192.0.2.1".parse().unwrap()),
            port: 80,
            webroot: Path::new("/var/www"),
            is_redirected: false,
        };
        let mut seen = BTreeMap::new();
        for (found, words) in troubles() {
            let mend = trouble(&found, place);
            assert!(mend.contains(words), "{found:?}: {mend}");
            seen.entry(mend).or_insert_with(BTreeSet::new).insert(words);
            let behind = Place { is_redirected: true, ..place };
            assert!(trouble(&found, behind).contains("redirects to https"));
        }
        assert!(seen.values().all(|words| words.len() == 1), "{seen:?}");
    }

    #[test]
    fn what_led_there_is_named() {
        let name = "a.example.com".parse().unwrap();
        let mend = |address: Option<&str>| {
            let place = Place {
                name: &name,
                address: address.map(|address| address.parse().unwrap()),
                port: 80,
                webroot: Path::new("/var/www"),
                is_redirected: false,
            };
            let foreign = Trouble::Foreign { url: URL.to_owned(), body: String::new() };
            trouble(&foreign, place)
        };
        assert!(mend(Some("2001:db8::1")).contains("the AAAA record of a.example.com"));
        assert!(mend(None).contains("correct SELF_CHECK_ADDRESS"));
    }

    #[test]
    fn what_mends_a_caa_record_can_be_done() {
        let issue = "0 issue \"ca.test\"";
        let mended = |name: &str, asked: &str, owner: &str| {
            caa(name, asked, owner, issue, "mend it".to_owned())
        };
        assert_eq!(mended("a.example.com", "example.com", "example.com"), "mend it");
        let alias = mended("a.example.com", "a.example.com", "cdn.test");
        assert!(
            alias.contains("alias (CNAME) of cdn.test") && alias.contains("mend it there"),
            "{alias}"
        );
        assert!(alias.contains("in the place of its CNAME"), "{alias}");
        let above = mended("x.a.example.com", "a.example.com", "cdn.test");
        assert!(above.contains("`x.a.example.com. CAA 0 issue \"ca.test\"`"), "{above}");
        for owner in ["com", "co.uk", "github.io"] {
            let name = format!("a.b.{owner}");
            let registry = mended(&name, owner, owner);
            assert!(registry.contains(&format!("`b.{owner}. CAA 0 issue")), "{registry}");
            assert!(!registry.contains("mend it"), "{registry}");
        }
    }
}
